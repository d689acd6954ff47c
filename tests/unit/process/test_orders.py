"""The line between the first process and the supervisor of a queue."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.process.control_protocol import packed, unpacked
from courier.process.orders import ANSWERED, IN_FORCE, NEWS, NUMBER, OWN, PROBLEM, Line, Orders, make_line
from courier.process.peer import Peer
from courier.process.signals import TAKEN

PEER = Peer(1, 2, 3)


@pytest.fixture(autouse=True, scope="module")
def no_wake() -> Iterator[None]:
    """Ignore the signal by which the kernel wakes a supervisor: it would end the tests."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGIO, before)


class Pair:
    def __init__(self) -> None:
        first, own = make_line()
        self.line, self.orders = Line(first), Orders(own)
        self.own = own

    def take(self, *taken: signal.Signals) -> list[signal.Signals]:
        return list(self.orders.take(taken, echo))


def echo(fields: dict[str, Any], peer: Peer) -> bytes:
    return packed({"ok": True, "fields": fields, "peer": peer.uid})


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.line.close()
    made.own.close()


def test_a_supervisor_acts_on_the_signals_of_its_line_and_on_none_that_others_send(pair: Pair) -> None:
    assert pair.take(*sorted(TAKEN)) == sorted(OWN)
    pair.line.signal(signal.SIGHUP)
    pair.line.signal(signal.SIGTERM)
    assert pair.take(signal.SIGTERM, signal.SIGIO) == [signal.SIGIO, signal.SIGHUP, signal.SIGTERM]
    assert pair.take() == []


def test_an_order_to_stop_is_seen_before_the_first_turn_and_taken_in_it(pair: Pair) -> None:
    assert not pair.orders.wants_stop()
    pair.line.signal(signal.SIGUSR1)
    pair.line.signal(signal.SIGTERM)
    assert pair.orders.wants_stop()
    assert pair.take() == [signal.SIGUSR1, signal.SIGTERM]


def test_the_end_of_the_line_is_the_end_of_the_first_process_but_what_it_said_before_counts(pair: Pair) -> None:
    pair.line.signal(signal.SIGUSR1)
    pair.line.close()
    assert pair.orders.wants_stop()
    assert pair.orders.is_orphan
    assert pair.take() == [signal.SIGUSR1]


def test_a_request_is_answered_with_its_number_after_the_signals_before_it(pair: Pair) -> None:
    pair.line.signal(signal.SIGHUP)
    assert pair.line.ask(7, packed({"act": "pause"}), PEER)
    assert pair.take() == [signal.SIGHUP]
    ((kind, content),) = pair.line.news()
    assert kind == ANSWERED
    assert NUMBER.unpack_from(content) == (7,)
    assert unpacked(content[NUMBER.size :]) == {"ok": True, "fields": {"act": "pause"}, "peer": 2}


def test_signals_to_a_supervisor_that_takes_none_are_kept_in_order_and_requests_refused(pair: Pair) -> None:
    numbers = [signal.SIGUSR1, signal.SIGUSR2] * 20_000
    for number in numbers:
        pair.line.signal(number)
    assert not pair.line.ask(1, packed({"act": "rotate"}), PEER)
    taken: list[signal.Signals] = []
    while len(taken) < len(numbers):
        taken += pair.take()
        pair.line.flush()
    assert taken == numbers


def test_news_that_nobody_reads_give_way_to_later_news_about_the_same(pair: Pair) -> None:
    for number in range(5000):
        pair.orders.tell(IN_FORCE, b"%05d" % number + b"x" * 3000)
    pair.orders.tell(PROBLEM, b"why")
    told: list[bytes] = []
    for _ in range(3):
        told += [content for kind, content in pair.line.news() if kind == NEWS]
        pair.take()
    assert told[-2].startswith(IN_FORCE + b"04999")
    assert told[-1] == PROBLEM + b"why"


def test_news_too_large_for_a_packet_hold_up_nothing(pair: Pair) -> None:
    pair.orders.tell(IN_FORCE, bytes(64 << 20))
    pair.orders.tell(PROBLEM, b"why")
    assert list(pair.line.news()) == [(NEWS, PROBLEM + b"why")]


@given(st.lists(st.sampled_from(["signal", "ask", "take", "news"]), max_size=60))
def test_in_any_order_each_signal_is_taken_once_and_each_request_answered_once(steps: list[str]) -> None:
    pair = Pair()
    sent: list[signal.Signals] = []
    taken: list[signal.Signals] = []
    asked: list[int] = []
    answered: list[int] = []
    for number, step in enumerate(steps):
        if step == "signal":
            sent.append(signal.SIGHUP if number % 2 else signal.SIGTTIN)
            pair.line.signal(sent[-1])
        elif step == "ask" and pair.line.ask(number, packed({"act": "x"}), PEER):
            asked.append(number)
        elif step == "take":
            taken += pair.take()
        else:
            answered += [NUMBER.unpack_from(content)[0] for _, content in pair.line.news()]
    taken += pair.take()
    answered += [NUMBER.unpack_from(content)[0] for _, content in pair.line.news()]
    assert taken == sent
    assert answered == asked
    pair.line.close()
    pair.own.close()
