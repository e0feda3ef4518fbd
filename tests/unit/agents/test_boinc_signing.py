"""Signatures are those that OpenSSL makes and takes, and keys have crypt_prog's form."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from spoolmw.agents.boinclink.signing import (
    PRIVATE,
    PUBLIC,
    BadKey,
    KeyPair,
    is_upload_token,
    upload_token,
)

KEYS = KeyPair.generate()
MD5 = hashlib.md5(b"a program").hexdigest()
OTHER = hashlib.md5(b"another").hexdigest()


def raw(text: str) -> bytes:
    """The bytes of a key or a signature, read as BOINC reads them: hex digits up to the dot."""
    digits = text.partition(".")[0].split()
    return bytes.fromhex("".join(digits))


def key_bytes(text: str) -> bytes:
    first, _, rest = text.partition("\n")
    assert first == "1024"
    return raw(rest)


def openssl() -> rsa.RSAPublicKey:
    """The public key as a client has it: off the text that it was sent."""
    told = key_bytes(KEYS.public_text())
    return rsa.RSAPublicNumbers(
        n=int.from_bytes(told[:128]), e=int.from_bytes(told[128:])
    ).public_key()


def test_openssl_takes_a_signature_for_its_file_and_for_no_other() -> None:
    signature = raw(KEYS.sign(MD5))
    openssl().verify(signature, MD5.encode(), padding.PKCS1v15(), utils.NoDigestInfo())
    with pytest.raises(InvalidSignature):
        openssl().verify(signature, OTHER.encode(), padding.PKCS1v15(), utils.NoDigestInfo())


def test_the_arithmetic_is_that_of_the_book() -> None:
    told = key_bytes(KEYS.public_text())
    n, e = int.from_bytes(told[:128]), int.from_bytes(told[128:])
    opened = pow(int.from_bytes(raw(KEYS.sign(MD5))), e, n).to_bytes(128)
    assert opened == b"\0\1" + b"\xff" * 93 + b"\0" + MD5.encode()


def test_our_own_check_agrees() -> None:
    signature = KEYS.sign(MD5)
    assert KEYS.verify(MD5, signature)
    assert KEYS.verify(MD5, signature.strip())
    assert not KEYS.verify(OTHER, signature)
    assert not KEYS.verify(
        MD5, signature.replace(signature[5], "0" if signature[5] != "0" else "1")
    )
    assert not KeyPair.generate().verify(MD5, signature)


@pytest.mark.parametrize(
    "text", ["", ".", "00.", "zz.", "0" * 256, "é" * 256 + ".", "0" * 255 + "."]
)
def test_what_is_no_signature_is_none(text: str) -> None:
    assert not KEYS.verify(MD5, text)


@pytest.mark.parametrize("md5", ["", "x", MD5.upper(), MD5 + "\n", MD5[1:]])
def test_only_a_digest_is_signed(md5: str) -> None:
    with pytest.raises(ValueError, match="no MD5"):
        KEYS.sign(md5)


def test_texts_have_the_form_that_crypt_prog_writes() -> None:
    for text, lines in (
        (KEYS.public_text(), 8),
        (KEYS.private_text(), 22),
        ("0\n" + KEYS.sign(MD5), 4),
    ):
        _, *digits, dot, end = text.split("\n")
        assert (dot, end, len(digits)) == (".", "", lines)
        assert all(len(each) == 64 for each in digits[:-1])
        assert text == text.lower()


def test_the_private_text_is_a_key_that_openssl_takes() -> None:
    told = key_bytes(KEYS.private_text())
    wide = [int.from_bytes(told[at : at + 128]) for at in (0, 128, 256)]
    p, q, dmp1, dmq1, iqmp = (int.from_bytes(told[at : at + 64]) for at in range(384, 704, 64))
    numbers = rsa.RSAPrivateNumbers(
        p=p, q=q, d=wide[2], dmp1=dmp1, dmq1=dmq1, iqmp=iqmp,
        public_numbers=rsa.RSAPublicNumbers(n=wide[0], e=wide[1]),
    )  # fmt: skip
    key = numbers.private_key()
    signed = key.sign(MD5.encode(), padding.PKCS1v15(), utils.NoDigestInfo())
    assert signed == raw(KEYS.sign(MD5))


def test_a_saved_key_is_the_same_and_ours_alone(tmp_path: Path) -> None:
    KEYS.save(tmp_path)
    assert KeyPair.load(tmp_path) == KEYS
    assert (tmp_path / PRIVATE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / PUBLIC).read_text() == KEYS.public_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == [PRIVATE, PUBLIC]


def test_a_key_never_shows_itself() -> None:
    assert str(KEYS.d) not in repr(KEYS)
    assert hex(KEYS.d)[2:] not in str(KEYS)


def changed(text: str, at: int) -> str:
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


@pytest.mark.parametrize(
    "text",
    [
        "", "1024\n", "1024\n.\n", "2048" + KEYS.private_text()[4:], KEYS.public_text(),
        KEYS.private_text()[:-2], KEYS.private_text().replace(".", ""), "x" * 10_000,
        changed(KEYS.private_text(), 40), changed(KEYS.private_text(), 800),
        "1024\n" + "0" * 1408 + ".\n", "1024\n" + "f" * 1409 + ".\n",
        *([KEYS.private_text() + "x"]),
    ],
)  # fmt: skip
def test_a_text_that_is_no_key_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / PRIVATE).write_text(text)
    with pytest.raises(BadKey):
        KeyPair.load(tmp_path)


def test_a_key_that_is_not_there_is_missed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        KeyPair.load(tmp_path)


def test_a_token_is_for_one_file_of_one_project() -> None:
    secret = b"s" * 32
    token = upload_token(secret, "out_x")
    assert token == hmac.new(secret, b"out_x", hashlib.sha256).hexdigest()
    assert is_upload_token(secret, "out_x", token)
    assert not is_upload_token(secret, "out_y", token)
    assert not is_upload_token(b"t" * 32, "out_x", token)
    for told in ("", "é", token[:-1], token + "0", token.upper()):
        assert not is_upload_token(secret, "out_x", told)
