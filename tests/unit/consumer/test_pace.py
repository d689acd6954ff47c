from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.consumer.pace import MOST_RECEIVES, ReceivePace
from courier.consumer.room import ReceiveLatency


def pace() -> ReceivePace:
    return ReceivePace(0.0, ReceiveLatency())


def test_after_an_outage_of_under_a_minute_the_next_receive_follows_within_two_seconds() -> None:
    for _ in range(50):
        receives, now = pace(), 1000.0
        while now < 1058.0:
            receives.failed("network", now, now)
            assert 0.0 < receives.starts_at() - now < 1.6
            now = receives.starts_at()


def test_in_a_long_outage_the_pauses_grow() -> None:
    receives, now = pace(), 1000.0
    pauses = []
    while now < 5000.0:
        receives.failed("network", now, now)
        pauses.append(receives.starts_at() - now)
        now = receives.starts_at()
    assert 10.0 < max(pauses[-50:]) < 20.1


def test_a_receive_that_fails_after_a_younger_one_was_answered_says_nothing_new() -> None:
    receives = pace()
    receives.answered(3, 10, began=1005.0, now=1005.1)
    assert receives.failed("network", began=1000.0, now=1011.0) is None
    assert receives.failures == 0
    assert receives.starts_at() < 1011.0


@given(gap=st.floats(0.0, 100.0))
def test_a_long_poll_outlasts_the_gap_between_messages_and_not_by_much(gap: float) -> None:
    receives = pace()
    receives.answered(1, 10, 1000.0, 1000.0 + gap)
    assert min(20.0, 4 * gap) <= receives.longest_wait() <= min(20.0, max(1.0, 4 * gap + 1))


def test_empty_answers_double_the_long_poll() -> None:
    receives = pace()
    assert receives.longest_wait() == 20
    receives.answered(1, 10, 1000.0, 1000.1)
    waits = [receives.longest_wait()]
    for turn in range(6):
        receives.answered(0, 10, 1001.0 + turn, 1001.5 + turn)
        waits.append(receives.longest_wait())
    assert waits == [1, 2, 4, 8, 16, 20, 20]


def test_answers_that_bring_much_and_enlarge_no_window_show_a_crowd() -> None:
    receives = pace()
    for turn in range(MOST_RECEIVES - 1):
        receives.answered(10, 10, 1000.0 + turn, 1000.1 + turn)
        assert receives.crowded == 0, "more receives of its own bring more"
    assert receives.window == MOST_RECEIVES
    receives.answered(10, 10, 1100.0, 1100.1)
    receives.answered(5, 10, 1101.0, 1101.1)
    assert receives.crowded == 2
    receives.answered(10, 10, 1102.0, 1102.1)
    assert receives.crowded == 2, "the window was smaller before"
    receives.answered(4, 10, 1103.0, 1103.1)
    assert receives.crowded == 0
    receives.answered(7, 10, 1104.0, 1104.1)
    receives.failed("network", 1105.0, 1105.1)
    assert receives.crowded == 0


@given(answers=st.lists(st.tuples(st.integers(0, 10), st.integers(1, 10)), max_size=100))
def test_only_answers_with_at_least_half_of_what_was_asked_for_make_a_crowd(answers: list[tuple[int, int]]) -> None:
    receives = pace()
    for turn, (count, asked) in enumerate(answers):
        before, window = receives.crowded, receives.window
        receives.answered(min(count, asked), asked, 1000.0 + turn, 1000.1 + turn)
        assert receives.brought_much == (2 * min(count, asked) >= asked)
        if not receives.brought_much:
            assert receives.crowded == 0
        else:
            assert receives.crowded == before + (receives.window <= window)
