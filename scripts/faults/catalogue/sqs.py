"""Rows for SQS: its faults, its leases, and servers that nobody here wrote."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from scripts.faults.fault import Fault, Row
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
    row = Row(name, title, _LOAD, faults, **more)
    load = replace(row.workload, messages=row.workload.messages * 5)
    return replace(row, full=replace(row, workload=load, faults=_longer(faults, 5.0)))


_BLACK_HOLE: Final = _row("sqs-black-hole", "SQS: black hole", _sqs("black-hole"))
_RESETS: Final = _row("sqs-resets", "SQS: resets", _sqs("reset", 1.0, 4.0), _sqs("reset", 6.0, 6.0, share=0.5))
_ERRORS: Final = _row("sqs-5xx", "SQS: 5xx", _sqs("error", 1.0, 4.0), _sqs("error", 6.0, 6.0, share=0.5))
_LOST: Final = _row(
    "sqs-lost-answers",
    "SQS: answers lost after the effect",
    _sqs("lost-answer", 1.0, 3.0, _DELETE),
    _sqs("lost-answer", 5.0, 2.0, _RECEIVE, share=0.3),
    _sqs("cut", 8.0, 3.0, share=0.3),
)

ROWS: Final = (
    _BLACK_HOLE,
    _RESETS,
    _ERRORS,
    _row("sqs-throttling", "SQS: throttling", _sqs("throttle", 1.0, 4.0), _sqs("throttle", 6.0, 6.0, share=0.5)),
    _row("sqs-slow", "SQS: slow", _sqs("slow", 1.0, 5.0, seconds=1.0), _sqs("slow", 8.0, 4.0, _DELETE, seconds=3.0)),
    _LOST,
)
"""The rows."""
