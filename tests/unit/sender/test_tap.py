"""What a sender shows while somebody taps: failures whatever the successes, and a known part of both."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from courier.board.attempts import unpack
from courier.http.answer import TIMEOUT, Answer, Failure
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard
from courier.sender.tap import MOST_PER_SECOND, Allowance, Tap

GOOD = Answer(200, [], b"ok", False, True, 0.0, 0.012)


@given(st.lists(st.floats(0.0001, 3.0), min_size=1, max_size=300))
def test_no_second_has_more_than_twice_the_rate_and_no_time_more_than_the_rate(gaps: list[float]) -> None:
    allowance, now, taken = Allowance(10.0), 100.0, []
    for gap in gaps:
        now += gap
        if allowance.take(now):
            taken.append(now)
    assert all(sum(at - 1.0 < other <= at for other in taken) <= 20 for at in taken)
    assert len(taken) <= 10 + 10 * (now - 100.0) + 1


def test_a_slow_sender_shows_all() -> None:
    allowance = Allowance(MOST_PER_SECOND)
    assert all(allowance.take(now / 49.0) for now in range(1, 1000))


def test_a_sender_shows_failures_whatever_the_successes_and_counts_the_rest() -> None:
    board = Scoreboard.create({"sender": 1, "api": 1})
    slot, api = board.slots("sender")[0], board.slots("api")[0]
    tap = Tap(board, slot.ring)
    assert not tap.refresh()
    api.reals[scoreboard.TAP_UNTIL] = time.monotonic() + 60
    assert tap.refresh()
    for number in range(2000):
        tap.show(f"good {number}", 1, GOOD, "delivered", is_failure=False)
    for number in range(3):
        tap.show(f"bad {number}", 2, Failure(TIMEOUT, "", 5.0), "timeout; again in 2 s", is_failure=True)
    records, lost = slot.ring.read_after(0)
    attempts = [unpack(record) for record in records]
    assert lost == 0
    assert [each.message_id for each in attempts if each.is_failure] == ["bad 0", "bad 1", "bad 2"]
    assert {each.status for each in attempts if each.is_failure} == {None}
    shown = [each for each in attempts if not each.is_failure]
    assert len(shown) >= MOST_PER_SECOND - 1
    assert len(attempts) + sum(each.skipped for each in attempts) == 2003
    assert sum(each.skipped_failures for each in attempts) == 0
    assert attempts[0]._replace(at_ms=0) == (0, "good 0", 1, 200, 0.012, "delivered", False, 0, 0)


def test_a_tap_that_is_not_renewed_ends_and_a_new_one_counts_from_zero() -> None:
    board = Scoreboard.create({"sender": 1, "api": 1})
    tap = Tap(board, board.slots("sender")[0].ring)
    api = board.slots("api")[0]
    api.reals[scoreboard.TAP_UNTIL] = time.monotonic() + 60
    assert tap.refresh()
    for _ in range(500):
        tap.show("before", 1, GOOD, "delivered", is_failure=False)
    api.reals[scoreboard.TAP_UNTIL] = time.monotonic() - 0.001
    assert not tap.refresh()
    api.reals[scoreboard.TAP_UNTIL] = time.monotonic() + 60
    assert tap.refresh()
    before = board.slots("sender")[0].ring.last
    tap.show("after", 1, Failure(TIMEOUT, "", 5.0), "timeout", is_failure=True)
    (record,), _ = board.slots("sender")[0].ring.read_after(before)
    assert unpack(record).skipped == 0


def test_without_an_api_nobody_taps() -> None:
    board = Scoreboard.create({"sender": 1})
    assert not Tap(board, board.slots("sender")[0].ring).refresh()
    assert scoreboard.TAP_UNTIL in scoreboard.GAUGES
