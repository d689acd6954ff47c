"""Rows for many processes of which few have work: one on duty is killed or stopped, and a sleeping one takes over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from scripts.faults.fault import STOP_STALL_SECONDS, Fault, Limits, Row
from scripts.faults.workload import Workload

_KILL_STALL: Final = 0.5
_STOP_STALL: Final = 3.0
"""A process is silent after 2.5 s without a beat; then another takes over what it was to do."""

_WIDE: Final = ("--consumers", "8", "--senders", "16")
_INSTANT: Final[dict[str, Any]] = {"instant": 0.01}
_BRIEF: Final = 4.0
"""Seconds of a stop: longer than the others may take to notice, shorter than ``--hang-timeout``."""

_LISTENING: Final = "listening sender"
_CALLED_IN: Final = "called-in sender"
_POLLING: Final = "polling consumer"


def _kills(*whom: str, times: int, every: float) -> tuple[Fault, ...]:
    """Return kills of each in turn, ``every`` seconds apart."""
    return tuple(
        Fault("kill", each, at=1.0 + number * every, times=times, every=every * len(whom), detail=_INSTANT)
        for number, each in enumerate(whom)
    )


def _stops(*whom: str, times: int) -> tuple[Fault, ...]:
    """Return stops of each, all of one and then all of the next."""
    seconds = times * (_BRIEF + 1.5)
    return tuple(
        Fault("stop", each, at=1.0 + number * seconds, lasts=_BRIEF, times=times, every=1.0, detail=_INSTANT)
        for number, each in enumerate(whom)
    )


def _row(name: str, title: str, load: Workload, stall: float, faults: tuple[Fault, ...], **more: Any) -> Row:
    limits = Limits(stall=stall)
    options = (*_WIDE, *more.pop("options", ()))
    return Row(name, title, load, faults, limits, options, visibility=4, unread=True, **more)


_KILLS_ALONE: Final = _row(
    "kill-on-duty-alone",
    "SIGKILL of the listening sender and the polling consumer, one message at a time",
    Workload(60, rate=2.0, alone=True),
    _KILL_STALL,
    _kills(_LISTENING, _POLLING, times=10, every=1.2),
)
_KILLS_LOW: Final = _row(
    "kill-on-duty-low",
    "SIGKILL of a sender that was called in, of the listening one and of the polling consumer, 20 a second",
    Workload(700, rate=20.0),
    _KILL_STALL,
    _kills(_CALLED_IN, _LISTENING, _POLLING, times=8, every=1.2),
    options=("--concurrency", "1"),
    answer_seconds=0.2,
)
_KILLS_HIGH: Final = replace(
    _KILLS_LOW,
    name="kill-on-duty-high",
    title="SIGKILL of a sender that was called in, of the listening one and of the polling consumer, 400 a second",
    workload=Workload(14_000, rate=400.0),
    options=(*_WIDE, "--concurrency", "2"),
    answer_seconds=0.05,
)
_STOPS_ALONE: Final = _row(
    "stop-on-duty-alone",
    "SIGSTOP of the listening sender and the polling consumer, one message at a time",
    Workload(45, rate=1.5, alone=True),
    _STOP_STALL,
    _stops(_LISTENING, _POLLING, times=3),
)
_STOPS_HIGH: Final = _row(
    "stop-on-duty-high",
    "SIGSTOP of a sender that was called in, of the listening one and of the polling consumer, 100 a second",
    Workload(4_000, rate=100.0),
    STOP_STALL_SECONDS,
    _stops(_CALLED_IN, _LISTENING, _POLLING, times=2),
    options=("--concurrency", "1"),
    answer_seconds=0.05,
)


def _longer(row: Row, times: float) -> Row:
    """Return a row whose full length is so many times its own."""
    load = replace(row.workload, messages=round(row.workload.messages * times))
    faults = tuple(replace(each, times=round(each.times * times)) for each in row.faults)
    if row.faults[0].what == "stop":
        faults = _stops(*(each.whom for each in faults), times=faults[0].times)
    return replace(row, full=replace(row, workload=load, faults=faults))


ROWS: Final = (
    _longer(_KILLS_ALONE, 10),
    _longer(_KILLS_LOW, 8),
    _longer(_KILLS_HIGH, 8),
    _longer(_STOPS_ALONE, 7),
    _longer(_STOPS_HIGH, 7),
)
"""The rows."""
