"""Rows for an audit log in Firehose."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scripts.faults.fault import KILL_STALL_SECONDS, Fault, Limits, Row
from scripts.faults.workload import Workload

_PARTIAL: Final = Row(
    "firehose-partial",
    "Firehose takes half of the records of each call",
    Workload(3000, rate=200.0),
    (Fault("firehose", "stream", lasts=10.0, detail={"kind": "partial", "share": 0.5}),),
    limits=Limits(receives=1),
    audit="firehose",
)

_THROTTLED: Final = replace(
    _PARTIAL,
    name="firehose-throttled",
    title="Firehose throttles half of the calls, then all of them",
    faults=(
        Fault("firehose", "stream", lasts=4.0, detail={"kind": "throttled", "share": 0.5}),
        Fault("firehose", "stream", at=6.0, lasts=5.0, detail={"kind": "throttled"}),
    ),
)

_SILENT: Final = replace(
    _PARTIAL,
    name="firehose-timeout",
    title="Firehose writes, and its answer is late or lost",
    faults=(
        Fault("firehose", "stream", lasts=3.0, detail={"kind": "reset-after", "share": 0.5}),
        Fault("firehose", "stream", at=5.0, lasts=3.0, detail={"kind": "silent-after", "share": 0.5}),
    ),
)


_SILENCE_STALL_SECONDS: Final = 12.0
"""A call without an answer is given up after 10 s. Two in a row outlast what may be delivered without a record."""


def _longer(row: Row, times: float, stall: float = KILL_STALL_SECONDS) -> Row:
    """Return a row whose faults last longer, and which may then stall for so many seconds."""
    workload = replace(row.workload, messages=round(row.workload.messages * times))
    faults = tuple(replace(fault, at=fault.at * times, lasts=fault.lasts * times) for fault in row.faults)
    limits = replace(row.limits, stall=stall)
    return replace(row, full=replace(row, workload=workload, faults=faults, limits=limits))


ROWS: Final = (
    _longer(_PARTIAL, 6.0),
    _longer(_THROTTLED, 6.0),
    _longer(_SILENT, 6.0, stall=_SILENCE_STALL_SECONDS),
)
"""The rows."""
