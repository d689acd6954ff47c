"""A connection that knows the last answer of its session by heart, against one that parses every answer."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.http.answer import FIRST_BYTE_TIMEOUT, Answer, Failure
from courier.http.connection import Connection, Recent
from courier.http.exchange import Exchange
from courier.http.limits import SessionLimits
from tests.examples import examples

NONE: Final[Recent] = (None, 0, [], b"")

OK: Final = b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nX-Trailer: t\r\n\r\n"
HINTS: Final = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

ANSWERS: Final = {
    "length": OK,
    "chunked": CHUNKED,
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304 with the length of what it leaves out": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
    "503": b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
    "1.0 kept alive": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    "after hints": HINTS + OK,
    "an answer as its body": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(OK), OK),
    "a blank line behind it": OK + b"\r\n",
    "half a blank line behind it": OK + b"\r",
}
"""Those that leave the connection usable."""

OTHERS: Final = {
    "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "no length": b"HTTP/1.1 200 OK\r\n\r\nok",
    "over the cap": b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n" + b"x" * 400,
    "two at once": OK + OK,
    "another byte": OK + b"x",
    "nonsense": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "hints": HINTS,
    "half": OK[:40],
}


class Wire:
    """A transport that takes everything, or keeps ``unsent`` bytes back."""

    def __init__(self) -> None:
        self.written = 0
        self.unsent = 0
        self.aborted = False
        self.socket, self.server = socket.socketpair()

    def get_extra_info(self, name: str) -> object:
        """Return the socket, for those who ask the kernel."""
        return getattr(self, name)

    def write(self, data: bytes) -> None:
        """Take a request."""
        self.written += 1

    def get_write_buffer_size(self) -> int:
        """Return what is kept back."""
        return self.unsent

    def abort(self) -> None:
        """Close."""
        self.aborted = True


class Sessions:
    """What a connection needs of its session; without ``remembers`` it forgets every answer at once."""

    def __init__(self, *, remembers: bool = True) -> None:
        self.limits = SessionLimits(answer_cap=300)
        self.loop: Any = None  # for what is given up, which nothing here is
        self.idle: list[Connection] = []
        self.resent = 0
        self._remembers = remembers
        self._recent = NONE

    @property
    def recent(self) -> Recent:
        """The last answer."""
        return self._recent

    @recent.setter
    def recent(self, recent: Recent) -> None:
        if self._remembers:
            self._recent = recent

    def release(self, connection: Connection) -> None:
        """Note that it's idle."""
        self.idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """Note that it's closed."""
        if connection in self.idle:
            self.idle.remove(connection)

    def resend(self, exchange: Exchange) -> None:
        """Note that it would be sent again."""
        self.resent += 1


class End:
    """A connection over a wire, and what came of its requests."""

    def __init__(self, session: Sessions) -> None:
        self.session = session
        self.results: list[Answer | Failure] = []
        self.wire = Wire()
        self.connection = Connection(session, self._exchange(), time.monotonic())
        self.connection.connection_made(self.wire)  # type: ignore[arg-type]
        self.connection.connected()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        return self.connection in self.session.idle

    def ask(self) -> None:
        """Send a request."""
        self.start()
        self.connection.write(time.monotonic())

    def start(self) -> Exchange:
        """Give the connection a request, which isn't written yet."""
        self.session.idle.remove(self.connection)
        exchange = self._exchange()
        self.connection.start(exchange, time.monotonic())
        return exchange

    def takes(self, *pieces: bytes) -> Answer:
        """Return the answer that comes in some pieces."""
        for piece in pieces:
            self.connection.data_received(piece)
        answer = self.results.pop()
        assert isinstance(answer, Answer)
        return answer

    def told(self) -> list[Any]:
        """Return what was told, but for the times."""
        return [result[:2] if isinstance(result, Failure) else result[:5] for result in self.results]

    def _exchange(self) -> Exchange:
        now = time.monotonic()
        return Exchange(b"POST / HTTP/1.1\r\n\r\n", b"", self.results.append, now, now + 30)


