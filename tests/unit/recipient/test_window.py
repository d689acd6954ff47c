"""The growth of counts within a sliding window, against every count that was seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.recipient.window import SAMPLES, Window

SECONDS = 60.0


@given(st.lists(st.tuples(st.floats(0.01, 90.0), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=80))
def test_growth_is_that_of_about_the_window_and_never_less(steps: list[tuple[float, int, int]]) -> None:
    window, now, counts = Window(SECONDS), 1000.0, (3, 7)
    seen = [(now, counts)]
    assert window.growth(now, counts) == [0, 0]
    for pause, first, second in steps:
        now, counts = now + pause, (counts[0] + first, counts[1] + second)
        seen.append((now, counts))
        growth = window.growth(now, counts)
        # It counts from a sample within the window, or from now on where there is none.
        sampled = [earlier for at, earlier in seen if now - at <= SECONDS]
        assert growth in [[counts[n] - earlier[n] for n in (0, 1)] for earlier in sampled]
        # All that grew since the oldest sample that may be kept.
        kept = [earlier for at, earlier in seen if now - at <= SECONDS * (1 - 2 / SAMPLES)]
        assert all(growth[n] >= counts[n] - kept[0][n] for n in (0, 1))


def test_what_was_cleared_does_not_count() -> None:
    window = Window(SECONDS)
    window.growth(1.0, (0,))
    assert window.growth(2.0, (5,)) == [5]
    window.clear()
    assert window.growth(3.0, (9,)) == [0]
    assert window.growth(4.0, (10,)) == [1]


def test_what_was_before_a_change_is_forgotten() -> None:
    window = Window(SECONDS)
    for second, count in enumerate([0, 0, 0, 1, 5, 9]):
        window.growth(10.0 * second, (count, 0))
    assert not window.forget_before((9, 0), lambda growth: growth[0] > 9)
    assert window.growth(50.0, (9, 0)) == [9, 0]
    # The longest part of which it is true.
    assert window.forget_before((9, 0), lambda growth: 0 < growth[0] < 9)
    assert window.growth(50.0, (9, 0)) == [8, 0]
