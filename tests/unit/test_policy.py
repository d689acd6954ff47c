from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.http.answer import TIMEOUT, Answer, Failure
from courier.policy import MAX_HIDDEN_SECONDS, Backoff, Delivered, Retry, hidden_seconds, judge, lease_end

BACKOFF = Backoff(1.0, 900.0)


def answer(status: int, *, request_written: bool = True) -> Answer:
    return Answer(status, [], b"", False, request_written, 0.0, 0.01)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_any_2xx_after_the_whole_request_delivers(status: int) -> None:
    assert judge(answer(status), 1, BACKOFF, 0.5) == Delivered(status)


@pytest.mark.parametrize("status", [200, 204])
def test_a_2xx_before_the_whole_request_was_written_does_not_deliver(status: int) -> None:
    outcome = judge(answer(status, request_written=False), 1, BACKOFF, 0.5)
    assert isinstance(outcome, Retry)
    assert "before the request was written" in outcome.reason


@pytest.mark.parametrize("status", [300, 301, 304, 307, 400, 404, 410, 429, 500, 502, 503])
def test_any_other_status_retries(status: int) -> None:
    assert judge(answer(status), 3, BACKOFF, 0.5) == Retry(2.0, f"status {status}", status)


def test_a_failure_retries_with_its_reason() -> None:
    assert judge(Failure(TIMEOUT, "no answer", 30.0), 1, BACKOFF, 0.5) == Retry(0.5, TIMEOUT, None)


@given(
    attempt=st.integers(0, 10**9),
    draw=st.floats(0, 1, exclude_max=True),
    base=st.floats(0.001, 100),
    cap=st.floats(0.001, 43_200),
)
def test_the_back_off_stays_between_nothing_and_its_cap(attempt: int, draw: float, base: float, cap: float) -> None:
    assert 0 <= Backoff(base, cap).delay(attempt, draw) <= cap


@given(attempt=st.integers(1, 40), draw=st.floats(0.01, 1, exclude_max=True))
def test_the_back_off_never_shrinks_with_the_attempts(attempt: int, draw: float) -> None:
    assert BACKOFF.delay(attempt + 1, draw) >= BACKOFF.delay(attempt, draw)


def test_a_delay_below_a_second_hides_for_a_second() -> None:
    assert hidden_seconds(0.01, received_at=100.0, now=100.0) == 1
    assert hidden_seconds(0.0, received_at=100.0, now=100.0) == 0


@given(delay=st.floats(0, 1e6), age=st.floats(0, 60_000))
def test_a_delay_never_passes_the_twelve_hours_since_the_receive(delay: float, age: float) -> None:
    seconds = hidden_seconds(delay, received_at=1000.0, now=1000.0 + age)
    assert seconds >= 0
    assert seconds == 0 or age + seconds <= MAX_HIDDEN_SECONDS


@pytest.mark.parametrize(("visibility", "margin"), [(1, 0.1), (3, 0.3), (10, 1.0), (30, 1.0), (43_200, 1.0)])
def test_a_lease_ends_a_margin_before_sqs_shows_the_message_again(visibility: int, margin: float) -> None:
    assert lease_end(500.0, visibility, 500.0) == pytest.approx(500.0 + visibility - margin)


def test_an_extended_lease_ends_twelve_hours_after_the_receive() -> None:
    assert lease_end(43_190.0, 30, 0.0) == MAX_HIDDEN_SECONDS
