"""``courier status`` on a Courier that is well, has no recipient, can't write its audit log, and isn't there."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
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
    options = ("--breaker-threshold", "3", "--breaker-cool-down", "2", "--control", str(directory / "control.sock"))
    with scene(virtual_queue, directory, *options) as running:
        yield running


def socket_of(here: Scene) -> str:
    return str(here.courier.audit.with_name("control.sock"))


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


def test_a_paused_courier_is_ready_and_a_check_says_who_paused_it(here: Scene) -> None:
    assert show("pause", "--reason", "deploying", COURIER_CONTROL=socket_of(here)).code == 0
    try:
        for asked in (("-u", here.api.url), ("--control", socket_of(here))):
            code, out, _ = show("status", "--check", *asked)
            assert code == 0
            assert re.fullmatch(
                r"ready, paused by .*pid [0-9]+.* for [0-9]+ s: deploying.*; courier resume ends it\n", out
            )
            assert "\x1b" not in out
        shown = show("status", "-u", here.api.url).out
        assert "   ready, paused   " in shown
        assert re.search(r"^paused     by .*pid [0-9]+.* for [0-9]+ s: deploying", shown, re.MULTILINE)
        assert "\x1b" not in shown
    finally:
        assert show("resume", COURIER_CONTROL=socket_of(here)).code == 0
    assert show("status", "--check", "-u", here.api.url).out == "ready\n"


def test_a_check_asks_the_control_socket_where_there_is_one(here: Scene, tmp_path: Path) -> None:
    elsewhere = {"COURIER_API": "127.0.0.1:1"}
    assert show("status", "--check", "--control", socket_of(here), **elsewhere) == (0, "ready\n", "")
    directory = str(Path(socket_of(here)).parent)
    assert show("status", "--check", RUNTIME_DIRECTORY=directory, **elsewhere).out == "ready\n"
    # A URL that is given comes first, and a directory without a socket counts as none.
    assert show("status", "--check", "--control", socket_of(here), "-u", "127.0.0.1:1").code == 1
    assert show("status", "--check", RUNTIME_DIRECTORY=str(tmp_path), COURIER_API=here.api.url).out == "ready\n"
    code, out, _ = show("status", "--check", "--control", str(tmp_path / "control.sock"))
    assert (code, out) == (
        1,
        f"not ready: no Courier listens at {tmp_path}/control.sock; is it running, and with this --control?\n",
    )


@pytest.mark.parametrize("says", [b"", b"\0\0\0\x02{}", b"\xff\xff\xff\xff", b"\0\0\0\x02[]", None])
def test_a_socket_that_answers_wrongly_or_never_is_not_ready(tmp_path: Path, says: bytes | None) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                if says is None:
                    connection.recv(1)
                    connection.settimeout(PATIENCE_SECONDS)
                    while connection.recv(4096):
                        pass
                else:
                    connection.recv(4096)
                    connection.sendall(says)

        threading.Thread(target=answer, daemon=True).start()
        code, out, err = show("status", "--check", "--control", str(path))
    assert (code, out.count("\n"), err) == (1, 1, "")
    assert out.startswith("not ready: ")
    assert str(path) in out


def test_nobody_there(tmp_path: Path) -> None:
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}"
        line = (
            f"cannot reach Courier at {url}: connection refused; start it, or give the address of its --api with --url"
        )
        assert show("status", "--check", "-u", url) == (1, f"not ready: {line}\n", "")
        assert show("status", "-u", url) == (3, "", f"courier: error: {line}\n")
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
        assert (shown.code, shown.out) == (3, "")
        assert "what answers there is not Courier" in shown.err
