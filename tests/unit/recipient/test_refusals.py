"""Refusals of all senders: when they are so many that the recipient must be wrong."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.process import scoreboard
from courier.recipient import breaker
from courier.recipient.breaker import START_FAILURES
from courier.recipient.phase import Phase
from courier.recipient.refusals import MINIMUM
from courier.recipient.views import read_views
from tests.examples import examples
from tests.unit.recipient.senders import LATER, Senders, open_until, opened


def test_so_many_refusals_that_the_recipient_must_be_wrong_open_the_breaker() -> None:
    senders = Senders(2, reject_share=0.5)
    for _ in range(5):
        senders.deliver(0, LATER)
    stopped = [senders.refuse(1, LATER + n / 10) for n in range(MINIMUM)]
    assert stopped == [False] * (MINIMUM - 1) + [True]
    view = breaker.newest(read_views(senders.board, "sender", LATER))
    assert (view.refused, view.answers, view.status) == (MINIMUM, MINIMUM, 404)


def test_three_refusals_at_a_start_stop_receiving_whichever_senders_see_them() -> None:
    senders = Senders(3, starts=True, reject_share=0.5)
    senders.all[0].begin(LATER)
    assert not senders.refuse(0, LATER + 0.1, "a")
    assert not senders.refuse(1, LATER + 0.9, "b")
    senders.refresh(LATER + 1.5)
    assert senders.all[0].phase.is_start
    assert senders.refuse(2, LATER + 1.6, "c")
    senders.refresh(LATER + 1.6)
    assert {gate.phase for gate in senders.all} == {Phase.STOPPED}
    view = breaker.newest(read_views(senders.board, "sender", LATER))
    assert (view.refused, view.answers, view.status) == (START_FAILURES, START_FAILURES, 404)


@pytest.mark.parametrize("delivered", [0, 1])
def test_at_a_start_one_message_that_is_refused_again_counts_where_nothing_was_ever_delivered(delivered: int) -> None:
    senders = Senders(starts=True, reject_share=0.5)
    # By a sender that is gone.
    senders.board.slots("sender")[1].words[scoreboard.DELIVERED] = delivered
    senders.all[0].begin(LATER)
    opened = [senders.refuse(0, LATER + n / 10, "a") for n in range(START_FAILURES)]
    assert opened == [False] * (START_FAILURES - 1) + [not delivered]


def refuse_all(senders: Senders, now: float) -> float:
    """Let refusals open the breaker, and give the instant at which it is half-open."""
    for _ in range(MINIMUM):
        if senders.refuse(0, now):
            senders.refresh(now)
            return now + 5.0
    raise AssertionError("the breaker stays closed")


def test_a_refused_probe_after_refusals_is_a_failed_one_whichever_sender_brings_it() -> None:
    senders = Senders(3, reject_share=0.5)
    now = refuse_all(senders, LATER)
    # The one that opened it is gone; another, in its turn a new process in an old slot, probes.
    senders.gone(0)
    senders.all[1] = senders.join(1, now)
    for _ in range(3):
        senders.all[1].refresh(now)
        assert senders.all[1].probes.is_prober
        assert senders.refuse(1, now)
        assert senders.all[1].phase.is_shut
        now = open_until(senders)


def test_a_delivered_probe_after_refusals_closes_it_and_only_new_ones_count() -> None:
    senders = Senders(2, reject_share=0.5)
    half_open = refuse_all(senders, LATER)
    senders.refresh(half_open)
    assert senders.deliver(0, half_open + 0.1)
    senders.refresh(half_open + 0.1)
    for index in range(2):
        assert not senders.refuse(index, half_open + 0.2)
    assert refuse_all(senders, half_open + 1.0) == half_open + 6.0


def test_a_refused_probe_after_faults_is_an_answer_and_closes_it() -> None:
    senders = Senders(2, reject_share=0.5)
    half_open = opened(senders)
    senders.refresh(half_open)
    assert not senders.refuse(0, half_open + 0.1)
    assert senders.all[0].phase is Phase.DELIVERING


def test_a_recipient_that_goes_down_amid_refusals_must_still_take_a_message_before_it_closes() -> None:
    senders = Senders(2, reject_share=0.5)
    half_open = refuse_all(senders, LATER)
    senders.refresh(half_open)
    senders.all[0].record_connection("connection refused", half_open, at_hand=False)
    half_open += 10.0
    senders.refresh(half_open)
    assert senders.refuse(0, half_open)
    assert senders.all[0].phase is Phase.STOPPED


def test_senders_that_see_too_many_refusals_at_the_same_moment_open_the_breaker_once() -> None:
    senders = Senders(8, reject_share=0.5)
    for n in range(MINIMUM + 5):
        senders.refuse(n % 8, LATER)
    assert senders.board.total(scoreboard.OPENINGS) == 1
    assert open_until(senders) == LATER + 5.0


def test_few_messages_that_are_refused_again_and_again_are_not_many() -> None:
    senders = Senders(2, reject_share=0.5)
    for n in range(10 * MINIMUM):
        assert not senders.refuse(n % 2, LATER + n, f"m{n % (MINIMUM - 1)}")


@pytest.mark.parametrize("apart", [61.0, 59.0])
def test_a_recipient_that_refuses_is_noticed_at_once_however_much_was_delivered_before(apart: float) -> None:
    senders = Senders(2, reject_share=0.5, reject_window=60.0)
    assert not senders.refuse(0, LATER)
    for _ in range(6000):
        senders.deliver(0, LATER)
    assert refuse_all(senders, LATER + apart) == LATER + apart + 5.0


def test_so_it_is_beneath_refusals_now_and_then() -> None:
    senders = Senders(2, reject_share=0.5, reject_window=60.0)
    for n in range(200):
        assert not senders.refuse(0, LATER + n)
        for _ in range(1000):
            senders.deliver(0, LATER + n)
    assert refuse_all(senders, LATER + 200) == LATER + 205


@settings(max_examples=examples(60), deadline=None)
@given(
    reject_share=st.sampled_from([0.1, 0.2, 0.5, 0.8, 0.9, 1.0]),
    below=st.floats(0.0, 0.9),
    seed=st.integers(0, 2**32),
    senders=st.integers(1, 4),
    every=st.sampled_from([0.0001, 0.01, 1.0, 70.0]),
)
def test_with_a_share_of_refusals_below_the_limit_nothing_opens_in_whatever_order_they_come(
    reject_share: float, below: float, seed: int, senders: int, every: float
) -> None:
    those, random = Senders(senders, reject_share=reject_share), Random(seed)
    now = LATER
    for n in range(1000):
        now += every
        if random.random() < reject_share * below:
            assert not those.refuse(n % senders, now)
        else:
            those.deliver(n % senders, now)


@settings(max_examples=examples(60), deadline=None)
@given(reject_share=st.sampled_from([0.1, 0.5, 0.8]), seed=st.integers(0, 2**32), delivered=st.integers(0, 5000))
def test_with_a_share_well_above_it_receiving_stops_within_few_messages(
    reject_share: float, seed: int, delivered: int
) -> None:
    those, random = Senders(2, reject_share=reject_share), Random(seed)
    for _ in range(delivered):
        those.deliver(0, LATER)
    for n in range(2000):
        if random.random() >= 0.97:
            those.deliver(n % 2, LATER + n / 100)
        elif those.refuse(n % 2, LATER + n / 100):
            return
    raise AssertionError("the breaker stays closed")
