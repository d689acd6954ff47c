"""Rows for recipients that misbehave or are gone, and for the network before them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from scripts.faults.fault import Fault, Limits, Row
from scripts.faults.workload import Workload

TIMEOUT: Final = ("--timeout", "2", "--connect-timeout", "2")
OUTAGE_SECONDS: Final = 20.0
LONG_OUTAGE_SECONDS: Final = 600.0
LONG_OUTAGE_STALL: Final = 10.0
"""After an outage of more than a minute: the time between two probes grows up to eight seconds."""

HOSTILE_STALL: Final = 2.0 + 2.0
"""When several faults in a row stop receiving, a probe follows each second, and one that hangs takes ``--timeout``."""


def evenly(share: float, *behaviours: dict[str, Any]) -> list[dict[str, Any]]:
    """Give each behaviour the same share of all requests, although it has a turn only if none before it was chosen."""
    each = share / len(behaviours)
    return [{"share": each / (1 - each * before), **behaviour} for before, behaviour in enumerate(behaviours)]


def _kinds(text: str) -> list[dict[str, Any]]:
    return [{"kind": kind} for kind in text.split()]


_SLOW: Final = (
    *_kinds("silent slow-headers slow-body endless-chunked endless-length endless-unframed"),
    *_kinds("interim-flood endless-headers"),
    {"kind": "slow-headers", "seconds": 0.02},
    {"kind": "delay", "seconds": 1.0},
)
_WRONG: Final = (
    *_kinds("early reset-before-body close unframed interim garbage redirect huge-header length-too-long"),
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 429},
)
_DOORS: Final = _kinds("handshake-reset handshake-close handshake-garbage handshake-silence untrusted")
_SURPLUS: Final = ({"kind": "late", "seconds": 2.5}, *_kinds("extra extra-idle length-too-short"))

_HALF_503: Final = {"kind": "status", "status": 503, "share": 0.5}
_ONE_WAY: Final = ({"lose": "to-client"}, {"lose": "to-server"})

_HOSTILE: Final = Row(
    "hostile-recipient",
    "Hostile recipient",
    Workload(1500, rate=100.0, sizes=(1, 20_000)),
    (Fault("misbehave", lasts=14.0, detail={"behaviours": evenly(0.5, *_SLOW, *_WRONG)}),),
    limits=Limits(stall=HOSTILE_STALL),
    options=TIMEOUT,
)
_OUTAGE: Final = Row(
    "outage",
    "Outage: the recipient is gone",
    Workload(600, rate=25.0),
    (Fault("outage", at=2.0, lasts=OUTAGE_SECONDS),),
    limits=Limits(receives=2),
    dead_after=3,
)


def _outage(name: str, title: str, **detail: Any) -> Row:
    """Return an outage of another kind: of ten minutes in full."""
    fault = replace(_OUTAGE.faults[0], what="link" if "links" in detail else "outage", detail=detail)
    short = replace(_OUTAGE, name=name, title=title, faults=(fault,))
    full = replace(
        short,
        workload=Workload(15_300, rate=25.0),
        faults=(replace(fault, lasts=LONG_OUTAGE_SECONDS),),
        limits=Limits(stall=LONG_OUTAGE_STALL, receives=3),
        settle_seconds=240.0,
    )
    return replace(short, full=full)


def _linked(row: Row) -> Row:
    """Return a row with a link before the recipient, in both lengths."""
    return replace(row, link=True, full=row.full and replace(row.full, link=True))


ROWS: Final = (
    _HOSTILE,
    replace(
        _HOSTILE,
        name="hostile-recipient-tls",
        title="Hostile recipient over TLS",
        faults=(
            Fault(
                "misbehave", lasts=14.0, detail={"behaviours": [*evenly(0.4, *_SLOW, *_WRONG), *evenly(0.4, *_DOORS)]}
            ),
        ),
        tls=True,
    ),
    replace(
        _HOSTILE,
        name="surplus-answers",
        title="Hostile recipient: late and surplus answers",
        faults=(Fault("misbehave", lasts=14.0, detail={"behaviours": evenly(0.4, *_SURPLUS)}),),
    ),
    replace(
        _HOSTILE,
        name="resets-each-byte",
        title="Hostile recipient: a reset at each byte of the answer",
        faults=(Fault("misbehave", lasts=14.0, detail={"behaviours": evenly(0.4, {"kind": "reset-at"})}),),
    ),
    _outage("outage-gone", "Outage: the recipient is gone"),
    _outage("outage-503", "Outage: the recipient answers 503", status=503),
    replace(
        _OUTAGE,
        name="flapping",
        title="Flapping recipient",
        faults=(Fault("flap", at=1.0, lasts=20.0, detail={"away": 2.3, "back": 1.7}),),
        limits=Limits(receives=3),
        full=replace(
            _OUTAGE,
            name="flapping",
            title="Flapping recipient",
            workload=Workload(15_300, rate=25.0),
            faults=(Fault("flap", at=1.0, lasts=LONG_OUTAGE_SECONDS, detail={"away": 2.3, "back": 1.7}),),
            limits=Limits(receives=3),
        ),
    ),
    replace(
        _OUTAGE,
        name="half-dead",
        title="Half-dead recipient (50 % 503)",
        workload=Workload(2000, rate=100.0),
        faults=(Fault("misbehave", at=2.0, lasts=16.0, detail={"behaviours": [_HALF_503]}),),
        limits=Limits(receives=3),
        full=replace(
            _OUTAGE,
            name="half-dead",
            title="Half-dead recipient (50 % 503)",
            workload=Workload(66_500, rate=100.0),
            faults=(Fault("misbehave", at=62.0, lasts=LONG_OUTAGE_SECONDS, detail={"behaviours": [_HALF_503]}),),
            limits=Limits(receives=3),
        ),
    ),
    _linked(_outage("outage-black-hole", "Outage: a black hole", links=[{"black_hole": True}])),
    replace(
        _OUTAGE,
        name="link",
        title="Network: latency, loss of one direction, resets",
        faults=(Fault("link", lasts=5.0, detail={"links": [{"latency_seconds": 0.3}, *_ONE_WAY, {"reset": True}]}),),
        options=TIMEOUT,
        link=True,
    ),
    replace(
        _HOSTILE,
        name="link-cuts",
        title="Network: connections cut after n bytes",
        workload=Workload(1500, rate=100.0),
        faults=(Fault("cut", times=28, every=0.5, detail={"to-client": 1500, "to-server": 30_000}),),
        link=True,
    ),
)
"""The rows."""
