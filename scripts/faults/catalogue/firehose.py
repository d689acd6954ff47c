"""Rows for an audit log in Firehose."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scripts.faults.fault import Fault, Limits, Row
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


def _longer(row: Row, times: float) -> Row:
    """Return a row whose faults last longer."""
    workload = replace(row.workload, messages=round(row.workload.messages * times))
    faults = tuple(replace(fault, at=fault.at * times, lasts=fault.lasts * times) for fault in row.faults)
    return replace(row, full=replace(row, workload=workload, faults=faults))


ROWS: Final = tuple(_longer(row, 6.0) for row in (_PARTIAL, _THROTTLED, _SILENT))
"""The rows."""
