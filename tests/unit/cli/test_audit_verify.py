"""``courier audit verify``: its exit codes, its report for people and for scripts, and what it does with pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from courier import cli
from courier.audit.public_key import fingerprint
from courier.cli.output import EXIT_READER_LEFT
from tests.unit.audit.sealed_trail import record, write_trail

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """A signed trail with one more record than is sealed, and the public key in key.pem."""
    directory = tmp_path / "audit"
    directory.mkdir()
    newest = write_trail(directory, 3, key=KEY, packings=[".zst"])[-1].path
    newest.write_bytes(newest.read_bytes() + record(1))
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    return directory


def damage(trail: Path) -> Path:
    path = max(trail.glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b"delivered", b"DELIVERED", 1))
    return path


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["audit", "verify", *arguments, "-o", "json"])
    found: dict[str, Any] = orjson.loads(capsys.readouterr().out)
    return code, found


def test_an_intact_trail_exits_with_0_and_says_who_signed_it(trail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "verify", str(trail), "--public-key", str(trail.parent / "key.pem")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["unverifiable", "vouched", "signed", "verdict"]
    assert "segment 3" in lines[0]
    assert "3 of 3 segments, 63 records" in lines[1]
    assert fingerprint(KEY.public_key()) in lines[2]


def test_evidence_exits_with_1_and_comes_first(trail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = damage(trail)
    assert cli.main(["audit", "verify", str(trail)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"EVIDENCE      segment 3, {path.name}, offsets 0 to ")
    assert lines[1].startswith("              to do: ")
    assert "signatures not checked" in lines[-2]
    assert "EVIDENCE OF TAMPERING" in lines[-1]


def test_scripts_get_one_object(trail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = report(capsys, str(trail), "--public-key", str(trail.parent / "key.pem"))
    assert code == 0
    assert found["verdict"] == "intact"
    assert found["signed"] == {fingerprint(KEY.public_key()): 11}
    assert found["unverifiable"][0]["kind"] == "tail"
    damage(trail)
    code, found = report(capsys, str(trail))
    assert code == 1
    assert found["verdict"] == "evidence"
    assert (found["evidence"][0]["segment"], found["evidence"][0]["start"]) == (3, 0)


def test_the_directory_is_that_of_the_variable(
    trail: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURIER_AUDIT_PATH", str(trail))
    assert report(capsys)[1]["place"] == str(trail)
    monkeypatch.delenv("COURIER_AUDIT_PATH")
    monkeypatch.chdir(trail.parent)
    assert report(capsys)[1]["place"] == "audit"


def test_what_cannot_be_read_is_one_line(trail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "verify", str(trail / "missing")]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    path = next(trail.glob("*.seal"))
    path.chmod(0)
    if os.geteuid():
        assert cli.main(["audit", "verify", str(trail)]) == 3
        assert path.name in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["missing", "private", "nonsense"])
def test_a_wrong_public_key_is_a_usage_error(trail: Path, capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    path = trail.parent / "wrong.pem"
    if wrong == "private":
        path.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    elif wrong == "nonsense":
        path.write_bytes(b"nonsense")
    assert cli.main(["audit", "verify", str(trail), "--public-key", str(path)]) == 2
    error = capsys.readouterr().err
    assert "--public-key" in error
    assert error.count("\n") == 1


def test_a_key_in_the_form_of_ssh_is_read_too(trail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trail.parent / "key.pub"
    path.write_bytes(KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" auditor@example\n")
    code, found = report(capsys, str(trail), "--public-key", str(path))
    assert (code, found["signatures_unchecked"]) == (0, 0)


def test_a_closed_pipe_ends_it_quietly(trail: Path) -> None:
    damage(trail)
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "courier", "audit", "verify", str(trail)]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert ended.stderr == b""
    assert ended.returncode == EXIT_READER_LEFT
