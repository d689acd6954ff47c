"""``courier status`` on a Courier that is well, has no recipient, can't write its audit log, and isn't there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.misbehaving_server import MisbehavingServer, Peer
from tests.ports import reserved_port
from tests.process.terminal import PATIENCE_SECONDS, Scene, environment, scene, show
from tests.process.world import bodies, until

pytestmark = pytest.mark.together


@pytest.fixture(scope="module")
def here(virtual_queue: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("status")
    with scene(virtual_queue, directory, "--breaker-threshold", "3", "--breaker-cool-down", "2") as running:
        yield running


def test_a_courier_that_is_well(here: Scene) -> None:
    here.queue.send(bodies(50))
    until(lambda: len(here.recipient.accepted) >= 50, explain=here.courier.log)
    url = here.api.url
    assert show("status", "--check", "-u", url) == (0, "ready\n", "")
    assert show("status", "--check", "-o", "json", "--url", url).out == '{"ready":true,"reason":null}\n'
    shown = show("status", COURIER_API=url.removeprefix("http://"))
    first, *lines = shown.out.splitlines()
    assert (shown.code, shown.err) == (0, "")
    assert first.startswith(f"{here.queue.name} → {here.recipient.server.url}   ready   up ")
    assert len(lines) < 25
    assert any(line.startswith("processes  2 consumers, 4 senders, auditor, api, supervisor") for line in lines)
    whole = show("status", "-o", "json", "-u", url)
    assert json.loads(whole.out)["totals"]["delivered"] == 50
    assert set(json.loads(whole.out)) == set(json.loads(here.api.get("/status")[1]))


def test_it_needs_none_of_what_the_program_needs(here: Scene) -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "courier", "status", "-u", here.api.url],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")}
    assert "courier.terminal.summary" in imported
    heavy = {"rich", "requests", "boto3", "botocore", "structlog", "uvloop", "http.client", "courier.config.config"}
    assert imported & heavy == set()


def test_a_recipient_that_is_down_is_shown_and_is_no_reason_to_restart(here: Scene) -> None:
    here.recipient.server.go_away()
    try:
        here.queue.send(bodies(20))
        until(lambda: json.loads(here.api.get("/status")[1])["breaker"]["state"] == "open", explain=here.courier.log)
        shown = show("status", "-u", here.api.url)
        assert shown.code == 0
        assert "   ready, waiting   " in shown.out
        assert "the circuit breaker is open: connection refused, " in shown.out
        assert "nothing is received meanwhile; next probe in " in shown.out
        assert "failures   connection refused ×" in shown.out
        assert show("status", "--check", "-u", here.api.url).code == 0
    finally:
        here.recipient.server.come_back()
    until(lambda: here.queue.counts() == (0, 0), explain=here.courier.log)


def test_an_audit_log_that_cannot_be_written_is_not_ready_and_says_what_to_do(here: Scene) -> None:
    audit, aside = here.courier.audit, here.courier.audit.with_name("aside")
    audit.rename(aside)
    audit.touch()
    try:
        here.queue.send(bodies(5))
        until(lambda: here.api.reasons(), explain=here.courier.log)
        code, out, err = show("status", "--check", "-u", here.api.url)
        assert (code, err) == (1, "")
        assert out.startswith("not ready: audit failing; ")
        assert out.count("\n") == 1
        shown = show("status", "-u", here.api.url)
        assert shown.code == 0
        assert "   not ready   " in shown.out
        assert "\n  ! audit failing\n    " in shown.out
        checked = json.loads(show("status", "--check", "-o", "json", "-u", here.api.url).out)
        assert checked["ready"] is False
        assert checked["reason"].startswith("audit failing; ")
    finally:
        audit.unlink()
        aside.rename(audit)
    until(lambda: here.api.ready()[0] == 200, explain=here.courier.log)


def test_nobody_there(tmp_path: Path) -> None:
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}"
        line = (
            f"cannot reach Courier at {url}: connection refused; start it, or give the address of its --api with --url"
        )
        assert show("status", "--check", "-u", url) == (1, f"not ready: {line}\n", "")
        assert show("status", "-u", url) == (1, "", f"courier: error: {line}\n")
    assert show("status", "--check", COURIER_API="none").code == 1
    assert show("status", "--check", "-u", "ftp://x") == (
        1,
        "not ready: --url: must be a URL like http://127.0.0.1:8080\n",
        "",
    )
    assert show("status", "-u", "ftp://x").code == 2
    assert show("status", "--chek").code == 2


def says(body: bytes, status: int = 200) -> MisbehavingServer:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
        peer.wait_for_close()

    return MisbehavingServer(script)


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        (b'{"ready": true}', 500, "no reason given"),
        (b'{"ready": "true"}', 200, "{}: what answers there is not Courier (status 200); give the address of "),
        (b"<html>welcome to nginx!</html>", 200, "{}: what answers there is not Courier (status 200); give the a"),
        (b"", 404, "{}: what answers there is not Courier (status 404); give the address of Courier's --api with -"),
        (
            b'{"ready": false, "reasons": ["a\\u001b[31m", "b"], "advice": ["c", "d"]}',
            503,
            "a\\u001b[31m (and 1 more); c",
        ),
    ],
)
def test_only_the_answer_of_courier_counts(body: bytes, status: int, line: str) -> None:
    with says(body, status) as server:
        url = f"http://127.0.0.1:{server.port}"
        code, out, _ = show("status", "--check", "-u", url)
        assert (code, out.count("\n")) == (1, 1)
        assert out.startswith(f"not ready: {line.format(url)}")
        shown = show("status", "-u", url)
        assert (shown.code, shown.out) == (1, "")
        assert "what answers there is not Courier" in shown.err
