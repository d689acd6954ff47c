"""Rows for the disk of the audit log: kills at its instants, failures, torn files and power cuts."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scripts.faults.fault import Fault, Limits, Row
from scripts.faults.injectors.disks import DELETE_POINTS, DISK_POINTS
from scripts.faults.workload import Workload

_APPEND: Final = Row(
    "kill-auditor-append",
    "SIGKILL of the auditor before append, in mid-append, after append, after sync",
    Workload(2400, rate=200.0),
    (Fault("kill-at", "auditor", times=4, every=2.0, detail={"points": [*DISK_POINTS]}),),
)

_DELETE: Final = Row(
    "kill-auditor-delete",
    "SIGKILL of the auditor in mid-delete",
    Workload(2400, rate=200.0),
    (Fault("kill-at", "auditor", times=4, every=2.0, detail={"points": [*DELETE_POINTS]}),),
)

_TEAR: Final = Row(
    "torn-tail",
    "The audit file, torn at each byte of its last record",
    Workload(3500, rate=100.0),
    (Fault("tear", "audit", times=4, every=0.5, detail={"stride": 4}),),
    visibility=6,
)

_SYNC: Final = Row(
    "fsync-error",
    "EIO from fsync and write",
    Workload(4000, rate=200.0),
    (
        Fault("fail-disk", "audit", lasts=5.0, detail={"how": "sync"}),
        Fault("fail-disk", "audit", at=9.0, lasts=3.0, detail={"how": "write"}),
        Fault("fail-disk", "audit", at=15.0, lasts=0.5, times=3, every=1.0, detail={"how": "sync"}),
    ),
    limits=Limits(receives=1),
)

_FULL: Final = Row(
    "disk-full",
    "A full disk (ENOSPC)",
    Workload(4000, rate=200.0),
    (Fault("fail-disk", "audit", lasts=5.0, times=2, every=4.0, detail={"how": "full"}),),
    limits=Limits(receives=1),
)

_SLOW: Final = Row(
    "slow-fsync",
    "fsync takes 3 s longer, most of the visibility timeout",
    Workload(4000, rate=200.0),
    (Fault("fail-disk", "audit", lasts=15.0, detail={"how": "slow", "seconds": 3.0}),),
    visibility=4,
    limits=Limits(receives=1),
)

_POWER: Final = Row(
    "power-cut",
    "Power cuts around rotations, and after a failed fsync",
    Workload(2700, rate=100.0),
    (
        Fault("power-cut", "audit", at=2.5, times=6, every=1.0, detail={"seconds": 0.15}),
        Fault("fail-disk", "audit", at=0.5, lasts=1.0, detail={"how": "sync"}),
    ),
    visibility=6,
    options=("--audit-max-bytes", "4096"),
)


def _longer(row: Row, messages: int, times: int) -> Row:
    """Return a row whose full length has so many messages, and repeats its first fault so many times."""
    workload = replace(row.workload, messages=messages)
    faults = (replace(row.faults[0], times=times), *row.faults[1:])
    return replace(row, full=replace(row, workload=workload, faults=faults))


def _longer_kills(row: Row) -> Row:
    """Return a row with 24 kills in its full length, so far apart that each has its replacement at once."""
    longer = _longer(row, 60_000, 24)
    assert longer.full is not None
    return replace(longer, full=replace(longer.full, faults=(replace(longer.full.faults[0], every=11.0),)))


_SYNC_FULL: Final = tuple(replace(fault, at=fault.at * 3, lasts=fault.lasts * 4) for fault in _SYNC.faults)

ROWS: Final = (
    _longer_kills(_APPEND),
    _longer_kills(_DELETE),
    _longer(_TEAR, 40_000, 50),
    replace(_SYNC, full=replace(_SYNC, workload=Workload(14_000, 200.0), faults=_SYNC_FULL)),
    replace(
        _FULL, full=replace(_FULL, workload=Workload(12_000, 200.0), faults=(replace(_FULL.faults[0], lasts=20.0),))
    ),
    _SLOW,
    _longer(_POWER, 30_000, 50),
)
"""The rows."""
