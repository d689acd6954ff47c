"""A few short rows that stand for all: each role is killed, and a process, a disk, SQS and the recipient fail once."""

from __future__ import annotations

from typing import Final

from scripts.faults.catalogue.acts import QUICK_ACTS
from scripts.faults.fault import STOP_STALL_SECONDS, Fault, Limits, Row
from scripts.faults.workload import Workload

_HOSTILE: Final = [
    {"kind": "status", "share": 0.2, "status": 503},
    {"kind": "reset-before-body", "share": 0.1},
    {"kind": "garbage", "share": 0.1},
]

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
        "quick-disk",
        "EIO from fsync, and a full disk (ENOSPC)",
        Workload(1600, rate=200.0),
        (
            Fault("fail-disk", "audit", lasts=1.5, detail={"how": "sync"}),
            Fault("fail-disk", "audit", at=4.5, lasts=1.5, detail={"how": "full"}),
        ),
    ),
    Row(
        "quick-sqs",
        "SQS: 5xx, and answers lost after the effect",
        Workload(1600, rate=200.0),
        (
            Fault("sqs", "error", lasts=2.0),
            Fault("sqs", "lost-answer", at=4.5, lasts=1.5, detail={"actions": ["DeleteMessageBatch"]}),
        ),
    ),
    Row(
        "quick-recipient",
        "Hostile recipient, then an outage",
        Workload(1000, rate=100.0),
        (
            Fault("misbehave", lasts=3.0, detail={"behaviours": _HOSTILE}),
            Fault("outage", at=5.0, lasts=3.0),
        ),
        options=("--timeout", "1"),
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
    QUICK_ACTS,
)
"""The rows of ``make faults-quick``."""

COMPARED: Final = ("kill-busy-sender", "stop-sender", "fifo-kills", "sqs-5xx", "hostile-recipient", "outage-gone")
"""The names of the rows that peers run too: those whose faults hurt any program from SQS to HTTP."""
