"""Rows with several programs on one queue."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scripts.faults.fault import Fault, Limits, Row
from scripts.faults.workload import Workload

_SMALL: Final = ("--consumers", "1", "--senders", "2")
"""Each instance is a tree of processes, and the machine has two cores."""

_KILLS: Final = Row(
    "instances-kill",
    "Several Couriers: SIGKILL of whole instances",
    Workload(4000, rate=200.0),
    (Fault("kill-instance", times=4, every=2.5, lasts=1.0),),
    options=_SMALL,
    visibility=5,
    programs=3,
    answer_seconds=0.01,
)
_PARTITION: Final = Row(
    "instances-partition",
    "Several Couriers: a partition of one",
    Workload(5000, rate=200.0),
    (
        Fault("partition", "sqs", at=1.0, lasts=6.0),
        Fault("partition", "recipient", at=9.0, lasts=5.0),
        Fault("partition", "both", at=16.0, lasts=5.0),
    ),
    options=(*_SMALL, "--breaker-longest-cool-down", "5"),
    visibility=4,
    programs=2,
    link=True,
    answer_seconds=0.01,
)
_ROLLING: Final = Row(
    "instances-rolling",
    "Several Couriers: a rolling restart",
    Workload(4000, rate=200.0),
    (Fault("rolling-restart", every=1.0),),
    options=_SMALL,
    programs=3,
    answer_seconds=0.05,
)
_DIFFERENT: Final = Row(
    "instances-different",
    "Several Couriers: different options side by side, and kills",
    Workload(4000, rate=200.0, groups=40),
    (
        Fault("kill", "any", times=6, every=2.0),
        Fault("kill-instance", at=8.0, lasts=1.0),
    ),
    limits=Limits(stall=None),
    options=_SMALL,
    visibility=5,
    programs=3,
    more_options=(
        ("--transport", "requests", "--batch-size", "1", "--visibility-timeout", "8", "--concurrency", "4"),
        ("--adaptive", "--max-in-flight", "8", "--wait-time", "1", "--visibility-timeout", "3"),
    ),
    answer_seconds=0.01,
)


def _longer(row: Row, messages: int, *faults: Fault) -> Row:
    return replace(row, workload=replace(row.workload, messages=messages), faults=faults)


ROWS: Final = (
    replace(_KILLS, full=_longer(_KILLS, 24_000, replace(_KILLS.faults[0], times=25))),
    _PARTITION,
    replace(_ROLLING, full=_longer(_ROLLING, 24_000, replace(_ROLLING.faults[0], times=5))),
    _DIFFERENT,
)
"""The rows."""
