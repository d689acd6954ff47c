"""The breaker of a bucket: how few fetches a dead one gets, and how few receives it costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.fetch.breaker import LONGEST_HIDE_SECONDS, LONGEST_PAUSE_SECONDS, THRESHOLD, BucketBreaker

LIMIT = 300.0


def opened(now: float) -> BucketBreaker:
    breaker = BucketBreaker()
    for _ in range(THRESHOLD):
        breaker.failed(now)
    return breaker


def test_failures_open_it_only_in_a_row() -> None:
    breaker = BucketBreaker()
    for now in range(3 * THRESHOLD):
        assert breaker.admits(now, LIMIT)
        breaker.failed(now)
        if now % (THRESHOLD - 1) == THRESHOLD - 2:
            breaker.worked()
    assert not breaker.is_open
    assert not breaker.seconds_to_hide(3 * THRESHOLD, 0.5)


def test_one_probe_at_a_time_and_a_success_closes_it() -> None:
    breaker = opened(100.0)
    assert not breaker.admits(100.0, LIMIT)
    assert breaker.admits(101.0, LIMIT)
    assert not breaker.admits(110.0, LIMIT)
    breaker.failed(110.0)
    assert breaker.admits(111.0, LIMIT)
    breaker.worked()
    assert not breaker.is_open
    assert all(breaker.admits(112.0, LIMIT) for _ in range(100))


def test_a_probe_that_was_given_up_blocks_no_other_for_longer_than_a_fetch_may_take() -> None:
    breaker = opened(100.0)
    assert breaker.admits(101.0, LIMIT)
    assert breaker.admits(101.0 + LIMIT, LIMIT)


@given(st.floats(0, 1, exclude_max=True))
def test_an_outage_costs_few_receives_and_its_end_is_noticed(draw: float) -> None:
    for outage, most in ((600.0, 5), (3600.0, 7), (6 * 3600.0, 14)):
        breaker, now, receives = opened(0.0), 1.0, 1
        while now < outage:
            hidden = breaker.seconds_to_hide(now, draw)
            assert 0 < hidden <= 1.5 * LONGEST_HIDE_SECONDS
            now += hidden
            receives += 1
        assert receives <= most
        assert now <= outage + min(1.5 * LONGEST_HIDE_SECONDS, max(45.0, 3 * outage))


@pytest.mark.parametrize("age", [0.0, 10.0, 3600.0, 86_400.0])
def test_a_dead_bucket_is_probed_at_least_twice_a_minute(age: float) -> None:
    breaker = opened(0.0)
    assert breaker.admits(age + 1.0, LIMIT)
    breaker.failed(age + 1.0)
    assert breaker.admits(age + 1.0 + LONGEST_PAUSE_SECONDS, LIMIT)


def test_a_probe_that_ends_without_a_result_blocks_no_other_one() -> None:
    breaker = BucketBreaker()
    for _ in range(THRESHOLD):
        breaker.failed(0.0)
    assert breaker.admits(50.0, 3600.0)
    assert not breaker.admits(51.0, 3600.0)
    breaker.let_go(52.0)
    assert not breaker.admits(52.0, 3600.0)
    assert breaker.admits(54.0, 3600.0)
