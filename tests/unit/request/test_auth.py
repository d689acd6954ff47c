from __future__ import annotations

import base64
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from courier.http.secret_file import SecretFile
from courier.request.auth import Authentication, parse_basic, parse_bearer
from courier.request.signing import parse_secrets

SECRETS = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in range(3)]


def headers(lines: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in lines.decode("ascii").splitlines())


def test_a_token_and_a_password_are_sent_as_their_standards_say() -> None:
    assert parse_bearer("abc.def-123_~+/==\n") == b"Bearer abc.def-123_~+/=="
    # The pairs of RFC 7617, sections 2 and 2.1.
    assert parse_basic("Aladdin:open sesame\n") == b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert parse_basic("test:123£") == b"Basic dGVzdDoxMjPCow=="
    assert parse_basic("a:b:c") == b"Basic " + base64.b64encode(b"a:b:c")


@pytest.mark.parametrize("text", ["", "\n", "hunter2 hunter2", "hunter2\nhunter2", "hunter2é", "hunter2\0"])
def test_what_is_no_token_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="must hold a token") as refused:
        parse_bearer(text)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "hunter2", ":hunter2", "user:hunter2\nuser:hunter2", "user:hunter2\0"])
def test_what_is_no_user_with_a_password_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="must hold user:password") as refused:
        parse_basic(text)
    assert "hunter2" not in str(refused.value)


def test_files_are_looked_at_once_a_second_and_taken_over(tmp_path: Path) -> None:
    token, secrets = tmp_path / "token", tmp_path / "secrets"
    token.write_text("one")
    secrets.write_text(SECRETS[0])
    now = [100.0]
    proof = Authentication(
        SecretFile("--bearer-token-file", token, parse_bearer),
        [SecretFile("--webhook-secret-file", secrets, parse_secrets)],
        parse_secrets(SECRETS[2]),
        clock=lambda: now[0],
    )
    told = headers(proof.lines(b"id", b"{}"))
    assert told["Authorization"] == "Bearer one"
    token.write_text("second")
    secrets.write_text(f"{SECRETS[1]}\n{SECRETS[0]}\n")
    now[0] = 100.9
    proof.refresh()
    assert proof.lines(b"id", b"{}").startswith(b"Authorization: Bearer one\r\n")
    now[0] = 101.0
    proof.refresh()
    told = headers(proof.lines(b"id", b"{}"))
    assert told["Authorization"] == "Bearer second"
    for secret in SECRETS:
        Webhook(secret).verify("{}", told)


def test_what_there_is_of_proofs_is_told_without_them(tmp_path: Path) -> None:
    path = tmp_path / "pair"
    path.write_text("user:hunter2")
    proof = Authentication(SecretFile("--basic-auth-file", path, parse_basic), keys=parse_secrets(SECRETS[0]))
    assert proof.kinds == ("basic authorization", "1 signing key")
    assert Authentication(keys=parse_secrets(" ".join(SECRETS))).kinds == ("3 signing keys",)
