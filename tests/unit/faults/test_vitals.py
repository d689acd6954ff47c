"""A slope tells how much memory, descriptors and CPU of a message grow in the second half of a long run."""

from __future__ import annotations

import pytest

from scripts.faults.soak import FAULT_SECONDS, grown, soak_row
from scripts.faults.vitals import Vital, slopes


def vitals(rss: float = 0.0, cpu: float = 0.0) -> list[Vital]:
    """Return an hour in which the memory grows by a part of it in ten minutes, and so does the CPU of a message."""
    seen, spent = [], 0.0
    for second in range(0, 3600, 5):
        spent += 5 * 0.1 * (1 + cpu * second / 600)
        seen.append(Vital(float(second), second * 1000, round(1_000_000 * (1 + rss * second / 600)), 50, spent))
    return seen


def test_what_is_flat_has_no_slope() -> None:
    assert slopes(vitals()) == pytest.approx((0.0, 0.0, 0.0), abs=0.01)


def test_growth_is_told_in_percent_of_ten_minutes() -> None:
    # The mean of the second half is that of minute 45.
    found = slopes(vitals(rss=0.05, cpu=0.1))
    assert found.rss == pytest.approx(5 / 1.225, rel=0.02)
    assert found.cpu_per_message == pytest.approx(10 / 1.45, rel=0.02)
    assert len(grown(found)) == 2


def test_a_worker_that_was_just_started_does_not_count() -> None:
    seen = [each._replace(rss=each.rss * 3) if each.at % 60 == 10 else each for each in vitals()]
    assert slopes(seen).rss == pytest.approx(0.0, abs=0.01)


def test_nothing_is_said_of_what_was_never_seen() -> None:
    assert slopes([]) == (0.0, 0.0, 0.0)


def test_a_soak_has_a_fault_every_ten_seconds() -> None:
    row = soak_row(600, 2000, 1)
    assert [fault.at for fault in row.faults] == [FAULT_SECONDS * n for n in range(1, 60)]
    assert row.workload.messages == 1_200_000
