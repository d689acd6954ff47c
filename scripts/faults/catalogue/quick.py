"""A few short rows that stand for all: each role is killed, and a process, a disk, SQS and the recipient fail once."""

from __future__ import annotations

from typing import Final

from scripts.faults.fault import STOP_STALL_SECONDS, Fault, Limits, Row
from scripts.faults.workload import Workload

QUICK: Final = (
    Row(
        "quick-kills",
        "SIGKILL of a sender, a consumer, the auditor and the supervisor",
        Workload(2400, rate=200.0),
        (
            Fault("kill", "sender", at=1.0, detail={"busy": True}),
            Fault("kill", "consumer", at=3.0),
            Fault("kill", "auditor", at=5.0),
            Fault("kill", "supervisor", at=8.0),
        ),
        visibility=5,
        answer_seconds=0.02,
    ),
    Row(
        "quick-stop",
        "SIGSTOP and SIGCONT of a sender",
        Workload(1600, rate=200.0),
        (Fault("stop", "sender", lasts=4.0),),
        limits=Limits(stall=STOP_STALL_SECONDS),
        visibility=5,
        answer_seconds=0.02,
    ),
    Row(
        "quick-fifo",
        "FIFO with kills",
        Workload(1200, rate=150.0, groups=20),
        (Fault("kill", "sender", at=1.0), Fault("kill", "consumer", at=3.0), Fault("kill", "auditor", at=5.0)),
        # What a killed process held locks its groups until its leases end.
        limits=Limits(stall=None),
        visibility=4,
        answer_seconds=0.005,
    ),
)
"""The rows of ``make faults-quick``."""

COMPARED: Final = ("kill-busy-sender", "stop-sender")
"""The names of the rows that peers run too: those whose faults hurt any program from SQS to HTTP."""
