"""From the configuration to the head of a request, and what the preflight says of the files of secrets."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from standardwebhooks.webhooks import Webhook

from courier.config.config import Config
from courier.errors import CannotStart
from courier.message import Attribute, Message
from courier.preflight import preflight
from courier.request.header_templates import parse_header
from courier.wiring.page import page_control
from courier.wiring.recipient import authentication, delivery_head, recipient_tls

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = Message("id-1", "receipt", 1.0, 0.0, 1, 0, 0, "", "g", "", (), b"{}")


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COURIER_WEBHOOK_SECRET", raising=False)


def config(**values: Any) -> Config:
    given: dict[str, Any] = {"queue_type": "nop", "recipient_url": "http://127.0.0.1:1/", "audit": "none"}
    return Config(**(given | values))


def head(**values: Any) -> dict[str, str]:
    lines = delivery_head(config(**values), "orders").render(MESSAGE).decode().split("\r\n")
    return dict(line.split(": ", 1) for line in lines[1:-2])


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / f"secret-{len(list(tmp_path.iterdir()))}"
    path.write_text(text)
    return path


def test_what_is_configured_is_in_the_head() -> None:
    told = head(
        headers="courier", header=(parse_header("X-Q: {queue}"),), content_type="text/plain", receipt_header="X-Receipt"
    )
    assert (told["Courier-Message-Id"], told["X-Q"], told["X-Receipt"]) == ("id-1", "orders", "receipt")
    assert told["Content-Type"] == "text/plain"
    assert "Authorization" not in told
    assert "webhook-signature" not in told


def test_secrets_come_from_files_and_from_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURIER_WEBHOOK_SECRET", SECRET)
    Webhook(SECRET).verify("{}", head())
    other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    told = head(webhook_secret_file=(file(tmp_path, other),), bearer_token_file=file(tmp_path, "token"))
    for secret in (SECRET, other):
        Webhook(secret).verify("{}", told)
    assert told["Authorization"] == "Bearer token"
    assert head(basic_auth_file=file(tmp_path, "a:b"))["Authorization"] == "Basic YTpi"


def test_a_wrong_variable_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURIER_WEBHOOK_SECRET", "hunter2")
    with pytest.raises(CannotStart, match=r"^COURIER_WEBHOOK_SECRET: must hold secrets") as refused:
        authentication(config())
    assert "hunter2" not in str(refused.value)


def test_without_https_there_is_no_tls() -> None:
    assert recipient_tls(config()) is None
    context = recipient_tls(config(recipient_url="https://127.0.0.1:1/"))
    assert context is not None
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_the_preflight_reads_every_file(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca, both = tmp_path / "ca", tmp_path / "both"
    authority.cert_pem.write_to_path(ca)
    authority.issue_cert("courier@example.com").private_key_and_cert_chain_pem.write_to_path(both)
    secrets: dict[str, Any] = {
        "recipient_url": "https://127.0.0.1:1/",
        "webhook_secret_file": (file(tmp_path, SECRET),),
        "bearer_token_file": file(tmp_path, "hunter2"),
        "client_cert": both,
        "ca_file": ca,
    }
    found = preflight(config(**secrets))
    assert found.ok
    [check, _] = found.checks
    assert check.name == "secrets"
    assert check.detail == "usable: bearer authorization, 1 signing key, client certificate, own CA"
    for name in ("bearer_token_file", "client_cert", "ca_file"):
        missing = preflight(config(**(secrets | {name: tmp_path / "none"})), connect=True)
        flag = "--" + name.replace("_", "-")
        assert [c.detail.partition(":")[0] for c in missing.checks if not c.ok] == [flag]


def test_without_secrets_the_preflight_says_nothing_of_them() -> None:
    assert [check.name for check in preflight(config()).checks] == ["recipient"]


def test_the_page_acts_with_a_token_and_a_control_socket_and_is_refused_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    token, control = file(tmp_path, "0123456789abcdef"), tmp_path / "control.sock"
    token.chmod(0o644)
    assert page_control(config()) is None
    assert page_control(config(page_control=token, control=control)) is not None
    [check, _] = preflight(config(page_control=token, control=control)).checks
    assert (check.ok, check.detail) == (True, "usable: token of the live page")
    assert "every user" in check.warnings[0]
    for values in ({"page_control": token}, {"page_control": token, "control": "none"}):
        [check, *_] = preflight(config(**values)).checks
        assert (check.ok, check.detail) == (False, "--page-control: there is no control socket for its acts")
        assert check.advice == "give --control PATH"
    short = file(tmp_path, "hunter2")
    [check, *_] = preflight(config(page_control=short, control=control)).checks
    assert not check.ok
    assert check.detail.startswith("--page-control: ")
    assert "hunter2" not in str(check)


def test_a_head_keeps_the_bound_that_is_configured() -> None:
    long = MESSAGE._replace(
        attributes=tuple(Attribute(f"a{n}", "String", "x" * 8200) for n in range(10)), trace="t" * 70_000
    )
    for bound in (8190, 1024, 65_536):
        head = delivery_head(config(max_header_bytes=bound), "orders")
        assert bound - 8300 < len(head.render(long)) <= bound
        assert head.dropped == {8190: 11, 1024: 11, 65_536: 4}[bound]


def test_the_room_that_a_proxy_takes_is_kept_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://user:pass@127.0.0.1:3128")
    long = MESSAGE._replace(attributes=tuple(Attribute(f"a{n}", "String", "x" * 60) for n in range(100)))
    url = "http://recipient.test:8080/"
    added = len("http://recipient.test:8080") + len("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n")
    proxied = delivery_head(config(recipient_url=url, transport="requests", max_header_bytes=2000), "q").render(long)
    plain = delivery_head(config(recipient_url=url, max_header_bytes=2000 - added), "q").render(long)
    assert proxied == plain
    secure = config(recipient_url="https://recipient.test/", transport="requests", max_header_bytes=2000)
    native = config(recipient_url="https://recipient.test/", max_header_bytes=2000)
    assert delivery_head(secure, "q").render(long) == delivery_head(native, "q").render(long)


@pytest.mark.parametrize(
    "options",
    [
        {"recipient_url": "http://127.0.0.1:1/" + "p" * 8000},
        {"header": (parse_header("X: " + "v" * 8000),)},
        {"max_header_bytes": 1024, "header": (parse_header("X: {message_id}" * 8),)},
    ],
    ids=["path", "header", "many ids"],
)
def test_options_that_leave_no_room_for_what_every_request_needs_are_refused_with_the_number_to_give(
    options: dict[str, Any],
) -> None:
    (check,) = [check for check in preflight(config(**options)).checks if check.name == "headers"]
    assert not check.ok
    assert check.detail.startswith("--max-header-bytes: ")
    given = re.search(r"give (\d+) or more", check.advice)
    assert given is not None
    enough = preflight(config(**(options | {"max_header_bytes": int(given[1])})))
    assert "headers" not in [check.name for check in enough.checks]


def test_a_token_that_leaves_no_room_is_refused_without_being_shown(tmp_path: Path) -> None:
    checks = preflight(config(bearer_token_file=file(tmp_path, "hunter2" * 1200))).checks
    (check,) = [check for check in checks if check.name == "headers"]
    assert not check.ok
    assert "hunter2" not in str(checks)
