"""The watch for copies that come back: it pauses for them, not for what fails anyway, and each pause ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.dlq.dead_letter import dead_letter
from courier.dlq.returns import FIRST_PAUSE_SECONDS, LEAST, LONGEST_PAUSE_SECONDS, Returns
from courier.message import REDRIVE_OF, Attribute, Message


def letter(sent_ms: int, *, is_copy: bool = True) -> Message:
    attributes = (Attribute(REDRIVE_OF, "String", "first"),) if is_copy else ()
    return Message("m", "r", 0.0, 0.0, 1, sent_ms, 0, "", "", "", attributes, b"body")


def test_only_a_copy_that_was_sent_since_the_redrive_began_has_come_back() -> None:
    returns = Returns(1000.0, 0.0)
    assert returns.is_return(dead_letter(letter(1_000_500)))
    assert not returns.is_return(dead_letter(letter(999_000)))
    assert not returns.is_return(dead_letter(letter(1_000_500, is_copy=False)))


def test_a_few_that_come_back_stop_nothing_and_many_pause_for_longer_each_time() -> None:
    returns = Returns(0.0, 0.0)
    returns.add_redriven(1000, 1000, 1.0)
    returns.add_seen(LEAST, 1.0)
    assert returns.pause_seconds(1.0) == 0.0
    now, lengths = 1.0, []
    for _ in range(8):
        returns.add_redriven(100, 0, now)
        returns.add_seen(200, now)
        lengths.append(returns.pause_seconds(now))
        now += lengths[-1]
        assert returns.pause_seconds(now) == 0.0
    assert lengths[0] == FIRST_PAUSE_SECONDS
    assert lengths == sorted(lengths)
    assert lengths[-1] == LONGEST_PAUSE_SECONDS
    # After a calm time they begin anew.
    now += 10 * LONGEST_PAUSE_SECONDS
    returns.add_seen(LEAST, now)
    assert returns.pause_seconds(now) == FIRST_PAUSE_SECONDS


def test_a_queue_that_fills_while_it_should_get_emptier_pauses_before_any_copy_is_received() -> None:
    returns = Returns(0.0, 0.0, late=0.0)
    returns.add_count(10_000, 0.0)
    removed, now = 0, 0.0
    while not returns.pauses:
        now += 5.0
        assert now < 60.0, "it has redriven 6,000 messages that all come back"
        removed += 500
        returns.add_redriven(500, removed, now)
        # All of them are there again.
        returns.add_count(10_000, now)
    assert returns.seen == 0


@given(st.integers(0, 60), st.floats(10.0, 2000.0), st.integers(0, 50))
def test_a_count_that_is_late_pauses_nothing(late: int, rate: float, other: int) -> None:
    returns = Returns(0.0, 0.0, late=60.0)
    totals = [100_000 - rate * max(0, second - late) for second in range(200)]
    returns.add_count(100_000, 0.0)
    for second in range(1, 200):
        returns.add_redriven(int(rate), int(rate) * second, float(second))
        if second % 5 == 0:
            returns.add_count(int(totals[second]), float(second))
    assert returns.pauses == 0


def test_what_fails_anyway_is_taken_for_that_after_the_first_pause() -> None:
    returns = Returns(0.0, 0.0, late=0.0)
    returns.add_count(100_000, 0.0)
    removed, now, total, paused = 0, 0.0, 100_000, 0.0
    while now < 3600.0:
        now += 5.0
        total += 50
        if returns.pause_seconds(now):
            paused += 5.0
        else:
            removed, total = removed + 50, total - 50
            returns.add_redriven(50, removed, now)
        returns.add_count(total, now)
    assert 1 <= returns.pauses <= 3
    assert paused < 600.0
