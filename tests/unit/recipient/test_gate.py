"""What a sender may send: at the start of the program, while it delivers, and when it leaves."""

from __future__ import annotations

from typing import Any

import pytest

from courier.process import scoreboard
from courier.recipient.breaker import START_SECONDS, BreakerOptions
from tests.unit.recipient.senders import FAULT, LATER, Senders


def test_the_limit_stands_on_the_board_for_the_consumers() -> None:
    senders = Senders(2)
    assert [gate.limit for gate in senders.all] == [8, 8]
    assert senders.board.total(scoreboard.LIMIT) == 16


def test_where_all_senders_were_replaced_they_start_as_the_program_does() -> None:
    senders = Senders(2)
    senders.gone(0)
    senders.gone(1)
    for index in range(2):
        senders.alive(index)
        senders.board.slots("sender")[index].words[scoreboard.STATE] = scoreboard.STARTING
        senders.all[index] = senders.join(index, LATER)
        senders.alive(index)
    senders.refresh(LATER)
    assert [gate.phase.is_start for gate in senders.all] == [True, True]


def test_a_start_sends_one_delivery_at_a_time_until_one_succeeds() -> None:
    senders = Senders(3, starts=True)
    assert [gate.limit for gate in senders.all] == [1, 0, 0]
    assert senders.board.total(scoreboard.LIMIT) == 1
    assert not any(gate.is_troubled for gate in senders.all), "an idle program has nothing to look after"
    senders.all[0].begin(LATER)
    senders.refresh(LATER)
    assert all(gate.is_troubled for gate in senders.all)
    senders.deliver(0, LATER + 0.1)
    senders.refresh(LATER + 0.1)
    assert [gate.limit for gate in senders.all] == [8, 8, 8], "without a ramp"


def test_a_start_is_over_a_second_after_its_first_delivery_began_where_nothing_is_refused() -> None:
    senders = Senders(2, starts=True)
    senders.refresh(LATER + 60.0)
    assert [gate.limit for gate in senders.all] == [1, 0]
    senders.all[0].begin(LATER + 60.0)
    senders.refresh(LATER + 60.9)
    assert [gate.limit for gate in senders.all] == [1, 0]
    senders.refresh(LATER + 60.0 + START_SECONDS)
    assert [gate.limit for gate in senders.all] == [8, 8]


@pytest.mark.parametrize(
    "limits", [{"breaker": BreakerOptions(0, 1.0, 8.0)}, {"breaker": BreakerOptions(0, 1.0, 8.0), "rate": 5.0}]
)
def test_without_a_breaker_there_is_no_start_either(limits: dict[str, Any]) -> None:
    senders = Senders(2, starts=True, **limits)
    assert [gate.limit for gate in senders.all] == [8, 8]


def test_a_sender_that_leaves_shows_no_slots_whatever_its_last_answers_are() -> None:
    senders = Senders()
    (gate,) = senders.all
    gate.stop_sending()
    gate.record_failure_to_deliver(FAULT, 0.1, 1, LATER)
    gate.record_delivery(0.1, 1, LATER + 0.1)
    assert gate.limit == 0
    assert senders.board.total(scoreboard.LIMIT) == 0
