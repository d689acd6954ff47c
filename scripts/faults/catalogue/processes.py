"""Rows for processes that are killed, stopped or told to end."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scripts.faults.fault import STOP_STALL_SECONDS, Fault, Limits, Row
from scripts.faults.workload import Workload

_IDLE: Final = Row(
    "kill-idle-sender",
    "SIGKILL of an idle sender",
    Workload(1200, rate=60.0),
    (Fault("kill", "sender", times=25, every=0.7, detail={"idle": True}),),
)

ROWS: Final = (
    replace(_IDLE, full=replace(_IDLE, workload=Workload(4800, 60.0), faults=(replace(_IDLE.faults[0], times=100),))),
    Row(
        "kill-busy-sender",
        "SIGKILL of a sender in mid-POST",
        Workload(6000, rate=400.0),
        (Fault("kill", "sender", times=10, every=1.2, detail={"busy": True}),),
        answer_seconds=0.05,
    ),
    Row(
        "stop-sender",
        "SIGSTOP and SIGCONT of a sender",
        Workload(6000, rate=300.0),
        (Fault("stop", "sender", lasts=6.0, times=2, every=3.0),),
        limits=Limits(stall=STOP_STALL_SECONDS),
        answer_seconds=0.02,
    ),
)
"""The rows."""
