"""Faults of all kinds, drawn by chance for a row that is drawn too."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from scripts.faults.fault import Fault
from scripts.faults.injectors import INJECTORS
from scripts.faults.sqs_servers import Kind


class Circumstances(NamedTuple):
    """What decides which faults a round may have: ``seconds`` is the length of its load."""

    seconds: float
    visibility: int
    programs: int
    link: bool
    clock: bool
    files: bool
    tls: bool
    credentials: bool
    server: Kind


class Drawn(NamedTuple):
    """A kind of fault: the parts of the world that it occupies, and how it is drawn. No two faults share a part."""

    parts: frozenset[str]
    draw: Callable[[random.Random, Circumstances], Fault | None]
    """Draws a fault; None where the round can't have it. Its times and its seed are set later."""


def draw_faults(chance: random.Random, given: Circumstances, count: int) -> tuple[Fault, ...]:
    """Draw up to so many faults, each with its start and its seed; no two occupy the same part."""
    drawn = tuple(_drawn(chance, given, count))
    return tuple(replace(fault, disturbed=len(drawn) > 1) for fault in drawn)


def _drawn(chance: random.Random, given: Circumstances, count: int) -> Iterator[Fault]:
    busy: set[str] = set()
    kinds = [name for name in DRAWS if name.split()[0] in INJECTORS]
    chance.shuffle(kinds)
    for name in kinds:
        drawn = None if DRAWS[name].parts & busy else DRAWS[name].draw(chance, given)
        if drawn is None:
            continue
        busy |= DRAWS[name].parts
        at = round(chance.uniform(0.5, given.seconds * 0.5), 2)
        yield replace(drawn, at=at, seed=chance.randrange(1 << 30))
        count -= 1
        if not count:
            return


def _seconds(chance: random.Random, least: float, most: float) -> float:
    return round(chance.uniform(least, most), 2)


def _kill(chance: random.Random, given: Circumstances) -> Fault:
    whom = chance.choice(("sender", "consumer", "auditor", "worker"))
    return Fault("kill", whom, times=chance.randint(1, 6), every=_seconds(chance, 0.3, 3.0))


def _kill_supervisor(chance: random.Random, given: Circumstances) -> Fault:
    whom = chance.choice(("supervisor", "any"))
    return Fault("kill", whom, times=1 if whom == "supervisor" else 4, every=_seconds(chance, 1.0, 3.0))


def _stop(chance: random.Random, given: Circumstances) -> Fault:
    whom = chance.choice(("sender", "consumer", "auditor", "supervisor"))
    # Shorter than the shortest --hang-timeout drawn: a process that hangs for longer is replaced.
    return Fault("stop", whom, lasts=chance.choice((0.3, 1.0, 3.0, 4.5)), times=chance.randint(1, 3))


def _kill_instance(chance: random.Random, given: Circumstances) -> Fault:
    return Fault("kill-instance", times=chance.randint(1, 2), every=2.0, lasts=_seconds(chance, 0.0, 3.0))


def _partition(chance: random.Random, given: Circumstances) -> Fault:
    whom = chance.choice(("sqs", "recipient", "both")) if given.link else "sqs"
    return Fault("partition", whom, lasts=_seconds(chance, 0.5, 8.0))


def _rolling_restart(chance: random.Random, given: Circumstances) -> Fault:
    return Fault("rolling-restart", every=_seconds(chance, 0.0, 2.0))


def _sqs(chance: random.Random, given: Circumstances) -> Fault:
    kind = chance.choice(
        ("throttle", "error", "slow", "black-hole", "reset", "cut", "lost-answer", "partial", "refuse", "expired-token")
    )
    detail: dict[str, Any] = {"share": chance.choice((1.0, 0.5, 0.1)), "amount": _seconds(chance, 0.1, 0.9)}
    if kind == "slow":
        detail["seconds"] = _seconds(chance, 0.1, 3.0)
    if chance.random() < 0.4 and kind != "refuse":
        batches = ("DeleteMessageBatch", "ChangeMessageVisibilityBatch")
        detail["actions"] = [chance.choice(batches if kind == "partial" else (*batches, "ReceiveMessage"))]
    return Fault("sqs", kind, lasts=_seconds(chance, 0.5, 8.0), detail=detail)


def _misbehave(chance: random.Random, given: Circumstances) -> Fault:
    kinds = [
        *("silent", "slow-headers", "slow-body", "endless-chunked", "endless-length", "endless-unframed", "early"),
        *("reset-at", "reset-before-body", "close", "unframed", "interim", "interim-flood", "garbage", "huge-header"),
        *("endless-headers", "length-too-long", "length-too-short", "extra", "extra-idle", "late", "status", "delay"),
        *("handshake-reset", "handshake-close", "handshake-garbage", "handshake-silence"),
        *(("untrusted",) if given.tls else ()),
    ]
    chosen = chance.sample(kinds, chance.randint(1, 5))
    detail = {"behaviours": [_behaviour(chance, kind) for kind in chosen]}
    return Fault("misbehave", lasts=_seconds(chance, 2.0, 10.0), detail=detail)


def _behaviour(chance: random.Random, kind: str) -> dict[str, Any]:
    drawn: dict[str, Any] = {"kind": kind, "share": chance.choice((0.02, 0.1, 0.3, 0.6))}
    if kind == "status":
        drawn["status"] = chance.choice((500, 503, 429, 408))
        if chance.random() < 0.3:
            drawn["retry_after"] = chance.randint(0, 2)
    elif kind in ("delay", "late"):
        drawn["seconds"] = _seconds(chance, 0.1, 2.0) if kind == "delay" else _seconds(chance, 2.0, 12.0)
    return drawn


