"""Rows for SQS: its faults, its leases, and servers that nobody here wrote."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from courier.sqs.credentials import RENEW_EVERY_SECONDS
from scripts.faults.fault import KILL_STALL_SECONDS, Fault, Limits, Row
from scripts.faults.workload import Workload

_DELETE: Final = "DeleteMessageBatch"
_CHANGE: Final = "ChangeMessageVisibilityBatch"
_RECEIVE: Final = "ReceiveMessage"
_LOAD: Final = Workload(3000, rate=200.0)


def _sqs(kind: str, at: float = 2.0, lasts: float = 5.0, *actions: str, **detail: Any) -> Fault:
    return Fault("sqs", kind, at=at, lasts=lasts, detail=detail | ({"actions": [*actions]} if actions else {}))


def _longer(faults: Iterable[Fault], times: float) -> tuple[Fault, ...]:
    """Return the faults as they are when each begins and lasts so many times later and longer."""
    return tuple(replace(fault, at=fault.at * times, lasts=fault.lasts * times) for fault in faults)


def _row(name: str, title: str, *faults: Fault, **more: Any) -> Row:
    """Return a row whose full form is five times as long, in which leases end during an outage."""
    row = Row(name, title, _LOAD, faults, **more)
    load = replace(row.workload, messages=row.workload.messages * 5)
    limits = replace(row.limits, receives=None)
    return replace(row, full=replace(row, workload=load, faults=_longer(faults, 5.0), limits=limits))


_ONCE: Final = Limits(receives=1)
"""The outage is so short that no lease ends in it, so no message may come again."""

_HALF: Final = Limits(stall=2 * KILL_STALL_SECONDS, receives=1)
"""Half of the calls fail for a while, sometimes several in a row, and a pause of up to 1.05 s follows each failure."""

_ERRORS: Final = _row("sqs-5xx", "SQS: 5xx", _sqs("error", 1.0, 4.0), _sqs("error", 6.0, 6.0, share=0.5), limits=_HALF)


FAULTS: Final = (
    _row("sqs-black-hole", "SQS: black hole", _sqs("black-hole")),
    _row(
        "sqs-resets",
        "SQS: resets, and connections refused",
        _sqs("reset", 1.0, 3.0),
        _sqs("reset", 5.0, 3.0, share=0.5),
        _sqs("refuse", 9.0, 3.0),
    ),
    _ERRORS,
    _row(
        "sqs-throttling",
        "SQS: throttling",
        _sqs("throttle", 1.0, 4.0),
        _sqs("throttle", 6.0, 6.0, share=0.5),
        limits=_HALF,
    ),
    _row(
        "sqs-slow",
        "SQS: slow",
        _sqs("slow", 1.0, 5.0, seconds=1.0),
        _sqs("slow", 8.0, 4.0, _DELETE, seconds=3.0),
        limits=_ONCE,
    ),
    _row(
        "sqs-lost-answers",
        "SQS: answers lost after the effect",
        _sqs("lost-answer", 1.0, 3.0, _DELETE),
        _sqs("lost-answer", 5.0, 2.0, _RECEIVE, share=0.3),
        _sqs("cut", 8.0, 3.0, share=0.3),
    ),
    replace(
        _row(
            "sqs-partial",
            "SQS: batches of deletes and extends that fail in part",
            _sqs("partial", 1.0, 10.0, _DELETE, amount=0.3),
            _sqs("partial", 1.0, 10.0, _CHANGE, amount=0.3),
            limits=_ONCE,
            visibility=6,
            answer_seconds=4.0,
        ),
        workload=Workload(220, rate=15.0),
        full=None,
    ),
    _row("sqs-handed-out-twice", "SQS: messages handed out twice", _sqs("duplicate-receive", 1.0, 12.0, share=0.3)),
)

CREDENTIALS: Final = (
    Row(
        "expired-credentials",
        "Expired credentials, renewed 3 s later",
        _LOAD,
        (Fault("expire-credentials", at=2.0, lasts=3.0),),
        # Courier searches for other credentials at once, and then every 10 s.
        limits=Limits(stall=KILL_STALL_SECONDS + RENEW_EVERY_SECONDS, receives=1),
        visibility=30,
        credentials=True,
    ),
    _row("expired-receipts", "Expired receipt handles", _sqs("invalid-receipt", 2.0, 3.0, _DELETE), visibility=5),
)

_LONG: Final = Row(
    "long-deliveries",
    "Deliveries that take ten times the visibility timeout",
    Workload(60),
    (),
    limits=Limits(stall=None, receives=1),
    options=("--timeout", "60"),
    visibility=2,
    answer_seconds=20.0,
)

LEASES: Final = (
    replace(
        _LONG,
        full=replace(
            _LONG,
            workload=Workload(250),
            options=("--timeout", "150"),
            visibility=6,
            answer_seconds=60.0,
            settle_seconds=420.0,
        ),
    ),
)

_FIFO: Final = Row(
    "sqs-fifo",
    "FIFO with faults of SQS",
    Workload(1500, rate=100.0, groups=20),
    (
        _sqs("error", 1.0, 2.0),
        _sqs("lost-answer", 4.0, 2.0, _RECEIVE, share=0.3),
        _sqs("partial", 7.0, 3.0, _DELETE, amount=0.3),
        _sqs("lost-answer", 11.0, 2.0, _DELETE, share=0.5),
    ),
    # A lost answer locks its groups until it is asked for again.
    limits=Limits(stall=None),
    visibility=5,
)

OTHER_SERVERS: Final = (
    replace(
        _ERRORS,
        name="sqs-5xx-fauxqs",
        title="SQS: 5xx (fauxqs)",
        # It refuses characters beyond the basic multilingual plane, which SQS takes.
        workload=replace(_LOAD, beyond_bmp=False),
        server="fauxqs",
        full=None,
    ),
    Row(
        "kill-busy-sender-fauxqs",
        "SIGKILL of a sender in mid-POST (fauxqs)",
        Workload(5000, rate=200.0, beyond_bmp=False),
        (Fault("kill", "sender", times=5, every=2.0, detail={"busy": True}),),
        answer_seconds=0.05,
        server="fauxqs",
    ),
    Row(
        "fifo-kills-fauxqs",
        "FIFO with kills (fauxqs)",
        Workload(750, rate=50.0, groups=20, beyond_bmp=False),
        (Fault("kill", "any", times=4, every=3.0),),
        # What a killed process held locks its groups until its leases end.
        limits=Limits(stall=None),
        visibility=5,
        answer_seconds=0.01,
        server="fauxqs",
    ),
    Row(
        "kill-sender-moto",
        "SIGKILL of a sender in mid-POST (moto)",
        Workload(100, rate=10.0),
        (Fault("kill", "sender", times=2, every=3.0, detail={"busy": True}),),
        # Its server answers some ten calls a second.
        limits=Limits(stall=None),
        options=("--consumers", "1"),
        answer_seconds=0.3,
        server="moto",
    ),
)

ROWS: Final = (*FAULTS, *CREDENTIALS, *LEASES, _FIFO, *OTHER_SERVERS)
"""The rows."""
