"""Rows with several queues in one program: whatever strikes one, the other goes on as if it were alone."""

from __future__ import annotations

from typing import Final

from scripts.faults.fault import Fault, Limits, Row
from scripts.faults.workload import Workload

HANG_SECONDS: Final = 5.0
STOPPED_SECONDS: Final = HANG_SECONDS + 5.0
OPTIONS: Final = ("--consumers", "1", "--senders", "2", "--hang-timeout", f"{HANG_SECONDS:g}")
"""Each queue is a tree of processes, and the machine has two cores."""

_STRUCK: Final = Row(
    "queues-isolation",
    "The queue that is struck",
    Workload(2000, rate=50.0),
    (
        Fault("outage", at=1.0, lasts=6.0),
        Fault("kill", "supervisor", at=10.0, times=2, every=5.0),
        Fault("stop", "supervisor", at=20.0, lasts=STOPPED_SECONDS, detail={"replaced": True}),
        Fault("break-table", at=33.0, lasts=2.0),
    ),
    limits=Limits(stall=None),
    options=OPTIONS,
    visibility=8,
    answer_seconds=0.02,
)

ROWS: Final = (
    Row(
        "queues-isolation",
        "Two queues in one program: outage, SIGKILL and SIGSTOP of the supervisor, wrong table of the other",
        Workload(4000, rate=100.0),
        (),
        # Nothing strikes this one: no message is received again.
        limits=Limits(stall=1.5, receives=1),
        options=OPTIONS,
        answer_seconds=0.02,
        struck=_STRUCK,
    ),
)
"""The rows."""