def _outage(chance: random.Random, given: Circumstances) -> Fault:
    status = chance.choice((None, None, 503, 500, 429))
    return Fault("outage", lasts=_seconds(chance, 0.5, 10.0), detail={} if status is None else {"status": status})


def _flap(chance: random.Random, given: Circumstances) -> Fault:
    detail = {"away": _seconds(chance, 0.1, 1.5), "back": _seconds(chance, 0.1, 1.5)}
    return Fault("flap", lasts=_seconds(chance, 5.0, 10.0), detail=detail)


def _link(chance: random.Random, given: Circumstances) -> Fault | None:
    links: tuple[dict[str, Any], ...] = (
        {"latency_seconds": _seconds(chance, 0.01, 0.5)},
        {"lose": chance.choice(("to-server", "to-client"))},
        {"black_hole": True},
        {"reset": True},
        {"refuse": True},
    )
    detail = {"links": chance.sample(links, chance.randint(1, 2))}
    return Fault("link", lasts=_seconds(chance, 0.5, 6.0), detail=detail) if given.link else None


def _cut(chance: random.Random, given: Circumstances) -> Fault | None:
    detail = {"to-client": chance.randint(10, 100), "to-server": chance.randint(200, 2000)}
    every = _seconds(chance, 0.1, 0.5)
    return Fault("cut", times=chance.randint(5, 20), every=every, detail=detail) if given.link else None


def _jump(chance: random.Random, given: Circumstances) -> Fault | None:
    hours = [round(chance.uniform(-24.0, 24.0), 2) for _ in range(chance.randint(1, 4))]
    every = _seconds(chance, 0.5, 3.0)
    return Fault("jump", times=len(hours), every=every, detail={"hours": hours}) if given.clock else None


def _suspend(chance: random.Random, given: Circumstances) -> Fault | None:
    detail = {"longer": 3600.0} if chance.random() < 0.3 else {}
    if not given.clock or given.programs > 1:
        return None
    return Fault("suspend", lasts=_seconds(chance, 0.5, 8.0), times=chance.randint(1, 2), every=2.0, detail=detail)


def _fail_disk(chance: random.Random, given: Circumstances) -> Fault | None:
    detail: dict[str, Any] = {"how": chance.choice(("sync", "write", "full", "slow"))}
    if detail["how"] == "slow":
        detail["seconds"] = _seconds(chance, 0.05, 1.5)
    return Fault("fail-disk", lasts=_seconds(chance, 0.5, 8.0), detail=detail) if given.files else None


def _kill_at(chance: random.Random, given: Circumstances) -> Fault | None:
    points = ["before append", "in mid-append", "after append", "after sync", "before delete", "after delete"]
    chance.shuffle(points)
    times, every = chance.randint(1, 4), _seconds(chance, 0.5, 3.0)
    return Fault("kill-at", times=times, every=every, detail={"points": points}) if given.files else None


def _power_cut(chance: random.Random, given: Circumstances) -> Fault | None:
    if not given.files or given.programs > 1:
        return None
    return Fault("power-cut", times=chance.randint(1, 2), every=2.0, detail={"seconds": 0.05, "records": True})


def _tear(chance: random.Random, given: Circumstances) -> Fault | None:
    if not given.files or given.programs > 1:
        return None
    return Fault("tear", times=chance.randint(1, 3), every=_seconds(chance, 0.5, 2.0), detail={"stride": 7})


def _expire_credentials(chance: random.Random, given: Circumstances) -> Fault | None:
    lasts = _seconds(chance, 0.5, 8.0)
    return Fault("expire-credentials", lasts=lasts) if given.credentials else None


def _firehose(chance: random.Random, given: Circumstances) -> Fault | None:
    kind = chance.choice(("partial", "throttled", "error", "reset-after", "slow"))
    detail = {"kind": kind, "share": chance.choice((1.0, 0.5, 0.1))}
    return None if given.files else Fault("firehose", lasts=_seconds(chance, 0.5, 8.0), detail=detail)


def _end(chance: random.Random, given: Circumstances) -> Fault:
    return Fault("end", times=1, detail={"signal": chance.choice(("SIGTERM", "SIGINT"))})


def _of(parts: str, draw: Callable[[random.Random, Circumstances], Fault | None]) -> Drawn:
    return Drawn(frozenset(parts.split()), draw)


DRAWS: Final[dict[str, Drawn]] = {
    "kill": _of("worker", _kill),
    "kill supervisor": _of("program", _kill_supervisor),
    "stop": _of("stop", _stop),
    "kill-instance": _of("program", _kill_instance),
    "rolling-restart": _of("program", _rolling_restart),
    "end": _of("program", _end),
    "partition": _of("sqs link", _partition),
    "sqs": _of("sqs", _sqs),
    "expire-credentials": _of("sqs", _expire_credentials),
    "misbehave": _of("recipient", _misbehave),
    "outage": _of("recipient", _outage),
    "flap": _of("recipient", _flap),
    "link": _of("link", _link),
    "cut": _of("link", _cut),
    # These check whether a process was replaced.
    "jump": _of("clock worker program stop disk", _jump),
    "suspend": _of("clock worker program stop disk", _suspend),
    "fail-disk": _of("disk", _fail_disk),
    "kill-at": _of("disk", _kill_at),
    "power-cut": _of("disk program", _power_cut),
    "tear": _of("disk program", _tear),
    "firehose": _of("disk", _firehose),
}
"""The kinds by name, which begins with that of the injector."""
