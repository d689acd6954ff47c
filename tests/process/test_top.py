"""``courier top`` in a terminal: frames, keys, sizes, a program that goes and comes back, and a terminal given back."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from courier.local.exchange import Request, Response
from tests.ports import reserved_port
from tests.process.pseudo_terminal import Terminal, terminal
from tests.process.terminal import scene, show
from tests.process.world import bodies, until
from tests.threaded_server import ThreadedServer
from tests.unit.terminal.answers import ESCAPE, FULL, without

FAST = ("-i", "0.1")


class Answering:
    """A server that answers /status as it is told."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] = dict(FULL)
        self.asked = 0
        self.server = ThreadedServer(self._answer)

    def _answer(self, request: Request) -> Response:
        if request.target != "/status":
            return Response(404)
        self.asked += 1
        return Response(200, (), orjson.dumps(self.answer))


@pytest.fixture
def api() -> Iterator[Answering]:
    answering = Answering()
    yield answering
    answering.server.stop()


@pytest.fixture
def top(api: Answering) -> Iterator[Terminal]:
    with terminal(["-m", "courier", "top", *FAST, "-u", api.server.url]) as opened:
        opened.wait_for("orders → http://api.internal:8081   ● ready", "q quit", "live")
        yield opened


def restored(top: Terminal) -> bool:
    """Return whether the terminal is as before, with its cursor shown and its first screen."""
    return top.attributes() == top.before and b"\x1b[?25h\x1b[?1049l" in top.output


def test_a_frame_has_all_that_the_page_has(top: Terminal) -> None:
    top.wait_for(
        "delivered  1,284 /s",
        "latency    p50 12 ms",
        "p90 31 ms   p99 84 ms",
        "18,402 waiting, oldest 42 s",
        "dead letters: 411 in orders-dead",
    )
    top.wait_for("● closed", "52 in flight, limit 64", "received 1,287 → 12 wait (3.1 MiB) → delivered 1,284 → 3 wait")
    top.wait_for(
        "sender 0      ● ready        9 of 16 in flight",
        "sender 1      ◆ starting",
        "3: signal 3",
        "consumer 1    ● ready (idle",
    )
    top.wait_for("5xx 503                3    198   40 ms 8f0c2b1e-7d43-4c0a-9f7e-51a2c6d0b9e4 again in 14 s")


def test_keys(top: Terminal) -> None:
    top.type("?")
    top.wait_for("freeze the picture")
    top.type("?")
    top.wait_for("consumer 0")
    top.type("/sender")
    top.wait_for("/sender▏")
    top.wait_without("consumer 0")
    top.wait_for("sender 0")
    top.type("\x7fX\r")
    top.wait_for("filter: sendeX")
    top.wait_without("sender 0")
    top.type("\x1b")
    top.wait_for("sender 0", "consumer 0")
    top.type("s")
    top.wait_for("sorted by state", "STATE▾")
    until(lambda: top.text().index("sender 1 ") < top.text().index("consumer 0 "), explain=top.text)
    top.type("q")
    assert top.end() == 0
    assert restored(top)


def test_freezing_keeps_the_picture_until_it_goes_on(top: Terminal, api: Answering) -> None:
    top.type("p")
    top.wait_for("frozen")
    api.answer["in_flight"] = 63
    wait_for_questions(api)
    assert "52 in flight" in top.text()
    top.type("p")
    top.wait_for("63 in flight")


def wait_for_first_line(top: Terminal, start: str) -> None:
    until(lambda: top.lines()[0].startswith(start), explain=top.text)


def wait_for_questions(api: Answering) -> None:
    asked = api.asked
    until(lambda: api.asked > asked + 2)


def test_each_size_of_the_terminal_is_filled_and_not_exceeded(top: Terminal, api: Answering) -> None:
    for columns, lines in ((80, 24), (40, 10), (12, 3), (1, 1), (200, 60)):
        top.resize(columns, lines)
        wait_for_first_line(top, "orders"[:columns])
        # What is too wide would go on in the next line, and what is too long would scroll the first line out.
        wait_for_questions(api)
        assert top.lines()[0].startswith("orders"[:columns])
        if lines > 3:
            assert top.lines()[1].startswith("delivered")
    top.wait_for("timeout", "supervisor    ● ready")


def test_what_does_not_fit_is_scrolled(top: Terminal) -> None:
    top.resize(100, 18)
    top.wait_for("consumer 0", "8f0c2b1e")
    top.type("j" * 3)
    top.wait_without("consumer 0")
    top.wait_for("sender 1", "8f0c2b1e")
    top.type("kkk")
    top.wait_for("consumer 0")
    top.type("\x1b[6~G")
    top.wait_for("supervisor")
    top.type("g")
    top.wait_for("consumer 0")


def test_a_program_that_goes_and_comes_back(top: Terminal, api: Answering) -> None:
    api.server.go_away()
    top.wait_for("no news for 1 s", "■ cannot reach Courier at http://127.0.0.1", "connection refused")
    # What was known stays, and grows old.
    top.wait_for("no news for 2 s", "sender 0      ● ready")
    api.answer["in_flight"] = 17
    api.server.come_back()
    top.wait_for("17 in flight", "live")
    top.wait_without("cannot reach")


