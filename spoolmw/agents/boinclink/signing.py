"""Signs application files as BOINC clients check it, and makes the tokens of uploads.

A signature is the RSA private operation on the MD5 in hexadecimal, padded as PKCS #1 version 1.5
does but without naming the digest. Clients know neither longer keys nor other digests: where the
network is not to be trusted, https has to do what this cannot.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric import rsa

from spoolmw.spooldir.publish import publish

PRIVATE = "code_sign_private"  #: the files of a KeyPair, in its folder
PUBLIC = "code_sign_public"

BITS = 1024
_FULL = BITS // 8  # bytes of modulus and exponents
_HALF = _FULL // 2  # bytes of what belongs to one prime
_LINE = 64  # hex digits
_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TEXT = re.compile(r"\s*(\d{1,5})\s*\n([0-9A-Fa-f\s]{1,8192})\.\s*", re.ASCII)
_SIGNATURE = re.compile(r"\s*([0-9A-Fa-f\s]{1,4096})\.\s*", re.ASCII)


class BadKey(ValueError):
    """A text is no key; it says why."""


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """An RSA key as a client can check its signatures."""

    n: int
    e: int
    d: int
    p: int
    q: int

    @classmethod
    def generate(cls) -> Self:
        """A new one; takes some ten milliseconds."""
        key = rsa.generate_private_key(65537, BITS)
        told = key.private_numbers()
        numbers = told.public_numbers
        return cls(n=numbers.n, e=numbers.e, d=told.d, p=told.p, q=told.q)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The one that `private_text` wrote. Raises BadKey."""
        found = _TEXT.fullmatch(text)
        if found is None or int(found[1]) != BITS:
            raise BadKey(f"no private key of {BITS} bits as BOINC's crypt_prog writes it")
        raw = _bytes(found[2])
        if len(raw) != 3 * _FULL + 5 * _HALF:
            raise BadKey(f"a private key has {3 * _FULL + 5 * _HALF} bytes, this {len(raw)}")
        n, e, d = (int.from_bytes(raw[at : at + _FULL]) for at in range(0, 3 * _FULL, _FULL))
        p, q = (int.from_bytes(raw[at : at + _HALF]) for at in (3 * _FULL, 3 * _FULL + _HALF))
        if p < 2 or q < 2 or p * q != n or e * d % (p - 1) != 1 or e * d % (q - 1) != 1:
            raise BadKey("the numbers of this key do not belong together")
        return cls(n=n, e=e, d=d, p=p, q=q)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The one that was saved in `folder`. Raises OSError, and BadKey for another text."""
        raw = (folder / PRIVATE).read_bytes()[:16384]
        return cls.parse(raw.decode("ascii", "replace"))

    def save(self, folder: Path) -> None:
        """Write both files, each whole and durably; where the private one is, the other is too."""
        publish(self.public_text().encode(), folder / PUBLIC, tmp=folder, mode=0o644)
        publish(self.private_text().encode(), folder / PRIVATE, tmp=folder, mode=0o600)

    def private_text(self) -> str:
        """As crypt_prog writes it."""
        wide = (self.n, self.e, self.d)
        narrow = (self.p, self.q, self.d % (self.p - 1), self.d % (self.q - 1))
        numbers = [each.to_bytes(_FULL) for each in wide]
        numbers += [each.to_bytes(_HALF) for each in (*narrow, pow(self.q, -1, self.p))]
        return f"{BITS}\n{_hex_lines(b''.join(numbers))}"

    def public_text(self) -> str:
        """As crypt_prog writes it, and as a client pins it."""
        return f"{BITS}\n{_hex_lines(self.n.to_bytes(_FULL) + self.e.to_bytes(_FULL))}"

    def sign(self, md5_hex: str) -> str:
        """The signature of a file with this MD5."""
        return _hex_lines(pow(_padded(md5_hex), self.d, self.n).to_bytes(_FULL))

    def verify(self, md5_hex: str, signature: str) -> bool:
        """Whether a client would take it."""
        found = _SIGNATURE.fullmatch(signature)
        raw = _bytes(found[1]) if found else b""
        if len(raw) != _FULL:
            return False
        return pow(int.from_bytes(raw), self.e, self.n) == _padded(md5_hex)


def _padded(md5_hex: str) -> int:
    if not _MD5.fullmatch(md5_hex):
        raise ValueError(f"{md5_hex[:80]!r} is no MD5 in hexadecimal")
    digest = md5_hex.encode()
    return int.from_bytes(b"\0\1" + b"\xff" * (_FULL - 3 - len(digest)) + b"\0" + digest)


def _hex_lines(raw: bytes) -> str:
    digits = raw.hex()
    lines = [digits[at : at + _LINE] for at in range(0, len(digits), _LINE)]
    return "\n".join([*lines, ".\n"])


def _bytes(digits: str) -> bytes:
    joined = "".join(digits.split())
    return bytes.fromhex(joined) if len(joined) % 2 == 0 else b""


def upload_token(secret: bytes, name: str) -> str:
    """What entitles to the upload of the file `name`: 64 hex digits."""
    return hmac.new(secret, name.encode(), "sha256").hexdigest()


def is_upload_token(secret: bytes, name: str, told: str) -> bool:
    """Whether `told` is that token; how long it takes says nothing of it."""
    return hmac.compare_digest(upload_token(secret, name).encode(), told.encode())
