"""Lines that something outside can cause any number of times: few lines, and the right count."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.board.recent_failures import FailureLog, RecentFailure
from courier.log import recurring
from courier.log.recurring import EVERY_SECONDS, MOST_REASONS, OTHERS, RecurringLine, report_recurring
from courier.process.internal_errors import InternalErrors
from courier.process.notes import PLACES
from courier.process.scoreboard import Scoreboard
from courier.sqs.batch import EntryFailure
from courier.sqs.received import read_received
from tests.unit.auditor.settler_stage import Stage
from tests.waiting import until


class Clock:
    """Monotonic seconds in the test's hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def line(clock: Clock, at_once: int = 1) -> RecurringLine:
    return RecurringLine(structlog.get_logger(), "warning", "it happened", at_once=at_once, clock=clock)


def test_the_first_is_logged_at_once_and_the_rest_after_a_minute_with_its_count() -> None:
    clock = Clock()
    it = line(clock)
    with capture_logs() as logs:
        for n in range(10_000):
            it("refused", n=n)
            it.report()
        clock.now += EVERY_SECONDS
        it.report()
        it.report(rest=True)
    assert [(each["times"], each["n"]) for each in logs] == [(1, 0), (9_999, 9_999)]


def test_what_is_left_is_logged_when_the_process_ends() -> None:
    it = line(Clock())
    with capture_logs() as logs:
        it("a")
        it("a")
        it("b")
        report_recurring(rest=True)
    assert [each["times"] for each in logs] == [1, 1, 1]


def test_only_a_line_that_is_logged_at_once_has_a_traceback() -> None:
    clock = Clock()
    it = line(clock)
    with capture_logs() as logs:
        for _ in range(2):
            it("a", exc_info=ValueError())
        clock.now += EVERY_SECONDS
        it.report()
    assert ["exc_info" in each for each in logs] == [True, False]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5), st.floats(0, 30), st.booleans()), max_size=300),
    st.integers(1, 3),
)
def test_whatever_recurs_no_count_is_lost_and_no_minute_has_more_lines_than_reasons(
    events: Sequence[tuple[int, int, float, bool]], at_once: int
) -> None:
    clock = Clock()
    it = line(clock, at_once)
    lines: list[float] = []
    with capture_logs() as logs:
        for reason, times, pause, beats in events:
            before = len(logs)
            it(reason, times=times)
            if beats:
                it.report()
            lines += [clock.now] * (len(logs) - before)
            clock.now += pause
        it.report(rest=True)
    assert sum(each["times"] for each in logs) == sum(times for _, times, *_ in events)
    for began in lines:
        # A minute of the clock meets at most two minutes of a reason.
        within = sum(began <= at < began + EVERY_SECONDS for at in lines)
        assert within <= 2 * (at_once + 1) * (MOST_REASONS + 1)


def test_reasons_from_outside_share_a_line_beyond_a_number() -> None:
    clock = Clock()
    it = line(clock)
    with capture_logs() as logs:
        for n in range(10_000):
            it(f"code {n}", code=n)
        clock.now += EVERY_SECONDS
        it.report()
    assert len(logs) == MOST_REASONS + 2
    assert sum(each["times"] for each in logs) == 10_000
    assert OTHERS


def refusing(codes: Sequence[str]) -> Stage:
    code = itertools.cycle(codes)

    class Refusing:
        async def delete(self, receipts: Sequence[str]) -> list[EntryFailure | None]:
            return [EntryFailure(next(code), "no", sender_fault=True) for _ in receipts]

        async def change_visibility(self, changes: Sequence[tuple[str, int]]) -> list[EntryFailure | None]:
            return [EntryFailure(next(code), "no", sender_fault=True) for _ in changes]

    return Stage(calls=Refusing())


@pytest.mark.parametrize("codes", [["KmsDisabled"], [f"Code{n}" for n in range(997)]])
async def test_ten_thousand_refused_deletes_make_two_lines_a_reason_with_the_right_count(codes: Sequence[str]) -> None:
    with capture_logs() as logs:
        stage = refusing(codes)
        stage.settler.delete(*(stage.deliver(f"m{n}") for n in range(10_000)))
        await until(lambda: not stage.held, 20)
        report_recurring(rest=True)
    told = [each["times"] for each in logs if "refuses to settle" in each["event"]]
    assert sum(told) == 10_000
    assert len(told) <= 2 * min(len(codes), MOST_REASONS + 1)


def test_a_queue_of_corrupt_messages_makes_two_lines() -> None:
    it = RecurringLine(structlog.get_logger(), "error", "corrupt")
    with capture_logs() as logs:
        for _ in range(1_000):
            assert read_received({"Messages": [{"MessageId": "m"}, "nonsense"]}, 0.0, 30, it).corrupt == 2
        report_recurring(rest=True)
    assert [each["times"] for each in logs] == [2, 1_998]


def test_an_exception_at_each_of_ten_thousand_messages_makes_two_lines_and_one_stack() -> None:
    slot = Scoreboard.create({"sender": 1}).slots("sender")[0]
    errors = InternalErrors(slot)
    with capture_logs() as logs:
        for n in range(10_000):
            try:
                raise ValueError(n)
            except ValueError:
                errors.note(f"m{n}", "it waits")
        report_recurring(rest=True)
    told = [(each["times"], "exc_info" in each) for each in logs if "affects one message" in each["event"]]
    assert told == [(1, True), (9_999, False)]
    assert len(logs) == 4


def test_a_recipient_that_answers_with_every_status_makes_no_more_lines_a_minute_than_there_are_places() -> None:
    log = FailureLog()
    with capture_logs() as logs:
        for tick in range(600):
            reason = f"status {tick % 600}"
            log.report([RecentFailure(reason, tick, 1, 0, "m", 1, "no", "tried again")], tick / 10)
    assert len(logs) == PLACES
    assert log.is_behind


def test_a_line_is_looked_at_only_until_its_last_minute_is_over() -> None:
    clock = Clock()
    it = line(clock)
    assert it not in recurring._active
    with capture_logs() as logs:
        it("full")
        it("full")
        for minutes in (1, 2):
            assert it in recurring._active, "its count is due after a minute, and nothing after another one"
            clock.now += recurring.EVERY_SECONDS
            recurring.report_recurring()
            assert len(logs) == 2, minutes
    assert it not in recurring._active
