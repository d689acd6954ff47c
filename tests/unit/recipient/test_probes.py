"""Which sender probes the recipient, when it connects, and when it asks for a message."""

from __future__ import annotations

import pytest

from courier.process import scoreboard
from courier.process.scoreboard import SILENT_SECONDS
from courier.recipient.breaker import HALF_OPEN
from courier.recipient.phase import Phase
from courier.recipient.policy import Retry
from courier.recipient.probes import LOST_PROBE_SECONDS
from courier.recipient.views import breaker_state
from tests.unit.recipient.senders import FAULT, LATER, Senders, opened


def test_the_first_living_sender_probes_a_half_open_recipient_and_no_other() -> None:
    senders = Senders(3)
    half_open = opened(senders)
    senders.refresh(half_open)
    assert [(e.probes.is_prober, e.limit, e.phase.is_shut) for e in senders.all] == [
        (True, 1, False),
        (False, 0, False),
        (False, 0, False),
    ]
    senders.gone(0)
    senders.refresh(half_open)
    assert [gate.probes.is_prober for gate in senders.all[1:]] == [True, False]


def test_a_connection_that_fails_opens_it_again_and_one_that_stands_asks_for_a_message() -> None:
    senders = Senders()
    (gate,) = senders.all
    half_open = opened(senders)
    gate.refresh(half_open)
    assert gate.probes.wants_connection(half_open, at_hand=False)
    gate.record_connection("connection refused", half_open, at_hand=False)
    assert gate.phase is Phase.STOPPED
    half_open += 10.0
    gate.refresh(half_open)
    gate.record_connection(None, half_open, at_hand=False)
    assert not gate.probes.wants_connection(half_open + 1.0, at_hand=False)
    assert senders.board.slots("sender")[0].reals[scoreboard.PROBE_WANTED] == half_open
    assert gate.probes.wants_connection(half_open + LOST_PROBE_SECONDS, at_hand=False), "its probe was never brought"


def test_where_a_message_is_at_hand_none_is_asked_for() -> None:
    senders = Senders()
    half_open = opened(senders)
    senders.refresh(half_open)
    assert not senders.all[0].probes.wants_connection(half_open, at_hand=True)


def test_where_connecting_failed_it_is_tried_each_second_and_success_ends_the_cool_down() -> None:
    senders = Senders(2)
    first, second = senders.all
    unreachable = Retry(0.0, "connection refused", None, fault=True)
    for _ in range(3):
        first.record_failure_to_deliver(unreachable, 0.1, 1, LATER)
    senders.refresh(LATER + 0.1)
    tries = [n for n in range(40) if first.probes.wants_connection(LATER + 0.1 + n / 10, at_hand=True)]
    assert tries == [0, 10, 20, 30]
    assert not second.probes.wants_connection(LATER + 0.1, at_hand=True)
    assert first.phase is Phase.STOPPED
    first.record_connection(None, LATER + 4.2, at_hand=True)
    senders.refresh(LATER + 4.2)
    assert {gate.phase for gate in senders.all} == {Phase.PROBING}
    assert [gate.limit for gate in senders.all] == [1, 0]
    # It takes connections, and still fails.
    first.record_failure_to_deliver(FAULT, 0.0, 1, LATER + 4.3)
    assert first.phase is Phase.STOPPED
    assert not first.probes.wants_connection(LATER + 6.0, at_hand=True)


def test_a_sender_that_does_not_probe_changes_nothing_by_a_connection() -> None:
    senders = Senders(2)
    half_open = opened(senders)
    senders.refresh(half_open)
    senders.all[1].record_connection("connection refused", half_open, at_hand=False)
    assert not senders.all[1].probes.wants_connection(half_open, at_hand=False)
    assert senders.all[1].phase is Phase.PROBING


def test_a_sender_that_falls_silent_loses_its_turn_to_probe_and_what_it_said_is_remembered() -> None:
    senders = Senders(3)
    half_open = opened(senders)
    senders.refresh(half_open)
    senders.silent(0, since=half_open)
    later = half_open + SILENT_SECONDS
    for gate in senders.all[1:]:
        gate.refresh(later)
    assert [(gate.phase, gate.probes.is_prober) for gate in senders.all[1:]] == [
        (Phase.PROBING, True),
        (Phase.PROBING, False),
    ]
    assert breaker_state(senders.board, "sender", later) == HALF_OPEN


def test_the_sender_that_holds_something_probes_before_one_that_would_have_to_ask_for_it() -> None:
    senders = Senders(3)
    half_open = opened(senders)
    for holding in ({2}, {1, 2}, {0, 2}, set()):
        for slot in senders.board.slots("sender"):
            slot.words[scoreboard.IN_FLIGHT] = int(slot.index in holding)
        senders.refresh(half_open)
        assert [e.probes.is_prober for e in senders.all].index(True) == min(holding, default=0)
        assert sum(e.probes.is_prober for e in senders.all) == 1
    senders.board.slots("sender")[2].words[scoreboard.IN_FLIGHT] = 1
    senders.silent(2, since=half_open)
    senders.refresh(half_open + SILENT_SECONDS)
    assert senders.all[0].probes.is_prober, "what a silent one holds doesn't count"


def test_a_sender_that_drains_does_not_probe_however_long_it_takes() -> None:
    senders = Senders(2)
    half_open = opened(senders)
    senders.all[0].stop_sending()
    senders.board.slots("sender")[0].words[scoreboard.STATE] = scoreboard.DRAINING
    senders.refresh(half_open)
    assert [gate.probes.is_prober for gate in senders.all] == [False, True]


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_the_prober_has_a_slot_whatever_its_part_of_a_limit(in_flight: int) -> None:
    senders = Senders(4, in_flight=in_flight)
    half_open = opened(senders)
    senders.refresh(half_open)
    assert [gate.limit for gate in senders.all] == [1, 0, 0, 0]
