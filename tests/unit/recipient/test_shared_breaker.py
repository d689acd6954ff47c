"""The breaker as all senders know it, through the scoreboard alone."""

from __future__ import annotations

import itertools

import pytest

from courier.process import scoreboard
from courier.process.scoreboard import SILENT_SECONDS
from courier.recipient.breaker import (
    CLOSED,
    LONGEST_GROWN_SECONDS,
    OPEN,
    START_FAILURES,
    BreakerOptions,
)
from courier.recipient.phase import Phase
from courier.recipient.views import breaker_state, read_view
from tests.unit.recipient.senders import FAULT, LATER, Senders, open_until, opened


def test_the_faults_of_all_senders_open_the_breaker_for_all() -> None:
    senders = Senders(3)
    for n, gate in enumerate(senders.all):
        gate.record_failure_to_deliver(FAULT, 0.1, 1, LATER + n / 100)
    senders.refresh(LATER + 0.1)
    assert {gate.phase for gate in senders.all} == {Phase.STOPPED}
    assert all(gate.phase.is_shut and gate.limit == 0 for gate in senders.all)
    assert breaker_state(senders.board, "sender", LATER + 0.1) == OPEN
    assert read_view(senders.board.slots("sender")[2]).open_until == pytest.approx(LATER + 0.02 + 5.0)


def test_a_good_answer_of_one_sender_forgets_the_faults_of_the_others() -> None:
    senders = Senders(3)
    senders.all[0].record_failure_to_deliver(FAULT, 0.1, 1, LATER)
    senders.all[1].record_failure_to_deliver(FAULT, 0.1, 1, LATER + 0.1)
    senders.all[2].record_delivery(0.1, 1, LATER + 0.2)
    senders.all[0].record_failure_to_deliver(FAULT, 0.1, 1, LATER + 0.3)
    senders.refresh(LATER + 0.4)
    assert {gate.phase for gate in senders.all} == {Phase.DELIVERING}


def test_a_probe_that_is_answered_closes_the_breaker_and_the_load_comes_back_by_doubling() -> None:
    senders = Senders(2)
    half_open = opened(senders)
    senders.refresh(half_open)
    senders.all[0].record_delivery(0.1, 1, half_open + 0.1)
    senders.refresh(half_open + 0.2)
    assert {gate.phase for gate in senders.all} == {Phase.DELIVERING}
    assert [gate.limit for gate in senders.all] == [1, 1]
    limits = []
    for trip in range(5):
        for _ in range(senders.all[1].limit):
            senders.all[1].record_delivery(0.1, 1, half_open + 0.3 + trip / 10)
        limits.append(senders.all[1].limit)
    assert limits == [2, 4, 8, 8, 8]


def test_a_probe_that_fails_opens_it_again_and_the_pause_grows_with_the_outage() -> None:
    senders = Senders(2)
    now = opened(senders)
    pauses = []
    while now < LATER + 4000.0:
        senders.refresh(now)
        senders.all[0].record_failure_to_deliver(FAULT, 0.1, 1, now)
        assert senders.all[0].phase is Phase.STOPPED
        pauses.append(open_until(senders) - now)
        now = open_until(senders)
    assert pauses[:50] == pytest.approx([5.0] * 50)
    assert all(later >= pause - 1e-6 for pause, later in itertools.pairwise(pauses))
    assert pauses[-1] == pytest.approx(LONGEST_GROWN_SECONDS)


def test_a_probe_of_before_that_fails_late_does_not_open_it_anew() -> None:
    senders = Senders()
    half_open = opened(senders)
    senders.refresh(half_open)
    senders.all[0].record_failure_to_deliver(FAULT, 30.0, 1, half_open)
    assert senders.all[0].phase is Phase.PROBING


def test_a_delivery_that_began_before_the_outage_does_not_end_it() -> None:
    senders = Senders()
    half_open = opened(senders)
    senders.all[0].record_delivery(30.0, 1, half_open)
    assert [gate.phase for gate in senders.all] == [Phase.PROBING]
    senders.all[0].record_delivery(2.0, 1, half_open)
    assert [gate.phase for gate in senders.all] == [Phase.DELIVERING]


def test_a_sender_that_comes_back_with_old_words_undoes_nothing() -> None:
    senders = Senders(2)
    half_open = opened(senders)
    senders.refresh(half_open)
    senders.silent(0, since=half_open)
    later = half_open + SILENT_SECONDS
    senders.all[1].refresh(later)
    senders.deliver(1, later)
    assert breaker_state(senders.board, "sender", later) == CLOSED
    senders.alive(0)
    assert breaker_state(senders.board, "sender", later) == CLOSED
    # The answer that it waited for: of a probe that was its own.
    senders.all[0].record_failure_to_deliver(FAULT, SILENT_SECONDS, 1, later + 0.1)
    senders.refresh(later + 0.2)
    assert {gate.phase for gate in senders.all} == {Phase.DELIVERING}


def test_what_a_sender_wrote_just_before_it_died_is_adopted_and_outlives_it() -> None:
    senders = Senders(2)
    opened(senders)
    senders.gone(0, at=LATER + 0.02)
    senders.all[1].refresh(LATER + 1.0)
    senders.all[1].refresh(LATER + 4.0)
    assert senders.all[1].phase is Phase.STOPPED
    # A new one in the same slot comes to know it too.
    senders.alive(0)
    senders.all[0] = senders.join(0, LATER + 4.5)
    assert senders.all[0].phase is Phase.STOPPED


@pytest.mark.parametrize(("threshold", "faults"), [(2, 2), (10, START_FAILURES)])
def test_so_do_as_many_faults_or_what_opens_it_at_any_time(threshold: int, faults: int) -> None:
    senders = Senders(starts=True, breaker=BreakerOptions(threshold, 1.0, 8.0))
    states = []
    for n in range(faults):
        senders.all[0].record_failure_to_deliver(FAULT, 0.0, 1, LATER + n / 100)
        states.append(senders.all[0].phase.is_outage)
    assert states == [False] * (faults - 1) + [True]


def test_a_probe_that_a_person_asks_for_cuts_the_cool_down_short_once() -> None:
    senders = Senders(3)
    half_open = opened(senders)
    before = half_open - 1.0
    senders.refresh(before)
    assert {gate.phase for gate in senders.all} == {Phase.STOPPED}
    senders.board.supervisor.reals[scoreboard.PROBE_ASKED] = before
    senders.refresh(before + 0.1)
    assert {gate.phase for gate in senders.all} == {Phase.PROBING}
    assert sum(gate.limit for gate in senders.all) == 1
    # Its failure opens the breaker for a whole cool-down, whatever was asked before.
    senders.all[0].record_failure_to_deliver(FAULT, 0.05, 1, before + 0.2)
    for later in (0.3, 1.0, 4.0):
        senders.refresh(before + later)
        assert {gate.phase for gate in senders.all} == {Phase.STOPPED}


def test_a_probe_asked_for_before_an_outage_or_without_one_changes_nothing() -> None:
    senders = Senders(2)
    senders.board.supervisor.reals[scoreboard.PROBE_ASKED] = LATER - 1.0
    senders.refresh(LATER - 0.5)
    assert {gate.phase for gate in senders.all} == {Phase.DELIVERING}
    half_open = opened(senders)
    senders.refresh(half_open - 1.0)
    assert {gate.phase for gate in senders.all} == {Phase.STOPPED}
