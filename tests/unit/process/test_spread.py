"""How far work spreads, and what it hangs on: cores, quotas, and how much a process sleeps."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.process.spread import LOOK_SECONDS, SleepMeter, is_surplus, may_spread, usable_cores
from tests.unit.process.waiting import open_descriptors

COUNTS = st.integers(0, 300)


@given(COUNTS, st.integers(1, 300))
def test_a_worker_that_sleeps_always_gets_help_and_is_never_one_too_many(on_duty: int, freely: int) -> None:
    assert may_spread(on_duty, freely, sleeps=True)
    assert not is_surplus(on_duty, freely, sleeps=True)


@given(COUNTS, st.integers(1, 300))
def test_who_may_be_called_in_beside_busy_ones_is_not_one_too_many_once_it_came(on_duty: int, freely: int) -> None:
    # Otherwise it would be sent back and called in for ever.
    assert may_spread(on_duty, freely, sleeps=False) != is_surplus(on_duty, freely, sleeps=False)


@pytest.mark.parametrize(
    ("awake", "sleeps"),
    [(0.0, True), (0.5, True), (0.51, False), (1.0, False)],
)
def test_a_process_mostly_sleeps_if_it_is_awake_for_at_most_half_of_the_time(awake: float, sleeps: bool) -> None:
    figures = iter([100.0, 100.0 + awake * 2.0])
    meter = SleepMeter(lambda: next(figures))
    assert meter.mostly_sleeps(10.0), "there is nothing to compare with yet"
    assert meter.mostly_sleeps(12.0) is sleeps
    assert meter.mostly_sleeps(12.0 + 0.9 * LOOK_SECONDS) is sleeps, "it looks no more often"


@pytest.mark.parametrize("error", [OSError, ValueError, IndexError])
def test_a_process_counts_as_asleep_where_the_kernel_does_not_tell(error: type[Exception]) -> None:
    def fails() -> float:
        raise error

    meter = SleepMeter(fails)
    assert all(meter.mostly_sleeps(now) for now in (0.0, 1.0, 2.0))


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
