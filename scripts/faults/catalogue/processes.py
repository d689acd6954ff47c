"""Rows for processes that are killed, stopped or told to end."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scripts.faults.fault import HANG_TIMEOUT_SECONDS, KILL_STALL_SECONDS, STOP_STALL_SECONDS, Fault, Limits, Row
from scripts.faults.workload import Workload

_BRIEF: Final = 6.0
"""Seconds of a stop that is too short for the watchdog: the other processes go on without the stopped one."""

_LONG: Final = HANG_TIMEOUT_SECONDS + 4.0
"""Seconds of a stop in which the watchdog replaces the process."""

_API: Final = ("--api", "127.0.0.1:0")

_IDLE: Final = Row(
    "kill-idle-sender",
    "SIGKILL of an idle sender",
    Workload(1200, rate=60.0),
    (Fault("kill", "sender", times=25, every=0.7, detail={"idle": True}),),
)
_BUSY: Final = Row(
    "kill-busy-sender",
    "SIGKILL of a sender in mid-POST",
    # A busy machine takes its time for each kill, and the load must outlast them.
    Workload(8000, rate=400.0),
    (Fault("kill", "sender", times=10, every=1.2, detail={"busy": True}),),
    answer_seconds=0.05,
)
_LARGE: Final = Row(
    "kill-consumer-1-mib",
    "SIGKILL of a consumer that writes 1 MiB",
    Workload(160, rate=10.0, sizes="large"),
    (Fault("kill", "consumer", times=12, every=1.2, detail={"running": True}),),
    visibility=6,
)
_SUPERVISOR: Final = Row(
    "kill-supervisor",
    "SIGKILL of the supervisor",
    Workload(4000, rate=250.0),
    (Fault("kill", "supervisor", times=3, every=4.0),),
    answer_seconds=0.02,
)
_ANY: Final = Row(
    "kill-any",
    "SIGKILL of any process every 2 s",
    Workload(6000, rate=250.0, sizes="mixed", attributes=True),
    (Fault("kill", "any", times=10, every=2.0),),
    options=_API,
    answer_seconds=0.02,
)


def _stops(role: str, title: str, limit: float, visibility: int = 10) -> Row:
    """Return the row of a role that is stopped once for a short time, and once until it is replaced."""
    detail = {"busy": True} if role == "sender" else {}
    return Row(
        f"stop-{role}",
        title,
        Workload(4800, rate=200.0),
        (
            Fault("stop", role, lasts=_BRIEF, detail=detail),
            Fault("stop", role, at=_BRIEF + 3.0, lasts=_LONG, detail=detail | {"replaced": True}),
        ),
        limits=Limits(stall=limit),
        visibility=visibility,
        answer_seconds=0.02,
        options=_API if role == "api" else (),
    )


_STOPS: Final = (
    _stops("sender", "SIGSTOP and SIGCONT of a sender", STOP_STALL_SECONDS),
    _stops("consumer", "SIGSTOP and SIGCONT of a consumer", STOP_STALL_SECONDS),
    # The leases of what waits for the auditor last longer than its stop, so that nothing of that comes twice.
    _stops("auditor", "SIGSTOP and SIGCONT of the auditor", HANG_TIMEOUT_SECONDS + STOP_STALL_SECONDS, 20),
    Row(
        "stop-supervisor",
        "SIGSTOP and SIGCONT of the supervisor and of the API",
        Workload(4000, rate=200.0),
        (
            Fault("stop", "supervisor", lasts=_BRIEF),
            Fault("stop", "api", at=_BRIEF + 2.0, lasts=_LONG, detail={"replaced": True}),
        ),
        options=_API,
        answer_seconds=0.02,
    ),
)
_ENDS: Final = (
    Row(
        "term-under-load",
        "TERM under load",
        Workload(5000, rate=300.0),
        (Fault("end", detail={"signal": "SIGTERM"}, times=3, every=4.0),),
        answer_seconds=0.1,
    ),
    Row(
        "ctrl-c-under-load",
        "Ctrl-C under load, with deliveries cut",
        # Slots for 42 messages a second.
        Workload(600, rate=30.0),
        (
            Fault("end", detail={"signal": "SIGINT", "code": 4}, times=2, every=3.0),
            Fault("end", at=11.0, detail={"signal": "SIGINT", "code": 4, "again": 0.2}, times=2, every=3.0),
        ),
        # A new program sends one message first, and goes on at its answer.
        limits=Limits(stall=KILL_STALL_SECONDS + 1.5),
        # No delivery that is under way at the signal can end in time.
        options=("--drain-timeout", "1"),
        answer_seconds=1.5,
    ),
)
_FIFO: Final = Row(
    "fifo-kills",
    "FIFO with kills of any process",
    Workload(4500, rate=150.0, groups=40),
    # Early enough that the groups of the last kill are free again before the load ends.
    (Fault("kill", "any", times=9, every=2.0),),
    visibility=8,
    answer_seconds=0.01,
)

ROWS: Final = (
    replace(_IDLE, full=replace(_IDLE, workload=Workload(4800, 60.0), faults=(replace(_IDLE.faults[0], times=100),))),
    replace(_BUSY, full=replace(_BUSY, workload=Workload(38000, 400.0), faults=(replace(_BUSY.faults[0], times=50),))),
    _LARGE,
    _SUPERVISOR,
    replace(
        _ANY,
        full=replace(
            _ANY,
            workload=replace(_ANY.workload, messages=160_000),
            faults=(replace(_ANY.faults[0], times=280),),
        ),
    ),
    *_STOPS,
    *_ENDS,
    replace(
        _FIFO,
        full=replace(
            _FIFO,
            workload=replace(_FIFO.workload, messages=30_000),
            faults=(replace(_FIFO.faults[0], times=60),),
        ),
    ),
)
"""The rows."""
