"""Rows for acts on the control socket, and for reloads."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scripts.faults.fault import KILL_STALL_SECONDS, Fault, Limits, Row
from scripts.faults.workload import Workload

_ACTS: Final = Row(
    "steer-100-acts",
    "100 random acts on the control socket in a row",
    Workload(5000, rate=200.0, attributes=True),
    (Fault("steer", times=100, every=0.15),),
    limits=Limits(stall=KILL_STALL_SECONDS + 1.0),
    visibility=6,
    answer_seconds=0.02,
)
_FIFO: Final = replace(
    _ACTS,
    name="steer-fifo",
    title="FIFO with 100 random acts on the control socket",
    workload=Workload(4000, rate=150.0, groups=40),
    # What a killed process held locks its groups until its leases end.
    limits=Limits(stall=None),
    answer_seconds=0.01,
)

_RELOAD: Final = Row(
    "reload-under-load",
    "12 reloads of other counts and limits",
    Workload(4000, rate=250.0, attributes=True),
    (Fault("reload", times=12, every=0.2),),
    limits=Limits(stall=1.0),
    visibility=6,
    answer_seconds=0.02,
)

ROWS: Final = (
    replace(
        _ACTS,
        full=replace(
            _ACTS, workload=replace(_ACTS.workload, messages=40_000), faults=(Fault("steer", times=1000, every=0.15),)
        ),
    ),
    _FIFO,
    _RELOAD,
    replace(
        _RELOAD,
        name="reload-fifo",
        title="FIFO with 12 reloads of other counts and limits",
        workload=Workload(3000, rate=150.0, groups=40),
        answer_seconds=0.01,
    ),
)
"""The rows."""

QUICK_ACTS: Final = replace(
    _ACTS,
    name="quick-acts",
    title="25 random acts on the control socket",
    workload=Workload(800, rate=200.0),
    faults=(Fault("steer", times=25, every=0.15, seed=3),),
)
"""The short row that is part of ``make faults-quick``."""
