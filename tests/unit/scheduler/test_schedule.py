"""When periodic tasks are due: as for aws-sqsd, whose library and its own examples are the source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.scheduler.schedule import parse_schedule
from tests.examples import examples

# The expression, an instant, and the next one; from spec/cron_parser_spec.rb of siebertm/parse-cron.
NEXT = """
* * * * *             | 2011-08-15 12:00 | 2011-08-15 12:01
* * * * *             | 2011-08-15 02:59 | 2011-08-15 03:00
*/15 * * * *          | 2011-08-15 02:02 | 2011-08-15 02:15
*/15,25 * * * *       | 2011-08-15 02:15 | 2011-08-15 02:25
30 3,6,9 * * *        | 2011-08-15 02:15 | 2011-08-15 03:30
30 9 * * *            | 2011-08-15 10:15 | 2011-08-16 09:30
30 9 * * *            | 2011-08-31 10:15 | 2011-09-01 09:30
30 9 * * *            | 2011-09-30 10:15 | 2011-10-01 09:30
0 9 * * *             | 2011-12-31 10:15 | 2012-01-01 09:00
* * 12 * *            | 2010-04-15 10:15 | 2010-05-12 00:00
* * * * 1,3           | 2010-04-15 10:15 | 2010-04-19 00:00
* * * * MON,WED       | 2010-04-15 10:15 | 2010-04-19 00:00
0 0 1 1 *             | 2010-04-15 10:15 | 2011-01-01 00:00
0 0 * * 1             | 2011-08-01 00:00 | 2011-08-08 00:00
0 0 * * 1             | 2011-07-25 00:00 | 2011-08-01 00:00
45 23 7 3 *           | 2011-01-01 00:00 | 2011-03-07 23:45
0 0 1 jun *           | 2013-05-14 11:20 | 2013-06-01 00:00
0 0 1 may,jul *       | 2013-05-14 15:00 | 2013-07-01 00:00
0 0 1 MAY,JUL *       | 2013-05-14 15:00 | 2013-07-01 00:00
40 5 * * *            | 2014-02-01 15:56 | 2014-02-02 05:40
0 5 * * 1             | 2014-02-01 15:56 | 2014-02-03 05:00
10 8 15 * *           | 2014-02-01 15:56 | 2014-02-15 08:10
50 6 * * 1            | 2014-02-01 15:56 | 2014-02-03 06:50
1 2 * apr mOn         | 2014-02-01 15:56 | 2014-04-07 02:01
1 2 3 4 7             | 2014-02-01 15:56 | 2014-04-03 02:01
1 2 3 4 7             | 2014-04-04 15:56 | 2014-04-06 02:01
1-20/3 * * * *        | 2014-02-01 15:56 | 2014-02-01 16:01
1,2,3 * * * *         | 2014-02-01 15:56 | 2014-02-01 16:01
1-9,15-30 * * * *     | 2014-02-01 15:56 | 2014-02-01 16:01
1-9/3,15-30/4 * * * * | 2014-02-01 15:56 | 2014-02-01 16:01
1 2 3 jan mon         | 2014-02-01 15:56 | 2015-01-03 02:01
1 2 3 4 mON           | 2014-02-01 15:56 | 2014-04-03 02:01
1 2 3 jan 5           | 2014-02-01 15:56 | 2015-01-02 02:01
@yearly               | 2014-02-01 15:56 | 2015-01-01 00:00
@annually             | 2014-02-01 15:56 | 2015-01-01 00:00
@monthly              | 2014-02-01 15:56 | 2014-03-01 00:00
@weekly               | 2014-02-01 15:56 | 2014-02-02 00:00
@daily                | 2014-02-01 15:56 | 2014-02-02 00:00
@midnight             | 2014-02-01 15:56 | 2014-02-02 00:00
@hourly               | 2014-02-01 15:56 | 2014-02-01 16:00
*/3 * * * *           | 2014-02-01 15:56 | 2014-02-01 15:57
0 5 * 2,3 *           | 2014-02-01 15:56 | 2014-02-02 05:00
15-59/15 * * * *      | 2014-02-01 15:56 | 2014-02-01 16:15
15-59/15 * * * *      | 2014-02-01 15:45 | 2014-02-01 16:15
0 0 29 2 *            | 2096-02-29 00:00 | 2104-02-29 00:00
"""

# AWS's own example, and the rule of the days: as soon as both are given, even by a step, one is enough.
OURS = """
0 */12 * * *          | 2024-01-01 00:00 | 2024-01-01 12:00
0 23 * * *            | 2024-01-01 23:00 | 2024-01-02 23:00
0 0 13 * 5            | 2024-09-01 00:00 | 2024-09-06 00:00
0 0 13 * 5            | 2024-09-06 00:00 | 2024-09-13 00:00
0 0 */10 * 1          | 2024-09-02 00:00 | 2024-09-09 00:00
0 0 */10 * 1          | 2024-09-09 00:00 | 2024-09-11 00:00
0 0 * * */2           | 2024-09-01 00:00 | 2024-09-03 00:00
"""

ROWS = [tuple(cell.strip() for cell in row.split("|")) for row in (NEXT + OURS).splitlines() if row]


def minute_of(text: str) -> int:
    return int(datetime.strptime(f"{text}+0000", "%Y-%m-%d %H:%M%z").timestamp()) // 60


@pytest.mark.parametrize(("expression", "now", "due"), ROWS)
def test_a_task_is_due_when_it_is_for_aws_sqsd(expression: str, now: str, due: str) -> None:
    schedule = parse_schedule(expression)
    assert schedule.next_after(minute_of(now)) == minute_of(due)
    assert schedule.latest(minute_of(now), minute_of(now) + 1) == (
        minute_of(due) if minute_of(due) == minute_of(now) + 1 else None
    )
    assert schedule.latest(minute_of(due) - 1, minute_of(due)) == minute_of(due)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 0 12 * * ?", "five fields"),
        ("@reboot", "five fields"),
        ("60 * * * *", "minute must be from 0 to 59"),
        ("* 24 * * *", "hour must be from 0 to 23"),
        ("* * 0 * *", "day of the month must be from 1 to 31"),
        ("* * * 13 *", "month must be from 1 to 12"),
        ("* * * * 8", "day of the week must be from 0 to 7"),
        ("30-10 * * * *", "a range must rise"),
        ("* * * * fri-mon", "a range must rise"),
        ("*/0 * * * *", "step of 1 or more"),
        ("0-9/0 * * * *", "step of 1 or more"),
        ("5/10 * * * *", "minute must be like"),
        ("? * * * *", "minute must be like"),
        ("1, * * * *", "minute must be like"),
        ("-1 * * * *", "minute must be like"),
        ("* * * mon *", "month must be like"),
        ("* * * * jan", "day of the week must be like"),
        ("* * L * *", "day of the month must be like"),
        ("99999 * * * *", "minute must be like"),
        ("0 0 30 2 *", "come some day"),
        ("0 0 31 4,6,9,11 *", "come some day"),
        ("* " * 200, "at most 200"),
    ],
)
def test_what_is_no_schedule_is_refused_with_what_would_be_right(expression: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_schedule(expression)


def parts(first: int, last: int) -> st.SearchStrategy[str]:
    number = st.integers(first, last)
    pairs = st.tuples(number, number).map(sorted)
    step = st.integers(1, last + 3)
    return st.one_of(
        st.just("*"),
        step.map(lambda n: f"*/{n}"),
        number.map(str),
        pairs.map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.tuples(pairs, step).map(lambda found: f"{found[0][0]}-{found[0][1]}/{found[1]}"),
    )


def fields(first: int, last: int) -> st.SearchStrategy[str]:
    return st.lists(parts(first, last), min_size=1, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(fields(0, 59), fields(0, 23), fields(1, 28), fields(1, 12), fields(0, 7))


def expanded(text: str, first: int, last: int) -> set[int]:
    """Read a field in the plainest way."""
    found = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = (f"{first}-{last}" if span == "*" else span).partition("-")
        found |= {n for n in range(int(low), int(high or low) + 1) if (n - int(low)) % int(step or 1) == 0}
    return found


@settings(max_examples=examples(300))
@given(EXPRESSIONS, st.integers(0, 2_000_000_000 // 60), st.integers(1, 3000))
def test_every_schedule_agrees_with_the_plainest_reading_of_its_fields(
    texts: tuple[str, str, str, str, str], start: int, span: int
) -> None:
    schedule = parse_schedule("  ".join(texts).upper())
    minutes, hours, days, months = (
        expanded(text, first, last)
        for text, (first, last) in zip(texts, ((0, 59), (0, 23), (1, 31), (1, 12)), strict=False)
    )
    weekdays = {n % 7 for n in expanded(texts[4], 0, 6)}
    due = []
    for minute in range(start + 1, start + span + 1):
        when = datetime.fromtimestamp(minute * 60, UTC)
        by_month, by_week = when.day in days, when.isoweekday() % 7 in weekdays
        day = by_month if texts[4] == "*" else by_week if texts[2] == "*" else by_month or by_week
        if when.minute in minutes and when.hour in hours and when.month in months and day:
            due.append(minute)
    assert [minute for minute in range(start + 1, start + span + 1) if schedule.is_due(minute)] == due
    assert schedule.latest(start, start + span) == (due[-1] if due else None)
    following = schedule.next_after(start)
    assert following == due[0] if due else following > start + span
    assert schedule.is_due(following)


@given(EXPRESSIONS, st.integers(0, 9999 * 365 * 1440 - 1970 * 366 * 1440))
def test_the_next_minute_is_found_quickly_and_within_eight_years(
    texts: tuple[str, str, str, str, str], start: int
) -> None:
    following = parse_schedule(" ".join(texts)).next_after(start)
    assert timedelta(0) < timedelta(minutes=following - start) <= timedelta(days=8 * 366)


@given(st.text(max_size=40) | st.text("*/,-0123456789 adehjlmnorstuvwyFM@?L#W", max_size=40))
def test_any_text_is_a_schedule_or_refused_in_one_line(text: str) -> None:
    says = ""
    try:
        parse_schedule(text).next_after(0)
    except ValueError as error:
        says = str(error)
    assert says.isprintable()
