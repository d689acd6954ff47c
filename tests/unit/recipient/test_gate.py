"""What a sender may send: at the start of the program, while it delivers, and when it leaves."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.process import scoreboard
from courier.recipient.breaker import START_SECONDS, BreakerOptions
from courier.recipient.gate import Gate
from courier.recipient.policy import Retry
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


def knowledge(gate: Gate) -> tuple[Any, ...]:
    """What a gate knows, and what it shows the others."""
    faults, breaker = gate.faults, gate.breaker
    known = gate.limit, gate.phase, gate.shut_at, gate.is_troubled, breaker.phase, breaker.since, gate.pause.is_on
    return *known, faults.is_high, faults.is_often, faults.percent, gate._words.tolist()


@settings(max_examples=300)
@given(
    limits=st.sampled_from([{}, {"reject_share": 0.5}, {"breaker": BreakerOptions(0, 1.0, 8.0)}])
    | st.fixed_dictionaries({}, optional={"rate": st.just(5.0), "in_flight": st.just(4), "adaptive": st.just(True)}),
    starts=st.sampled_from([False, False, True]),
    events=st.lists(
        st.tuples(
            st.sampled_from(["deliver", "fault", "refuse", "slow down", "wait", "wait long", "stop", "return"]),
            st.sampled_from([0, 1, 1, 2]),
            st.sampled_from([1, 1, 3, 30]),
            st.booleans(),
        ),
        min_size=10,
        max_size=30,
    ),
)
def test_a_gate_for_which_watching_is_enough_would_learn_nothing_from_a_refresh(
    limits: dict[str, Any], starts: bool, events: list[tuple[str, int, int, bool]]
) -> None:
    """The first sender holds nothing between its own events: it may only skip a refresh that would change nothing."""
    senders, now = Senders(3, starts=starts, **limits), LATER
    sleeper = senders.all[0]
    for event, index, times, refreshes in events:
        for _ in range(times):
            now += {"wait": 1.0, "wait long": 30.0}.get(event, 0.01)
            meet(senders, event, index, now)
        for gate in senders.all[0 if index == 0 else 1 :]:
            gate.faults.refresh(now)
            gate.refresh(now)
        is_enough, before = sleeper.watch(now), knowledge(sleeper)
        if not is_enough or refreshes:
            sleeper.faults.refresh(now)
            sleeper.refresh(now)
        assert not is_enough or knowledge(sleeper) == before


def meet(senders: Senders, event: str, index: int, now: float) -> None:
    """Let something happen to a sender."""
    gate = senders.all[index]
    if event == "deliver":
        senders.deliver(index, now)
    elif event == "fault":
        gate.faults.failed()
        gate.record_failure_to_deliver(FAULT, 0.005, 1, now)
    elif event == "slow down":
        gate.record_failure_to_deliver(Retry(2.0, "status 429", 429, slow_down=2.0), 0.005, 1, now)
    elif event == "refuse":
        senders.refuse(index, now)
    elif event == "stop":
        senders.silent(index, now)
    elif event == "return":
        senders.alive(index)


def test_watching_is_enough_for_a_sleeper_while_all_is_well_and_not_under_a_shared_limit() -> None:
    def watches(**limits: Any) -> bool:
        senders = Senders(3, **limits)
        senders.refresh(LATER)
        senders.all[0].faults.refresh(LATER)
        return senders.all[0].watch(LATER + 1.0)

    assert watches()
    assert not watches(rate=5.0)
    assert not watches(in_flight=8)
    assert not watches(adaptive=True)
