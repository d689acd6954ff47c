from __future__ import annotations

from courier.sqs.patience import Patience, longest_pause


def test_silence_makes_patience_grow_to_its_most_once_for_calls_that_ended_together() -> None:
    patience = Patience(2.0, 10.0)
    for call in range(3):
        patience.ended(began=100.0 + call, now=105.0)
    assert patience.seconds == 4.0
    patience.ended(began=105.0, now=109.0)
    patience.ended(began=109.0, now=117.0)
    assert patience.seconds == 10.0


def test_a_slow_sqs_gets_time_and_a_quick_one_little_again() -> None:
    patience = Patience(2.0, 10.0)
    patience.answered(3.0, 100.0)
    assert patience.seconds == 6.0
    patience.answered(9.0, 110.0)
    assert patience.seconds == 10.0
    for turn in range(4):
        patience.answered(0.01, 120.0 + 10.0 * turn)
    assert patience.seconds == 2.0


def test_quick_answers_leave_a_call_that_took_too_long_the_time_for_its_answer() -> None:
    patience, now = Patience(2.0, 10.0), 100.0
    for _ in range(3):
        patience.ended(now, now + patience.seconds)
        now += patience.seconds
        # A hundred others are answered before it is made again, and after.
        for call in range(100):
            patience.answered(0.01, now + 0.02 * call)
        if patience.seconds > 3.0:
            break
    assert patience.seconds > 3.0
    patience.answered(3.0, now + 5.0)
    for call in range(100):
        patience.answered(0.01, now + 5.0 + 0.04 * call)
    assert patience.seconds == 6.0


def test_pauses_are_short_in_a_short_outage_and_grow_with_a_long_one() -> None:
    assert longest_pause(0.0) == longest_pause(30.0) == 1.0
    assert longest_pause(60.0) == 1.5
    assert longest_pause(800.0) == 20.0
