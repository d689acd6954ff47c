"""Percentiles from the counts of buckets, held against the observations themselves."""

from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.api.percentiles import SHARES, percentile, percentiles
from courier.process.scoreboard import AGE_BOUNDS, LATENCY_BOUNDS

BOUNDS = (1.0, 2.0, 4.0, math.inf)


def test_without_observations_nothing_is_known() -> None:
    assert percentiles(BOUNDS, [0, 0, 0, 0]) == dict.fromkeys(SHARES)


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        ([10, 0, 0, 0], 0.5, 0.5),
        ([0, 10, 0, 0], 0.5, 1.5),
        ([0, 0, 10, 0], 0.99, 3.98),
        ([5, 0, 5, 0], 0.5, 1.0),
        ([5, 0, 5, 0], 0.9, 3.6),
        ([1, 0, 0, 99], 0.5, 4.0),
        ([0, 0, 0, 1], 0.99, 4.0),
        ([1, 0, 0, 0], 0.99, 0.99),
    ],
)
def test_within_a_bucket_observations_count_as_evenly_spread(counts: list[int], share: float, seconds: float) -> None:
    assert percentile(BOUNDS, counts, share) == pytest.approx(seconds)


@pytest.mark.parametrize("bounds", [LATENCY_BOUNDS, AGE_BOUNDS])
@given(observed=st.lists(st.floats(0.0, 20.0), min_size=1, max_size=200), share=st.sampled_from([*SHARES.values()]))
def test_a_percentile_lies_in_the_bucket_of_the_observation_that_it_is(
    bounds: tuple[float, ...], observed: list[float], share: float
) -> None:
    counts = [0] * len(bounds)
    for seconds in observed:
        counts[bisect_left(bounds, seconds)] += 1
    found = percentile(bounds, counts, share)
    exact = sorted(observed)[math.ceil(share * len(observed)) - 1]
    bucket = bisect_left(bounds, exact)
    assert found is not None
    assert (bounds[bucket - 1] if bucket else 0.0) <= found <= bounds[bucket]


@given(st.lists(st.integers(0, 10**9), min_size=4, max_size=4))
def test_percentiles_never_fall_and_are_never_infinite(counts: list[int]) -> None:
    found = [seconds for seconds in percentiles(BOUNDS, counts).values() if seconds is not None]
    assert found == sorted(found)
    assert all(0.0 <= seconds <= 4.0 for seconds in found)
