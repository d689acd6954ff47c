from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from courier import cli
from courier.audit.public_key import fingerprint, read_public_key
from courier.audit.sign_key import make_key, public_path, read_sign_key
from courier.errors import CannotStart


def pem(key: Ed25519PrivateKey | rsa.RSAPrivateKey, encryption: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def test_a_pair_that_keygen_makes_signs_and_verifies_and_only_its_owner_can_read_the_private_half(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "key"
    before = os.umask(0)
    try:
        assert cli.main(["audit", "keygen", str(path)]) == 0
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    public = read_public_key(public_path(path))
    public.verify(read_sign_key(path).sign(b"x"), b"x")
    told = capsys.readouterr().out
    assert str(path) in told
    assert str(public_path(path)) in told
    assert fingerprint(public) in told


@pytest.mark.parametrize("name", ["key", "key.pub"])
@pytest.mark.parametrize("link", [False, True])
def test_keygen_overwrites_nothing_and_leaves_nothing_half_done(
    tmp_path: Path, name: str, link: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / name
    if link:
        there.symlink_to(tmp_path / "nowhere")
    else:
        there.write_bytes(b"precious")
    assert cli.main(["audit", "keygen", str(tmp_path / "key")]) == 2
    [told] = capsys.readouterr().err.splitlines()
    assert f"{there} exists" in told
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert link or there.read_bytes() == b"precious"


def test_keygen_says_in_one_line_where_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "keygen", str(tmp_path / "nowhere" / "key")]) == 3
    [told] = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "nowhere" / "key") in told


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n", "is no private key"),
        (pem(rsa.generate_private_key(65537, 2048)), "another kind than ed25519"),
        (pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"x")), "is encrypted"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_file_that_holds_no_key_of_ours_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CannotStart, match=reason) as refused:
        read_sign_key(path)
    assert str(refused.value).startswith(f"--audit-sign-key: {path} ")
    assert "\n" not in str(refused.value)


def test_the_public_half_is_refused_as_such(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    with pytest.raises(CannotStart, match="is a public key"):
        read_sign_key(public_path(tmp_path / "key"))


def test_a_key_that_every_user_can_read_is_refused_and_one_that_a_group_can_read_is_not(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_key(path)
    path.chmod(0o440)
    read_sign_key(path)
    path.chmod(0o644)
    with pytest.raises(CannotStart, match=r"every user of this machine can read .*chmod o-rwx"):
        read_sign_key(path)


def test_a_fifo_in_the_place_of_the_key_does_not_make_it_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    with pytest.raises(CannotStart, match="FIFO"):
        read_sign_key(tmp_path / "key")
