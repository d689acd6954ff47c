"""Numbers and times in few characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.terminal import texts
from courier.terminal.texts import BARS, DASH, duration, plural, rate, seconds, size, sparkline


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (texts.count(18402.0), "18,402"),
        (rate(0.24), "0.2"),
        (rate(9.96), "10"),
        (rate(1284.4), "1,284"),
        (rate(0.0), "0"),
        (seconds(0.0004), "0.4 ms"),
        (seconds(0.084), "84 ms"),
        (seconds(0.9999), "1.00 s"),
        (seconds(30.0), "30 s"),
        (seconds(90.0), "1 min 30 s"),
        (seconds(0.0), "0 ms"),
        (duration(42.9), "42 s"),
        (duration(-1.0), "0 s"),
        (duration(200.0), "3 min 20 s"),
        (duration(3 * 86400 + 4 * 3600 + 59), "3 d 4 h"),
        (duration(7200.0), "2 h"),
        (size(512.0), "512 B"),
        (size(3.1 * 1024**2), "3.1 MiB"),
        (size(61 * 1024**2 + 3), "61 MiB"),
        (plural(1, "sender"), "1 sender"),
        (plural(6000, "sender"), "6,000 senders"),
    ],
)
def test_a_number(shown: str, text: str) -> None:
    assert shown == text


def test_what_is_unknown_is_a_dash() -> None:
    assert {show(None) for show in (texts.count, rate, seconds, duration, size)} == {DASH}


def test_a_sparkline_shows_the_last_values_against_the_largest() -> None:
    assert sparkline([0, 50, None, 100], 4) == f"{BARS[0]}{BARS[4]} {BARS[7]}"
    assert sparkline([0, 50, 100], 5) == f"  {BARS[0]}{BARS[4]}{BARS[7]}"
    assert sparkline([0, 0, 100, 100], 2) == f"{BARS[0]}{BARS[7]}"
    assert sparkline([100, 200], 2, top=400) == f"{BARS[2]}{BARS[4]}"
    assert sparkline([], 4) == sparkline([1], 0) == ""


@given(st.lists(st.none() | st.floats(0, 1e12), min_size=1, max_size=400), st.integers(1, 200))
def test_a_sparkline_has_the_width_that_it_is_given(values: list[float | None], width: int) -> None:
    shown = sparkline(values, width)
    assert len(shown) == width
    assert set(shown) <= {*BARS, " "}
