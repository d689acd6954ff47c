"""The rate limit, divided among the senders that may send."""

from __future__ import annotations

import math

import pytest

from courier.process import scoreboard
from courier.recipient.gate import Gate
from tests.unit.recipient.senders import LATER, START, Senders, opened


def begins(gate: Gate, now: float) -> bool:
    """Begin a delivery where the rate limit lets it."""
    if gate.rate.seconds_to_token(now):
        return False
    gate.rate.take_token(now)
    return True


def test_the_prober_has_the_whole_rate() -> None:
    senders = Senders(4, rate=1.0 / 3600, reject_share=0.5)
    half_open = opened(senders)
    senders.refresh(half_open)
    assert senders.all[0].rate.seconds_to_token(half_open) == 0.0
    senders.all[0].rate.take_token(half_open)
    assert 1800.0 < senders.all[0].rate.seconds_to_token(half_open) <= 3600.0


def test_a_rate_is_parted_among_senders_and_comes_evenly_spaced() -> None:
    senders = Senders(2, rate=10.0)
    tokens = 0
    for milli in range(1000, 3000):
        now = LATER + milli / 1000
        tokens += sum(begins(gate, now) for gate in senders.all)
    assert 20 <= tokens <= 22


def test_the_first_tokens_of_several_senders_come_one_after_another() -> None:
    senders = Senders(4, rate=4.0)
    assert sorted(gate.rate.seconds_to_token(START) for gate in senders.all) == pytest.approx(
        [0.0, 0.25, 0.5, 0.75], abs=0.001
    )


@pytest.mark.parametrize("in_flight", [1, 2, 3, 4, 7])
def test_a_rate_is_parted_among_those_that_may_send_at_all(in_flight: int) -> None:
    senders = Senders(4, rate=40.0, in_flight=in_flight)
    senders.refresh(LATER)
    sending = [gate for gate in senders.all if gate.limit]
    assert len(sending) == min(in_flight, 4)
    firsts = sorted(gate.rate.seconds_to_token(START) for gate in sending)
    tokens = 0
    for milli in range(2000):
        tokens += sum(begins(gate, LATER + milli / 1000) for gate in sending)
    assert tokens == pytest.approx(80, abs=5)
    assert firsts == pytest.approx([firsts[0] + n / 40.0 for n in range(len(sending))], abs=0.002)


def test_the_instant_of_the_next_token_stands_on_the_board_for_the_consumers() -> None:
    senders = Senders(2, rate=0.2)

    def tokens() -> list[float]:
        return list(senders.board.real_column(scoreboard.TOKEN_AT, "sender")[:2])

    assert tokens() == [START, START + 5.0]
    senders.all[0].rate.take_token(START)
    assert tokens() == [START + 10.0, START + 5.0]
    assert senders.board.real_column(scoreboard.TOKEN_EVERY, "sender")[:2] == [10.0, 10.0]
    senders.all[1].rate.take_token(START + 5.0)
    assert tokens() == [START + 10.0, START + 15.0]
    assert senders.board.real_column(scoreboard.TOKEN_TAKEN, "sender")[1] == START + 5.0
    senders.gone(0)
    senders.all[1].refresh(START + 16.0)
    assert tokens()[1] == START + 15.0


def test_while_a_packet_is_taken_for_a_token_no_consumer_sees_the_token() -> None:
    senders = Senders(1, rate=0.2)
    (gate,) = senders.all
    gate.rate.reserve(LATER, taking=True)
    gate.refresh(LATER)
    assert senders.board.real_column(scoreboard.TOKEN_AT, "sender")[0] == math.inf
    gate.rate.take_token(LATER)
    gate.rate.reserve(LATER, taking=False)
    assert senders.board.real_column(scoreboard.TOKEN_AT, "sender")[0] == START + 5.0


def test_without_a_rate_nothing_waits() -> None:
    assert Senders().all[0].rate.seconds_to_token(LATER) == 0.0