@pytest.mark.parametrize("raw", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_that_comes_again_is_known_on_every_connection_of_the_session(raw: bytes) -> None:
    session = Sessions()
    first, second = End(session), End(session)
    answer = first.takes(raw)
    assert session.recent[0] == raw
    for end in (first, second, first, second):
        if end.is_idle:
            end.ask()
        again = end.takes(bytes(bytearray(raw)))
        assert again[:5] == answer[:5]
        assert again.headers is answer.headers  # not parsed
        assert again.first_byte_at >= answer.first_byte_at
        assert end.is_idle
        assert not end.wire.aborted


@pytest.mark.parametrize("raw", OTHERS.values(), ids=OTHERS.keys())
def test_what_leaves_no_connection_usable_is_not_remembered(raw: bytes) -> None:
    session = Sessions()
    for _ in range(3):
        End(session).connection.data_received(raw)
        assert session.recent == NONE
        assert session.idle == []


def test_an_answer_in_pieces_and_a_long_one_are_not_remembered() -> None:
    session = Sessions()
    end = End(session)
    end.takes(OK[:30], OK[30:])
    assert session.recent == NONE
    long = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1024 + b"\r\nContent-Length: 0\r\n\r\n"
    for _ in range(2):
        end.ask()
        assert end.takes(long).status == 200
    assert session.recent == NONE


def test_what_is_known_as_an_answer_is_the_body_of_another_where_one_is_expected() -> None:
    session = Sessions()
    end = End(session)
    end.takes(OK)
    end.ask()
    answer = end.takes(b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n" % len(OK), OK)
    assert (answer.status, answer.body) == (500, OK)
    end.ask()
    assert end.takes(HINTS, OK).body == b"ok"
    end.ask()
    assert end.takes(OK[:-1], OK[-1:]).body == b"ok"


def test_a_known_answer_that_nobody_asked_for_closes_the_connection() -> None:
    session = Sessions()
    end = End(session)
    end.takes(OK)
    end.connection.data_received(OK)
    assert end.wire.aborted
    assert (end.results, session.idle) == ([], [])


def test_a_known_answer_before_all_of_the_request_was_written_says_so_and_closes() -> None:
    session = Sessions()
    end = End(session)
    end.takes(OK)
    end.ask()
    end.wire.unsent = 1
    assert not end.takes(OK).request_written
    assert end.wire.aborted
    assert session.idle == []


def test_a_known_answer_leaves_a_connection_past_its_age_to_nobody() -> None:
    session = Sessions()
    end = End(session)
    end.takes(OK)
    session.limits = SessionLimits(max_age=0.0)
    old = End(session)
    assert old.takes(OK).status == 200
    assert old.wire.aborted
    assert session.idle == [end.connection]


@pytest.mark.parametrize("raw", [*ANSWERS.values(), *OTHERS.values(), b"H"])
def test_nothing_that_comes_before_a_request_is_written_answers_it(raw: bytes) -> None:
    session = Sessions()
    end = End(session)
    end.takes(OK)
    end.start()
    end.connection.data_received(raw)
    end.connection.write(time.monotonic())
    assert (end.results, end.wire.written, session.resent) == ([], 1, 1)
    assert end.wire.aborted
    assert session.idle == []


@pytest.mark.parametrize("error", [None, ConnectionResetError(), BrokenPipeError()])
def test_a_connection_that_ends_before_its_request_is_written_passes_it_on(error: Exception | None) -> None:
    session = Sessions()
    end = End(session)
    end.takes(OK)
    end.start()
    end.connection.connection_lost(error)
    end.connection.write(time.monotonic())
    assert (end.results, end.wire.written, session.resent) == ([], 1, 1)


def test_what_came_while_the_process_was_held_up_answers_no_request_that_it_writes_then() -> None:
    session = Sessions()
    end = End(session)
    end.takes(OK)
    end.start()
    end.wire.server.send(OK)
    end.connection.write(time.monotonic() + 1)
    assert (end.results, end.wire.written, session.resent) == ([], 1, 1)
    assert end.wire.aborted


def test_a_request_that_is_cancelled_before_it_is_written_is_never_written() -> None:
    session = Sessions()
    end = End(session)
    end.takes(OK)
    ended: list[Any] = []
    session.loop = SimpleNamespace(call_soon=lambda end, *about: ended.append(about))
    end.start().cancel()
    end.connection.write(time.monotonic())
    assert (len(ended), end.wire.written, session.resent) == (1, 1, 0)


def test_a_request_has_all_its_time_after_the_time_to_connect() -> None:
    session = Sessions()
    session.limits = SessionLimits(connect_timeout=0.001)
    end = End(session)
    end.takes(OK)
    exchange = end.start()
    assert end.connection.due() == exchange.deadline
    end.connection.sweep(time.monotonic() + 1)
    end.connection.write(time.monotonic() + 1)
    assert (end.results, end.wire.written) == ([], 2)


def test_the_wait_for_a_first_byte_begins_when_a_request_is_written_though_the_process_was_held_up() -> None:
    session = Sessions()
    session.limits = SessionLimits(first_byte_timeout=1.0)
    end = End(session)
    end.takes(OK)
    end.start()
    written_at = time.monotonic() + 5.0
    end.connection.write(written_at)
    end.connection.sweep(written_at + 0.9)
    assert (end.results, end.wire.aborted) == ([], False)
    end.connection.sweep(written_at + 1.1)
    (result,) = end.results
    assert isinstance(result, Failure)
    assert result.reason == FIRST_BYTE_TIMEOUT


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Answers one after another, as a network may hand them over: mostly one by one, at times cut or glued."""
    few = draw(st.lists(st.sampled_from([*ANSWERS.values(), *OTHERS.values()]), min_size=1, max_size=3))
    pieces: list[bytes] = []
    for raw in draw(st.lists(st.sampled_from(few), min_size=1, max_size=8)):
        cuts = draw(st.one_of(st.just(set[int]()), st.sets(st.integers(1, len(raw) - 1), max_size=2)))
        edges = [0, *sorted(cuts), len(raw)]
        pieces += [raw[a:b] for a, b in itertools.pairwise(edges)]
    if len(pieces) > 1 and draw(st.booleans()):
        place = draw(st.integers(0, len(pieces) - 2))
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return pieces


def run(session: Sessions, pieces: Sequence[bytes], unasked: set[int]) -> tuple[list[Any], list[Any]]:
    """Feed the pieces to a connection, with a request before each that finds it idle, but for some."""
    told, states = [], []
    end = End(session)
    for place, piece in enumerate(pieces):
        if end.is_idle and place not in unasked:
            end.ask()
        end.connection.data_received(piece)
        states.append((end.is_idle, end.wire.aborted))
        if end.wire.aborted:
            told += end.told()
            end = End(session)
    return told + end.told(), states


@settings(max_examples=examples(500), deadline=None)
@given(streams(), st.sets(st.integers(0, 20), max_size=2))
def test_it_makes_no_difference_but_for_the_cost(pieces: list[bytes], unasked: set[int]) -> None:
    assert run(Sessions(), pieces, unasked) == run(Sessions(remembers=False), pieces, unasked)
