from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.audit import statistics
from courier.audit.histogram import Histogram
from courier.audit.record import rfc3339
from courier.audit.statistics import DAY, HOUR, MINUTE, OTHER, UNKNOWN, Statistics
from courier.audit.top_keys import TopKeys

BEGIN = 1_795_478_400_000


def record(ms: int = 0, outcome: str = "delivered", **fields: Any) -> dict[str, Any]:
    at = BEGIN + ms
    return {"time": rfc3339(at), "sent_at": rfc3339(at - 500), "outcome": outcome, "duration_ms": 20.0, **fields}


def counted(records: list[dict[str, Any]], **chosen: Any) -> Statistics:
    counting = Statistics(**chosen)
    for each in records:
        counting.add(each)
    counting.finish()
    return counting


@given(values=st.lists(st.floats(1e-5, 1e9), min_size=1), share=st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_within_two_and_a_half_percent(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    found = histogram.percentile(share)
    assert found is not None
    assert exact * 0.974 <= found <= exact * 1.026
    assert histogram.most == max(values)


@given(values=st.lists(st.floats(-1, 100)), parts=st.lists(st.integers(0, 2), min_size=20, max_size=20))
def test_merged_histograms_are_that_of_all_values(values: list[float], parts: list[int]) -> None:
    whole, several = Histogram(), [Histogram(), Histogram(), Histogram()]
    for place, value in enumerate(values):
        whole.add(value)
        several[parts[place % 20]].add(value)
    several[0].merge(several[1])
    several[0].merge(several[2])
    assert [several[0].percentile(share) for share in (0.1, 0.5, 1.0)] == [
        whole.percentile(share) for share in (0.1, 0.5, 1.0)
    ]


@given(keys=st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz") | st.just("a"), max_size=300))
def test_a_count_of_a_key_has_bounds_and_a_frequent_one_is_never_missing(keys: list[str]) -> None:
    top: TopKeys[None] = TopKeys(4, lambda: None)
    for key in keys:
        top.add(key)
    exact = Counter(keys)
    found = dict(top.top(100))
    for key, entry in found.items():
        assert entry.count <= exact[key] <= entry.count + entry.missed
    if top.is_exact:
        assert {key: entry.count for key, entry in found.items()} == dict(exact)
    for key, number in exact.items():
        assert key in found or number <= len(keys) * 0.75


def test_memory_has_bounds_with_any_number_of_keys() -> None:
    top: TopKeys[None] = TopKeys(100, lambda: None)
    for number in range(20_000):
        top.add(f"rare-{number}")
        if number % 10 == 0:
            top.add("frequent")
    assert len(top.values()) <= 200
    [(key, entry)] = top.top(5)
    assert key == "frequent"
    assert entry.count <= 2000 <= entry.count + entry.missed


@pytest.mark.parametrize(
    ("minutes", "unit"), [(1, MINUTE), (60, MINUTE), (61, HOUR), (60 * 60, HOUR), (61 * 60, DAY), (100 * 1440, DAY)]
)
def test_the_range_chooses_the_unit(minutes: int, unit: statistics.Unit) -> None:
    found = counted([record(60_000 * minute) for minute in range(minutes)])
    assert found.unit is unit
    assert sum(tally.records for tally in found.rows.values()) == minutes == found.total.records
    assert not found.was_widened


def test_the_unit_that_was_asked_for_is_kept_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_ROWS", 100)
    assert counted([record(60_000 * minute) for minute in range(100)], every=MINUTE).unit is MINUTE
    wide = counted([record(60_000 * minute) for minute in range(101)], every=MINUTE)
    assert (wide.unit, wide.was_widened, len(wide.rows)) == (HOUR, True, 2)


def test_wild_times_share_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_ROWS", 100)
    records = [record() | {"time": f"{year}-01-01T00:00:00.000Z"} for year in range(1000, 1200)]
    found = counted([*records, record() | {"time": "\x1b[2J"}, {"outcome": "delivered"}])
    assert len(found.rows) <= 103
    assert found.rows[OTHER].records + found.rows[UNKNOWN].records + len(found.times()) == 202
    assert found.rows[UNKNOWN].records == 2


def test_a_row_counts_outcomes_bodies_latency_and_age() -> None:
    found = counted(
        [
            record(0, body="é", duration_ms=10.0),
            record(1, body_base64="AAE=", duration_ms=1000.0),
            record(2, "rejected: status 422", body_length=100, reason="status 422", group="g"),
            record(3, "retry", reason="status 503", duration_ms=5.0),
            record(60_000),
        ]
    )
    first, second = (found.rows[key] for key in found.times())
    assert first.outcomes == {"delivered": 2, "rejected": 1, "retry": 1}
    assert first.bytes == 2 + 2 + 100
    assert (first.latency.number, first.latency.most) == (4, 1000.0)
    # A retry doesn't end the message's wait.
    assert (first.age.number, round(first.age.most, 3)) == (3, 0.5)
    assert second.records == 1
    assert [(key, entry.count) for key, entry in found.reasons.top(9)] == [("status 422", 1), ("status 503", 1)]
    assert [key for key, _ in found.groups.top(9)] == ["g"]


def test_an_age_spans_days() -> None:
    found = counted([record() | {"sent_at": "2026-11-21T23:59:59.500Z"}])
    assert round(found.total.age.most, 3) == 2 * 86_400 + 0.5


@pytest.mark.parametrize(
    ("by", "fields", "key"),
    [
        ("status", {"status": 404}, "404"),
        ("status", {"status": None}, "none"),
        ("status", {}, UNKNOWN),
        ("reason", {"reason": "status 422"}, "status 422"),
        ("reason", {}, "none"),
        ("hour", {}, "00:00"),
        ("hour", {"time": ""}, UNKNOWN),
        ("group", {"group": "g"}, "g"),
    ],
)
def test_records_are_counted_by_another_key(by: str, fields: dict[str, Any], key: str) -> None:
    assert [name for name, _ in counted([record(**fields)], by=by).keys.top(9)] == [key]


def test_a_million_groups_have_the_right_total_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_KEYS", 50)
    found = counted([record(body="ab", group=f"g{number}") for number in range(2000)], by="group")
    assert (found.total.records, found.total.bytes) == (2000, 4000)
    assert len(found.keys.values()) <= 100
