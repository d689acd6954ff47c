"""How long a message that failed is kept: pure, over all states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.http.answer import Failure
from courier.lease import MAX_HIDDEN_SECONDS
from courier.recipient.kept_messages import (
    FREE_SLOT_SECONDS,
    KEPT_SECONDS,
    LONGEST_OFTEN_SECONDS,
    LONGEST_PAUSE_SECONDS,
    LONGEST_REFUSED_PAUSE_SECONDS,
    OUTDATED_SECONDS,
    SHORTEST_PAUSE_SECONDS,
    UNKNOWN,
    FailingMessage,
    is_given_up,
    is_outdated,
    kept_seconds,
    next_attempt,
    slots_to_try,
)
from courier.recipient.policy import Retry

NOTHING = Failure("timeout", "", 0.0)


def failed(
    attempts: int = 1, delay: float = 1.0, *, refusal: bool = False, asked: float = 0.0, is_unsent: bool = False
) -> FailingMessage:
    """Make a message that failed once a second from 100 s on."""
    failing = FailingMessage(100.0)
    for n in range(attempts):
        outcome = Retry(delay, "reason", 408 if refusal else None, fault=not refusal, refusal=refusal)
        failing.failed(NOTHING, outcome, 100.0 + n, asked=asked, is_unsent=is_unsent)
    return failing


MESSAGES = st.builds(
    failed,
    st.integers(1, 5000),
    st.floats(0.0, 43_200.0),
    refusal=st.booleans(),
    asked=st.sampled_from([0.0, 1.0, 3600.0]),
    is_unsent=st.booleans(),
)


@given(MESSAGES, st.integers(0, 10**6), st.booleans(), st.booleans(), st.sampled_from([0.0, 1.0, 30.0, 43_200.0]))
def test_whatever_is_kept_is_tried_again_after_a_pause_and_not_for_ever(
    failing: FailingMessage, receives: int, in_doubt: bool, often: bool, run_seconds: float
) -> None:
    def at(now: float) -> float | None:
        return next_attempt(failing, receives, now, in_doubt=in_doubt, often=often, run_seconds=run_seconds)

    due = at(failing.at)
    if due is not None:
        assert due >= failing.at + SHORTEST_PAUSE_SECONDS
        if in_doubt or often:
            # What the recipient asks for is kept.
            assert due >= failing.at + min(failing.asked, failing.outcome.delay) or in_doubt
            longest = max(LONGEST_PAUSE_SECONDS, LONGEST_OFTEN_SECONDS, LONGEST_REFUSED_PAUSE_SECONDS)
            assert due <= failing.at + max(longest, failing.asked)
        else:
            assert due - failing.since <= run_seconds
    if in_doubt or often:
        over = at(failing.since + MAX_HIDDEN_SECONDS)
        assert (over is None) != failing.is_unsent


def test_others_that_are_delivered_send_it_back_at_once() -> None:
    assert next_attempt(failed(), 1, 100.0, in_doubt=False, often=False) is None


@pytest.mark.parametrize(("delay", "run", "due"), [(0.7, 2.0, 100.7), (0.0, 2.0, 100.05), (2.1, 2.0, None)])
def test_a_run_waits_while_its_pause_fits_into_the_visibility_timeout(
    delay: float, run: float, due: float | None
) -> None:
    found = next_attempt(failed(delay=delay), 1, 100.0, in_doubt=False, often=False, run_seconds=run)
    assert found == (None if due is None else pytest.approx(due))


@pytest.mark.parametrize("refusal", [False, True])
def test_the_pauses_in_doubt_grow_to_their_longest(refusal: bool) -> None:
    pauses = []
    for attempts in range(1, 12):
        failing = failed(attempts, 900.0, refusal=refusal)
        due = next_attempt(failing, 1, failing.at, in_doubt=True, often=False)
        assert due is not None
        pauses.append(due - failing.at)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(LONGEST_REFUSED_PAUSE_SECONDS if refusal else LONGEST_PAUSE_SECONDS)


def test_three_receives_last_for_more_than_an_hour_and_none_for_longer_than_a_lease() -> None:
    assert [kept_seconds(n) for n in (0, 1, 2, 3)] == [KEPT_SECONDS, KEPT_SECONDS, 2 * KEPT_SECONDS, 4 * KEPT_SECONDS]
    assert sum(kept_seconds(n) for n in (1, 2, 3)) > 3600.0
    assert kept_seconds(10**9) == MAX_HIDDEN_SECONDS
    assert not is_given_up(failed(), 1, 100.0 + KEPT_SECONDS - 1.0)
    assert is_given_up(failed(), 1, 100.0 + KEPT_SECONDS)
    assert not is_given_up(failed(is_unsent=True), 1, 1e9)


def test_one_outage_puts_a_message_in_doubt_again_and_the_next_one_does_not() -> None:
    failing = failed()
    failing.delivered = 5
    failing.stopped()
    assert failing.delivered == UNKNOWN
    failing.delivered, failing.spared = 6, True
    failing.stopped()
    assert failing.delivered == 6


@given(MESSAGES, st.integers(0, 100), st.booleans())
def test_the_patience_with_a_message_in_doubt_ends_only_if_it_is_alone(
    failing: FailingMessage, receives: int, often: bool
) -> None:
    def at(*, in_doubt: bool, alone: bool) -> float | None:
        return next_attempt(failing, receives, 1e9, in_doubt=in_doubt, often=often, alone=alone)

    assert at(in_doubt=True, alone=False) is not None
    if not failing.is_unsent:
        assert at(in_doubt=True, alone=True) is None
        assert at(in_doubt=False, alone=False) is None


@given(st.integers(1, 100), st.integers(0, 200), st.floats(0.0, 10.0))
def test_messages_in_doubt_leave_a_slot_to_a_new_one_and_have_one_at_last(limit: int, taken: int, idle: float) -> None:
    slots = slots_to_try(limit, taken, 100.0, 100.0 + idle)
    assert slots < limit or limit == 1
    assert slots <= max(0, limit - taken)
    assert slots_to_try(limit, 0, 100.0, 100.0 + FREE_SLOT_SECONDS) > 0


def test_a_failure_is_outdated_once_it_was_in_doubt_for_a_while() -> None:
    assert not is_outdated(failed(1), 100.1)
    assert is_outdated(failed(1), 100.0 + OUTDATED_SECONDS)
    assert is_outdated(failed(2), 101.0)
