from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.audit.instant import parse_instant

NOW = datetime(2026, 11, 24, 12, 31, 40, 123_456, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2h", "2026-11-24T10:31:40.123Z"),
        ("-2h", "2026-11-24T10:31:40.123Z"),
        ("10 min ago", "2026-11-24T12:21:40.123Z"),
        ("10min", "2026-11-24T12:21:40.123Z"),
        ("90m", "2026-11-24T11:01:40.123Z"),
        ("1 day 6 h ago", "2026-11-23T06:31:40.123Z"),
        ("1h30min", "2026-11-24T11:01:40.123Z"),
        ("2 Weeks Ago", "2026-11-10T12:31:40.123Z"),
        ("now", "2026-11-24T12:31:40.123Z"),
        ("today", "2026-11-23T22:00:00.000Z"),
        ("yesterday", "2026-11-22T22:00:00.000Z"),
        ("2026-11-24", "2026-11-23T22:00:00.000Z"),
        ("2026-11-24 10:00", "2026-11-24T08:00:00.000Z"),
        ("2026-11-24T10:00", "2026-11-24T08:00:00.000Z"),
        ("2026-11-24T10:00Z", "2026-11-24T10:00:00.000Z"),
        ("2026-11-24 10:00 UTC", "2026-11-24T10:00:00.000Z"),
        ("2026-11-24T10:00:01.250+01:00", "2026-11-24T09:00:01.250Z"),
        ("10:00", "2026-11-24T08:00:00.000Z"),
        ("9:05:30", "2026-11-24T07:05:30.000Z"),
        ("@1795523500", "2026-11-24T12:31:40.000Z"),
        (" 2026-11-24T10:00Z ", "2026-11-24T10:00:00.000Z"),
    ],
)
def test_an_instant_is_read_as_journalctl_does_and_local_without_a_zone(text: str, instant: str) -> None:
    assert parse_instant(text, NOW, EAST) == instant


def test_a_day_begins_at_local_midnight_also_when_the_clock_changes() -> None:
    after = datetime(2026, 10, 26, 0, 30, tzinfo=UTC)
    assert parse_instant("yesterday", after, ZoneInfo("Europe/Berlin")) == "2026-10-24T22:00:00.000Z"
    assert parse_instant("today", after, ZoneInfo("Europe/Berlin")) == "2026-10-25T23:00:00.000Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        "2x",
        "h",
        "ago",
        "2h later",
        "20261124",
        "2026-13-01",
        "25:00",
        "tomorrow",
        "9999999d",
        "@",
        "2026",
        "١٢:٠٠",
    ],
)
def test_anything_else_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time, like 2h"):
        parse_instant(text, NOW, EAST)


@given(text=st.text(max_size=20) | st.text("0123456789:-TZ @.hmds ago+", max_size=24))
def test_no_text_has_another_result_than_an_instant_or_a_refusal(text: str) -> None:
    try:
        instant = parse_instant(text, NOW)
    except ValueError:
        return
    assert len(instant) == len("2026-11-24T12:31:40.123Z")
    assert parse_instant(instant, NOW, EAST) == instant
