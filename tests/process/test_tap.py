"""``courier tap``: attempts as they end, failures before all, a part under load, nothing when nobody looks."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from courier.local.exchange import Response
from tests.process.terminal import PATIENCE_SECONDS, Scene, environment, scene, show
from tests.process.test_status_command import says
from tests.process.world import bodies, kill, until

pytestmark = pytest.mark.together


@pytest.fixture(scope="module")
def here(virtual_queue: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(virtual_queue, tmp_path_factory.mktemp("tap"), "--retry-delay", "0", "--senders", "2") as running:
        yield running


class Tapping:
    """A ``courier tap`` that runs, with its output in files."""

    def __init__(self, directory: Path, here: Scene, *options: str) -> None:
        self._out, self._err = directory / f"out-{time.monotonic_ns()}", directory / f"err-{time.monotonic_ns()}"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "courier", "tap", "-u", here.api.url, *options],
                env=environment(PYTHONUNBUFFERED="1"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def text(self) -> str:
        return self._out.read_text()

    def said(self) -> str:
        return self._err.read_text()

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.text().splitlines()]

    def end(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def tapping(directory: Path, here: Scene, *options: str) -> Iterator[Tapping]:
    tap = Tapping(directory, here, *options)
    try:
        yield tap
    finally:
        kill(tap.process.pid, signal.SIGKILL)
        tap.process.wait(PATIENCE_SECONDS)


def send_until(here: Scene, count: int, condition: Any, explain: Any = str) -> None:
    """Send messages again and again until a condition is true: a tap shows what ends after it has begun."""
    until(lambda: here.queue.send(bodies(count)) and condition(), explain=explain, every=0.3)


def test_attempts_are_shown_as_they_end(here: Scene, tmp_path: Path) -> None:
    here.recipient.behave = lambda d: Response(200 if d.number > 1 or json.loads(d.body)["n"] else 503)
    with tapping(tmp_path, here, "-o", "json") as tap:
        send_until(here, 5, lambda: any(line["failed"] for line in tap.lines()), tap.said)
        until(lambda: any(line["attempt"] > 1 and not line["failed"] for line in tap.lines()), explain=tap.text)
        shown = tap.lines()
    accepted = {line["message_id"] for line in shown if not line["failed"]}
    assert accepted <= set(here.recipient.accepted)
    assert {line["status"] for line in shown if not line["failed"]} == {200}
    failed = next(line for line in shown if line["failed"])
    assert (failed["status"], failed["attempt"]) == (503, 1)
    assert failed["outcome"].startswith("status 503; ")
    assert failed["sender"] in (0, 1)
    assert re.fullmatch(r"[-0-9]+T[0-9:]+\.[0-9]{3}Z", failed["time"])
    assert 0 <= failed["seconds"] < 60


def test_text_and_a_number(here: Scene, tmp_path: Path) -> None:
    here.recipient.behave = lambda d: Response(200)
    with tapping(tmp_path, here, "-n", "3") as tap:
        send_until(here, 5, lambda: tap.process.poll() is not None, tap.said)
        assert tap.end() == 0
        lines = tap.text().splitlines()
    assert len(lines) == 3
    # What the test before this one has sent may still fail.
    form = r"[0-9:.]+Z  (200|503) +[0-9.]+ m?s  [-0-9a-f]{36}  (try [0-9]+  )?(delivered|status 503; .*)"
    assert all(re.fullmatch(form, line) for line in lines), lines


def test_failures_alone_under_a_load_of_successes(here: Scene, tmp_path: Path) -> None:
    here.recipient.behave = lambda d: Response(200 if d.number > 1 or json.loads(d.body)["n"] != 7 else 422)
    with (
        tapping(tmp_path, here, "--failures", "-o", "json") as tap,
        tapping(tmp_path, here, "-o", "json") as whole,
    ):
        until(lambda: here.queue.send(bodies(200)) and len(tap.lines()) >= 5, explain=tap.said, every=0.0)
        until(lambda: here.queue.send(bodies(1000)) and "showing " in whole.said(), explain=whole.text, every=0.0)
        assert all(line["failed"] and line["status"] == 422 for line in tap.lines())
        assert "showing" not in tap.said()
        assert re.search(r"courier tap: showing [0-9.]+ % of [0-9,]+ attempts a second", whole.said())
    until(lambda: here.queue.counts() == (0, 0), explain=here.courier.log)
    wrong = {d.message_id for d in here.recipient.deliveries if json.loads(d.body)["n"] == 7}
    assert {line["message_id"] for line in tap.lines()} <= wrong


def test_at_most_four_and_only_on_this_machine(here: Scene, tmp_path: Path) -> None:
    address = here.api.url.removeprefix("http://")
    with ExitStack() as opened:
        for _ in range(4):
            connection = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
            opened.callback(connection.close)
            connection.request("GET", "/tap")
            answer = connection.getresponse()
            assert answer.status == 200
            counts = json.loads(answer.readline())
            assert counts == {"attempts": 0, "shown": 0, "failures": 0, "failures_shown": 0}
        code, out, err = show("tap", "-u", here.api.url)
        assert (code, out) == (1, "")
        assert err == "courier: error: 4 taps are open already; end one of them\n"
        # The rest of the API isn't held up.
        assert here.api.ready()[0] == 200
    proxied = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
    proxied.request("GET", "/tap", headers={"X-Forwarded-For": "10.0.0.1"})
    assert proxied.getresponse().status == 403
    proxied.close()
    # The places are free again once the API has seen that their readers are gone.
    until(lambda: shows_an_attempt(here, tmp_path))


def shows_an_attempt(here: Scene, directory: Path) -> bool:
    """Return whether a tap isn't refused, and shows one attempt."""
    with tapping(directory, here, "-n", "1") as tap:
        send_until(here, 3, lambda: tap.process.poll() is not None, tap.said)
        return tap.end() == 0


