"""Signs application files as BOINC clients check it, and makes the tokens of uploads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An RSA key of 1024 bits: a client's code knows no longer one."""

    n: int
    e: int
    d: int
    p: int
    q: int

    @classmethod
    def generate(cls) -> Self:
        """A new one; takes about 50 ms."""
        raise NotImplementedError

    @classmethod
    def load(cls, path: Path) -> Self:
        """The one in the file `path` (private text). Raises OSError, and BadKey for another text."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write PRIVATE (0600) and PUBLIC (0644) in `folder`, durably; the private one last."""
        raise NotImplementedError

    def private_text(self) -> str:
        """As crypt_prog writes it."""
        raise NotImplementedError

    def public_text(self) -> str:
        """As crypt_prog writes it; what a client gets as code_sign_key."""
        raise NotImplementedError

    def sign(self, md5_hex: str) -> str:
        """The signature of a file with this MD5."""
        raise NotImplementedError

    def verify(self, md5_hex: str, signature: str) -> bool:
        """Whether a client would take it."""
        raise NotImplementedError


class BadKey(ValueError):
    """A text is no key; it says why."""


def upload_token(secret: bytes, name: str) -> str:
    """What entitles to the upload of the file `name`: 64 hex digits."""
    raise NotImplementedError


def is_upload_token(secret: bytes, name: str, told: str) -> bool:
    """Whether `told` is the token, in constant time."""
    raise NotImplementedError
