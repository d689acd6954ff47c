"""How far work spreads, and what it hangs on: cores, quotas, delays, and how much a process sleeps or waits."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.process.spread import (
    CROWDED,
    LOOK_SECONDS,
    OVERCROWDED,
    WAITING_SHARE,
    SleepMeter,
    crowding,
    is_surplus,
    may_spread,
    usable_cores,
)
from tests.unit.process.waiting import open_descriptors

COUNTS = st.integers(0, 300)
SECONDS = st.floats(1e-5, 100.0)


@given(COUNTS, st.integers(1, 300), st.floats(0.0, CROWDED, exclude_max=True))
def test_a_worker_that_sleeps_gets_help_and_is_never_one_too_many_unless_the_cores_are_crowded(
    on_duty: int, freely: int, crowded: float
) -> None:
    assert may_spread(on_duty, freely, sleeps=True, crowding=crowded)
    assert not is_surplus(on_duty, freely, sleeps=True, crowding=crowded)


@given(COUNTS, st.integers(1, 300), st.booleans(), st.floats(0.0, 1e6))
def test_who_may_be_called_in_is_not_one_too_many_once_it_came(
    on_duty: int, freely: int, sleeps: bool, crowded: float
) -> None:
    # Otherwise it would be sent back and called in for ever.
    assert not (
        may_spread(on_duty, freely, sleeps=sleeps, crowding=crowded)
        and is_surplus(on_duty, freely, sleeps=sleeps, crowding=crowded)
    )


@given(COUNTS, st.integers(1, 300), st.booleans(), st.floats(OVERCROWDED, 1e6))
def test_beside_busy_ones_and_on_crowded_cores_one_comes_or_is_one_too_many(
    on_duty: int, freely: int, sleeps: bool, crowded: float
) -> None:
    measures: list[dict[str, Any]] = [{"sleeps": False}, {"sleeps": sleeps, "crowding": crowded}]
    for measured in measures:
        spreads = may_spread(on_duty, freely, **measured)
        assert spreads == (on_duty < freely)
        assert is_surplus(on_duty, freely, **measured) != spreads


@given(SECONDS, SECONDS)
def test_no_delay_counts_as_crowding_while_no_core_is_waited_for(fastest: float, typical: float) -> None:
    assert crowding(waits=False, fastest=fastest, typical=typical) == 0.0


@given(SECONDS, st.floats(1.0, 1.5), st.booleans())
def test_a_slow_recipient_is_no_crowd_whatever_waits_for_the_cores(seconds: float, more: float, waits: bool) -> None:
    assert crowding(waits=waits, fastest=seconds, typical=seconds * more) < CROWDED


def test_deliveries_that_take_long_for_want_of_cores_are_a_crowd() -> None:
    assert crowding(waits=True, fastest=0.0005, typical=0.004) >= OVERCROWDED


@given(st.booleans(), SECONDS)
def test_a_crowd_is_found_only_by_deliveries(waits: bool, typical: float) -> None:
    assert crowding(waits=waits, fastest=0.0, typical=typical) == 0.0


@pytest.mark.parametrize(
    ("ran", "waited", "sleeps", "waits"),
    [
        (0.0, 0.0, True, False),
        (0.5, 0.0, True, False),
        (0.25, 0.25, True, True),
        (0.51, 0.0, False, False),
        (0.0, 0.51, False, True),
        (1.0, 0.0, False, False),
        (0.0, WAITING_SHARE + 0.001, True, True),
        (0.0, WAITING_SHARE - 0.001, True, False),
    ],
)
def test_a_process_mostly_sleeps_if_it_is_awake_for_at_most_half_of_the_time(
    ran: float, waited: float, sleeps: bool, waits: bool
) -> None:
    figures = iter([(100.0, 40.0), (100.0 + ran * 2.0, 40.0 + waited * 2.0)])
    meter = SleepMeter(lambda: next(figures))
    assert meter.mostly_sleeps(10.0), "there is nothing to compare with yet"
    assert not meter.waits_for_cores(10.0)
    assert meter.waits_for_cores(12.0) is waits
    assert meter.mostly_sleeps(12.0) is sleeps, "by the same look"
    assert meter.mostly_sleeps(12.0 + 0.9 * LOOK_SECONDS) is sleeps, "it looks no more often"


@pytest.mark.parametrize("error", [OSError, ValueError, IndexError])
def test_a_process_counts_as_asleep_where_the_kernel_does_not_tell(error: type[Exception]) -> None:
    def fails() -> tuple[float, float]:
        raise error

    meter = SleepMeter(fails)
    assert all(meter.mostly_sleeps(now) for now in (0.0, 1.0, 2.0))
    assert not any(meter.waits_for_cores(now) for now in (3.0, 4.0))


def test_the_kernel_tells_a_process_that_runs_from_one_that_sleeps() -> None:
    before = open_descriptors()
    meter = SleepMeter()
    if not os.path.exists("/proc/self/schedstat"):
        pytest.skip("this kernel has no schedstat")
    assert meter.mostly_sleeps(time.monotonic())
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    assert not meter.mostly_sleeps(time.monotonic())
    time.sleep(0.5)
    assert meter.mostly_sleeps(time.monotonic())
    meter.close()
    assert open_descriptors() == before


def cores_with(tmp_path: Path, listed: str, files: dict[str, str]) -> int:
    for name, text in files.items():
        path = tmp_path / "cgroups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "cgroup").write_text(listed)
    return usable_cores(tmp_path / "cgroup", tmp_path / "cgroups")


@pytest.mark.parametrize(
    ("listed", "files", "cores"),
    [
        ("0::/\n", {}, 64),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "250000 100000\n", "cpu.max": "800000 100000"}, 3),
        ("0::/the/host/s/path\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/../..\n", {"cpu.max": "150000 100000\n"}, 2),
        ("4:memory:/m\n1:cpu,cpuacct:/c\n0::/\n", {"cpu,cpuacct/c/cpu.cfs_quota_us": "-1\n"}, 64),
        (
            "1:cpu:/c\n",
            {"cpu/c/cpu.cfs_quota_us": "-1\n", "cpu/c/cpu.cfs_period_us": "100000\n"},
            64,
        ),
        (
            "1:cpu,cpuacct:/c\n",
            {"cpu,cpuacct/c/cpu.cfs_quota_us": "400000\n", "cpu,cpuacct/c/cpu.cfs_period_us": "100000\n"},
            4,
        ),
        ("0::/\n", {"cpu.max": "nonsense\n"}, 64),
        ("0::/\n", {"cpu.max": "5 0\n"}, 64),
        ("", {}, 64),
    ],
)
def test_the_smallest_quota_up_to_the_root_counts_and_one_that_cannot_be_read_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert cores_with(tmp_path, listed, files) == cores


def test_the_affinity_counts_where_there_is_no_cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert usable_cores(tmp_path / "none", tmp_path) == 1