def test_the_end_of_the_reader_and_of_a_tap(here: Scene, tmp_path: Path) -> None:
    here.recipient.behave = lambda d: Response(200)
    with tapping(tmp_path, here) as tap:
        send_until(here, 3, tap.text, tap.said)
        tap.process.send_signal(signal.SIGINT)
        assert tap.end() == 130
        assert "Traceback" not in tap.said()
    command = f"{sys.executable} -m courier tap -u {here.api.url} | head -n 1"
    piped = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    send_until(here, 3, lambda: piped.poll() is not None)
    out, err = piped.communicate(timeout=PATIENCE_SECONDS)
    assert out.count(b"\n") == 1
    assert err == b""


def test_a_courier_that_is_not_there_or_is_another_program() -> None:
    assert show("tap", "-u", "127.0.0.1:1").code == 3
    with says(b"<html>", 404) as server:
        code, out, err = show("tap", "-u", f"127.0.0.1:{server.port}")
        assert (code, out) == (3, "")
        assert "there is no /tap (status 404); give the address of Courier's --api with --url" in err
    with says(b"<html>\n", 200) as server:
        code, out, err = show("tap", "-u", f"127.0.0.1:{server.port}")
        assert (code, out) == (3, "")
        assert "no line of JSON" in err
    with says(b'{"message_id": "a\\u001b[31m", "outcome": "b\\u202e"}\n', 200) as server:
        code, out, err = show("tap", "-u", f"127.0.0.1:{server.port}")
        assert (code, out.count("\\u001b[31m"), "\x1b" in out) == (0, 1, False)
        assert err == "courier tap: Courier has ended\n"


def test_a_drain_ends_the_tap(virtual_queue: str, tmp_path: Path) -> None:
    with scene(virtual_queue, tmp_path) as other, tapping(tmp_path, other) as tap:
        send_until(other, 3, tap.text, tap.said)
        assert other.courier.drain() == 0
        assert tap.end() == 0
        assert tap.said() == "courier tap: Courier has ended\n"
