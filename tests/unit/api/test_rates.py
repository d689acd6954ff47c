"""Rates over a second, ten and sixty."""

from __future__ import annotations

from courier.api.rates import WINDOWS, Rates


def sampled(rates: Rates, seconds: range, per_second: int) -> None:
    for second in seconds:
        rates.sample(float(second), [second * per_second])


def test_a_steady_rate_is_the_same_over_every_window() -> None:
    rates = Rates(0.0, [0])
    sampled(rates, range(1, 101), 50)
    assert [rates.over(window, 100.5, [5025]) for window in WINDOWS] == [[50.0]] * 3


def test_a_burst_shows_in_the_short_window_and_is_spread_over_the_long_one() -> None:
    rates = Rates(0.0, [0])
    sampled(rates, range(1, 61), 0)
    rates.sample(61.0, [600])
    assert rates.over(1, 61.0, [600]) == [600.0]
    assert rates.over(10, 61.0, [600]) == [60.0]
    assert rates.over(60, 61.0, [600]) == [10.0]


def test_at_the_start_a_window_is_what_is_known() -> None:
    rates = Rates(0.0, [0, 0])
    assert rates.over(60, 0.0, [5, 5]) == [0.0, 0.0]
    assert rates.over(60, 2.0, [10, 4]) == [5.0, 2.0]


def test_no_more_is_kept_than_the_longest_window_needs() -> None:
    rates = Rates(0.0, [0])
    sampled(rates, range(1, 10_000), 1)
    assert rates.over(60, 9_999.0, [9_999]) == [1.0]
    assert len(rates._samples) <= max(WINDOWS) + 2
