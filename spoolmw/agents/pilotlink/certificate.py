"""The daemon's certificate for its pilots: made once, known to them by its fingerprint."""

from __future__ import annotations

import datetime
import hashlib
import os
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NAME = "spoolmw"
_YEARS = 50  #: nobody looks at dates: the fingerprint alone counts


class Certificate(NamedTuple):
    """One file with certificate and key, and what the pilots are told of it."""

    path: Path
    fingerprint: str  #: SHA-256, hexadecimal


def provide(folder: Path) -> Certificate:
    """The certificate in `folder`, which is made if there is none. Raises OSError, ValueError."""
    path = folder / "certificate.pem"
    if not path.exists():
        _write(path, _make())
    der = ssl.PEM_cert_to_DER_cert(_certificate_of(path.read_text(encoding="ascii")))
    return Certificate(path, hashlib.sha256(der).hexdigest())


def _certificate_of(text: str) -> str:
    begin = text.index("-----BEGIN CERTIFICATE-----")
    return text[begin : text.index("-----END CERTIFICATE-----") + 26]


def _make() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + made.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes) -> None:
    half = path.with_name(f".{path.name}")
    half.unlink(missing_ok=True)
    fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(half, path)
