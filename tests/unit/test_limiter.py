from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.limiter import BURST_SECONDS, TokenBucket, share, usable


def taken(bucket: TokenBucket, start: float, seconds: float, step: float) -> int:
    """Take whatever is there at each step of a clock."""
    count = 0
    for tick in range(int(seconds / step)):
        while bucket.take(start + tick * step):
            count += 1
    return count


@given(rate=st.floats(0.1, 20_000), stagger=st.floats(0, 1, exclude_max=True))
def test_over_any_time_the_rate_is_kept_to_within_a_token_and_a_burst(rate: float, stagger: float) -> None:
    bucket = TokenBucket(rate, 0.0, stagger)
    got = taken(bucket, 0.0, 10.0, 0.002)
    assert abs(got - rate * 10.0) <= 2 + rate * 0.01


@pytest.mark.parametrize("senders", range(1, 9))
def test_the_rate_is_exact_for_any_number_of_senders(senders: int) -> None:
    buckets = [TokenBucket(200 / senders, 0.0, n / senders) for n in range(senders)]
    assert sum(taken(bucket, 0.0, 20.0, 0.001) for bucket in buckets) == pytest.approx(4000, abs=senders + 1)


def test_tokens_do_not_gather_while_nobody_takes_them() -> None:
    bucket = TokenBucket(10.0, 0.0)
    count = 0
    while bucket.take(100.0):
        count += 1
    assert count <= 2


@given(rate=st.floats(0.1, 2_000), pauses=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=25))
def test_whenever_it_is_asked_no_span_has_more_than_its_rate_a_burst_and_its_ends(
    rate: float, pauses: list[float]
) -> None:
    bucket, now = TokenBucket(rate, 0.0), 0.0
    taken_at: list[float] = []
    for pause in pauses:
        now += pause
        while bucket.take(now):
            taken_at.append(now)
        wait = bucket.wait(now)
        assert 0 < wait <= 1 / rate + 1e-9
        assert wait < 1e-6 or not bucket.take(now + wait * 0.99)
    for number, start in enumerate(taken_at):
        for count, end in enumerate(taken_at[number:], 1):
            assert count <= (end - start) * rate + 2.001 + rate * BURST_SECONDS


@given(rates=st.lists(st.floats(0.1, 2_000), min_size=1, max_size=6))
def test_over_changes_of_the_rate_each_counts_for_its_time(rates: list[float]) -> None:
    bucket = TokenBucket(rates[0], 0.0)
    got = 0
    for second, rate in enumerate(rates):
        bucket.change(rate, float(second))
        got += taken(bucket, float(second), 1.0, 0.002)
    assert abs(got - sum(rates)) <= 2 + len(rates) + max(rates) * 0.01


def test_staggered_first_tokens_come_one_after_another() -> None:
    buckets = [TokenBucket(1.0, 0.0, n / 4) for n in range(4)]
    assert [bucket.wait(0.0) for bucket in buckets] == [0.0, 0.25, 0.5, 0.75]


def test_a_changed_rate_holds_from_the_token_under_way() -> None:
    bucket = TokenBucket(1.0, 0.0)
    assert bucket.take(0.0)
    bucket.change(10.0, 0.5)
    assert bucket.wait(0.5) == pytest.approx(0.05)


@given(limit=st.integers(0, 10_000), senders=st.integers(1, 300))
def test_the_shares_of_a_limit_add_up_and_differ_by_one_at_most(limit: int, senders: int) -> None:
    shares = [share(limit, rank, senders) for rank in range(senders)]
    assert sum(shares) == limit
    assert max(shares) - min(shares) <= 1


def test_what_a_rate_can_use_within_a_lease_is_at_least_one() -> None:
    assert usable(200.0, 30) == 1500
    assert usable(0.01, 30) == 1
