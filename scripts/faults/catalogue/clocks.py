"""Rows for clocks that jump, and for a host that is suspended."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scripts.faults.fault import Fault, Limits, Row
from scripts.faults.workload import Workload

_HOURS: Final = (1, -3, 12, -24, 0.02, 14)
_SUSPEND: Final = Row(
    "suspend",
    "Suspend of the host",
    Workload(1400, rate=80.0),
    (Fault("suspend", at=2.0, lasts=6.0, times=2, every=2.0),),
    options=("--senders", "2", "--concurrency", "8"),
    visibility=4,
    clock=True,
    answer_seconds=0.15,
)

ROWS: Final = (
    Row(
        "clock-jumps",
        "The clock jumps by hours",
        Workload(1500, rate=100.0),
        (Fault("jump", every=2.0, times=len(_HOURS), detail={"hours": list(_HOURS)}),),
        limits=Limits(receives=1),
        clock=True,
        answer_seconds=0.05,
    ),
    _SUSPEND,
    replace(
        _SUSPEND,
        name="long-suspend",
        title="Suspend of the host for an hour",
        # So low that a long poll is open, and its answer arrives when nobody can read it.
        workload=Workload(700, rate=40.0),
        faults=(Fault("suspend", at=2.0, lasts=1.0, times=3, every=1.0, detail={"longer": 3600.0}),),
    ),
)
"""The rows."""