def test_a_program_that_is_not_there_yet() -> None:
    with reserved_port() as port, terminal(["-m", "courier", "top", "-u", f"127.0.0.1:{port}"]) as top:
        top.wait_for(f"■ cannot reach Courier at http://127.0.0.1:{port}: connection refused", "q quit")
        top.type("q")
        assert top.end() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_terminal_is_given_back_on_a_signal_and_the_last_frame_stays(top: Terminal, number: int, code: int) -> None:
    assert top.attributes() != top.before
    top.process.send_signal(number)
    assert top.end() == code
    assert restored(top)
    assert "orders → http://api.internal:8081" in top.left_behind()
    assert "again in 14 s" in top.left_behind()


def test_ctrl_c_and_ctrl_z(top: Terminal) -> None:
    top.type("\x1a")
    until(lambda: b"\x1b[?1049l" in top.output and top.attributes() == top.before, explain=top.text)
    top.process.send_signal(signal.SIGCONT)
    until(lambda: top.output.count(b"\x1b[?1049h") == 2 and top.attributes() != top.before, explain=top.text)
    top.type("\x03")
    assert top.end() == 130
    assert restored(top)


def test_the_terminal_is_given_back_on_an_exception() -> None:
    program = (
        "from rich.text import Text\nfrom courier.terminal.screen import Screen\n"
        "with Screen(colours=True) as screen:\n    screen.show([Text('seen last')])\n    raise RuntimeError('a bug')\n"
    )
    with terminal(["-c", program]) as opened:
        assert opened.end() == 1
        until(lambda: b"RuntimeError: a bug" in opened.output)
        assert restored(opened)
        assert "seen last" in opened.left_behind()


def coloured(output: bytes) -> bool:
    """Return whether a colour is set anywhere."""
    return any(
        30 <= int(code) <= 107 for found in re.findall(rb"\x1b\[([0-9;]+)m", output) for code in found.split(b";")
    )


def test_colours_can_be_left_out(top: Terminal, api: Answering) -> None:
    assert coloured(top.output)
    for options, environ in ((["--no-color"], {}), ([], {"NO_COLOR": "1"})):
        with terminal(["-m", "courier", "top", "-n", "1", *options, "-u", api.server.url], **environ) as plain:
            assert plain.end() == 0
            assert "● ready" in plain.left_behind()
            assert not coloured(plain.output)


def test_nothing_of_a_message_reaches_the_terminal_raw(top: Terminal, api: Answering) -> None:
    failure = FULL["failures"][0] | {"message_id": ESCAPE, "reason": ESCAPE, "then": ESCAPE, "time": ESCAPE}
    api.answer |= {"failures": [failure], "host": ESCAPE, "reasons": [ESCAPE], "advice": [ESCAPE], "state": "not ready"}
    top.wait_for("■ not ready", r"\u001b]0;owned\u0007\u001b[31m\u202e\u009b2J")
    assert not {b"owned\x07", b"\x1b]0", "\u202e".encode(), "\x9b".encode()} & set(top.output.split(b"owned"))
    assert b"\x1b]0" not in top.output
    assert b"\x07" not in top.output
    assert "\u202e".encode() not in top.output
    assert "\x9b".encode() not in top.output


def test_scripts_get_plain_text(api: Answering) -> None:
    code, out, err = show("top", "-b", "-n", "2", *FAST, "-s", "memory", "-u", api.server.url)
    assert (code, err) == (0, "")
    assert out.count("orders → http://api.internal:8081   ● ready") == 2
    assert out.replace("\n", "").isprintable()
    assert "MEMORY▾" in out
    # Piped it needs no option for that.
    assert show("top", "-n", "1", "-u", api.server.url).out.count("orders →") == 1
    api.answer = without(FULL, "queue", "latency", "now", "host", "breaker", "workers", "failures", "rates")
    assert "No failures." in show("top", "-n", "1", "-u", api.server.url).out
    api.server.go_away()
    code, out, _ = show("top", "-b", "-n", "1", "-u", api.server.url)
    assert code == 3
    assert "connection refused" in out
    assert show("top", "-s", "colour").code == 2
    assert show("top", "-i", "0").code == 2


def test_a_running_courier(virtual_queue: str, tmp_path: Path) -> None:
    with scene(virtual_queue, tmp_path) as here, terminal(["-m", "courier", "top", *FAST, "-u", here.api.url]) as top:
        top.wait_for(
            f"{here.queue.name} → {here.recipient.server.url}   ● ready", "consumer 0", "sender 3", "No failures."
        )
        here.recipient.server.go_away()
        here.queue.send(bodies(30))
        top.wait_for(
            "◆ ready, waiting", "■ open", "the circuit breaker is open: connection refused", "connection refused"
        )
        here.recipient.server.come_back()
        top.wait_for("● ready ", "● closed")
        here.courier.kill()
        top.wait_for("no news for", "cannot reach Courier")
        top.type("q")
        assert top.end() == 0
