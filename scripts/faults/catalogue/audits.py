"""Rows for what the audit log has beside its records: event lines, compressed segments and an archive."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scripts.faults.fault import Fault, Limits, Row
from scripts.faults.workload import Workload

_HALF_503: Final = {"kind": "status", "status": 503, "share": 0.5}

_EVENTS: Final = Row(
    "audit-events",
    "--audit-events all: kills, a full disk, and 503 for half of the messages",
    Workload(4000, rate=200.0),
    (
        Fault("misbehave", lasts=16.0, detail={"behaviours": [_HALF_503]}),
        Fault("kill", "any", at=2.0, times=5, every=2.0, disturbed=True),
        Fault("fail-disk", "audit", at=13.0, lasts=2.0, detail={"how": "full"}, disturbed=True),
    ),
    limits=Limits(stall=4.0, receives=4),
    options=("--audit-events", "all"),
)

_POWER: Final = Row(
    "power-cut-packed",
    "Power cuts around rotations, with compression",
    Workload(4000, rate=100.0),
    (Fault("power-cut", "audit", at=2.5, times=12, every=1.0, detail={"seconds": 0.05, "packing": True}),),
    visibility=6,
    options=("--audit-max-bytes", "4096", "--audit-compress", "zstd"),
)

_WINDOW: Final = Row(
    "kill-auditor-25",
    "SIGKILL of the auditor 25 times: what was recorded isn't delivered again",
    Workload(15_000, rate=300.0),
    (Fault("kill-auditor", "auditor", times=25, every=1.5),),
    visibility=6,
    limits=Limits(receives=3),
)

_ARCHIVE: Final = replace(
    _POWER,
    name="power-cut-archive",
    title="Power cuts around rotations, with compression, archive and retention",
    # The archive takes a segment or two a second while the disk is slow. Intake may pause where that is too slow.
    workload=Workload(5000, rate=60.0),
    options=("--audit-max-bytes", "16384", "--audit-compress", "zstd", "--audit-keep-bytes", "262144"),
    limits=Limits(stall=None),
    archive=True,
)

ROWS: Final = (
    replace(_EVENTS, full=replace(_EVENTS, workload=Workload(20_000, rate=200.0))),
    replace(
        _POWER,
        full=replace(_POWER, workload=Workload(45_000, rate=100.0), faults=(replace(_POWER.faults[0], times=100),)),
    ),
    replace(
        _ARCHIVE,
        full=replace(_ARCHIVE, workload=Workload(40_000, rate=60.0), faults=(replace(_ARCHIVE.faults[0], times=100),)),
    ),
    _WINDOW,
)
"""The rows."""
