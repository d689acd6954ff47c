"""Faults of the disk that the audit log is on, and kills at its instants."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from scripts.faults.audit_watch import PACKED, PLAIN
from scripts.faults.disk import Disk, Point
from scripts.faults.fault import Fault, NothingHappened
from scripts.faults.injury import Program
from scripts.faults.world import World

LOOK_SECONDS: Final = 0.005
RECEIVING_SECONDS: Final = 3.0
"""How long a program may be without messages until a fault of its auditor or its disk hits another one."""

PATIENCE_SECONDS: Final = 40.0
"""How long a process may take to reach a point, or files a state. After that the trial shows nothing, and fails."""

DISK_POINTS: Final = {
    "before append": Point.BEFORE_WRITE,
    "in mid-append": Point.DURING_WRITE,
    "after append": Point.AFTER_WRITE,
    "after sync": Point.AFTER_SYNC,
}
DELETE_POINTS: Final = ("before delete", "after delete")
"""In mid-delete: SQS hasn't got the call yet, or has done it and the answer is on its way."""


class Damaged(Exception):
    """The audit log contains something that isn't a record."""


def kill_at(world: World, fault: Fault) -> None:
    """Kill the auditor at each of the points ``detail["points"]`` in turn, ``times`` in all."""
    points: list[str] = fault.detail["points"]
    chance = random.Random(fault.seed)
    for turn in turns(world, fault):
        point = points[turn % len(points)]
        program = receiving(world, turn)
        if point in DELETE_POINTS:
            pid = _kill_in_delete(world, program, point)
        else:
            pid = _kill_at_disk(world, program.disk, DISK_POINTS[point], chance.randint(1, 4))
        world.hurt(f"kill of the auditor {point}", None, program=program)
        world.note(f"killed auditor {pid} {point}")


def _kill_at_disk(world: World, disk: Disk, point: Point, nth: int) -> int:
    disk.kill_at(point, nth)
    try:
        wait_until(world, lambda: disk.fired > 0, f"a process comes to {point.name}")
    finally:
        disk.heal()
    return disk.fired


def _kill_in_delete(world: World, program: Program, point: str) -> int:
    """Kill the auditor while a delete is on its way to SQS or back."""
    killed: list[int] = []
    hook = "before_delete" if point == "before delete" else "after_delete"

    def strike(_: Collection[str]) -> None:
        for pid in program.instance.pids("auditor"):
            if program.instance.kill(pid):
                setattr(program.gate, hook, None)
                killed.append(pid)

    setattr(program.gate, hook, strike)
    try:
        wait_until(world, lambda: bool(killed), "the auditor deletes")
    finally:
        setattr(program.gate, hook, None)
    return killed[0]


def fail_disk(world: World, fault: Fault) -> None:
    """Let the disk fail for ``lasts`` seconds, again and again, as ``detail["how"]`` says.

    ``sync``: each sync fails with EIO and loses its data. ``write``: each write fails with EIO. ``full``: the disk is
    full after some more bytes, so that a write is a short one. ``slow``: each sync takes ``detail["seconds"]`` longer;
    that alone stops no delivery.
    """
    chance = random.Random(fault.seed)
    for turn in turns(world, fault):
        _fail_once(world, receiving(world, turn).disk, fault, chance)


def _fail_once(world: World, disk: Disk, fault: Fault, chance: random.Random) -> None:
    began, before = time.monotonic(), disk.hits
    _fail(disk, fault, chance)
    world.note(f"the disk begins to fail: {fault.detail}")
    world.wait(fault.lasts)
    try:
        wait_until(world, lambda: disk.hits > before, "the disk is used")
    finally:
        disk.heal()
    world.note(f"the disk works again after {disk.hits - before} hits")
    if fault.detail["how"] != "slow" and len(world.programs) == 1:
        world.excuse(began, time.monotonic(), "the audit log could not be written")


def _fail(disk: Disk, fault: Fault, chance: random.Random) -> None:
    match fault.detail["how"]:
        case "sync":
            disk.fail_sync()
        case "write":
            disk.fail_write(errno.EIO, after_bytes=chance.randrange(2000))
        case "full":
            disk.fill(after_bytes=chance.randrange(1, 5000))
        case "slow":
            disk.slow_sync(fault.detail["seconds"])
        case how:
            raise ValueError(f"no failure of a disk is called {how!r}")


def power_cut(world: World, fault: Fault) -> None:
    """Cut the power of the first program ``times`` times, and start it again with what a file system may leave.

    In turn it happens while the name of a new audit file isn't durable and while records aren't; with
    ``detail["records"]`` only the latter, where files may be too large to begin a new one. With ``detail["packing"]``
    it also happens while a compressed file or its name isn't durable, and while there is neither. The disk is slow, by
    ``detail["seconds"]`` for each sync, so that there is something to lose.
    """
    chance = random.Random(fault.seed)
    try:
        lost = sum(_cut_power_once(world, fault, turn, chance) for turn in turns(world, fault))
    finally:
        world.program.disk.heal()
    if not lost:
        raise NothingHappened(f"{fault.times} power cuts lost nothing")
    if world.archive is not None and not world.archive.contents():
        raise NothingHappened("nothing came into the archive")


def _cut_power_once(world: World, fault: Fault, turn: int, chance: random.Random) -> int:
    """Return how many audit files lost something."""
    disk = world.program.disk
    disk.slow_sync(fault.detail["seconds"])
    if fault.detail.get("packing") and turn % 4 > 1:
        _wait_for_packing(world, disk, chance, under_way=turn % 4 == 2)
    elif turn % 2 == 0 and not fault.detail.get("records"):
        wait_until(world, lambda: has_new_name(disk), "an audit file is begun")
    else:
        wait_until(world, lambda: has_new_data(disk), "a record is written")
    began = cut_power(world)
    files = audit_files(disk)
    cuts = disk.power_cut(chance)
    shown = ", ".join(f"{cut.path.name} {cut.durable}/{cut.before} to {cut.after}" for cut in cuts)
    world.note(f"power cut: {shown or 'nothing was lost'}")
    start_again(world, began)
    return sum(cut.path in files for cut in cuts)


def _wait_for_packing(world: World, disk: Disk, chance: random.Random, *, under_way: bool) -> None:
    """Wait until a segment is being compressed; or else for an instant between, at which a plain one may just go."""
    if under_way:
        wait_until(world, lambda: is_packing(disk), "a segment is compressed")
    else:
        plain = len(audit_files(disk))
        wait_until(world, lambda: len(audit_files(disk)) != plain, "a segment is begun or compressed")
    world.wait(chance.uniform(0.0, 0.1))


def is_packing(disk: Disk) -> bool:
    """Return whether a temporary file or a compressed one isn't durable, content and name."""
    for path in disk.directory.iterdir():
        if path.name.startswith(".tmp-") or path.name.endswith(PACKED):
            with suppress(FileNotFoundError):
                if disk.surviving_length(path) < path.stat().st_size:
                    return True
    return False


def has_new_name(disk: Disk) -> bool:
    """Return whether the name of the newest file isn't durable."""
    with suppress(IndexError, FileNotFoundError):  # none yet, or removed meanwhile
        return not disk.is_entry_durable(audit_files(disk)[-1])
    return False


def has_new_data(disk: Disk) -> bool:
    """Return whether the newest file has data that isn't durable."""
    with suppress(IndexError, FileNotFoundError):
        newest = audit_files(disk)[-1]
        return disk.durable_length(newest) < newest.stat().st_size
    return False


def audit_files(disk: Disk) -> list[Path]:
    """Return the audit files that aren't compressed, the oldest first."""
    return sorted(path for path in disk.directory.glob("courier-*") if path.name.endswith(PLAIN))


def cut_power(world: World) -> float:
    """Kill the first program with all its processes at once; return when it began to stop."""
    began = time.monotonic()
    world.instance.kill_all()
    # Before this line all of them are dead.
    world.hurt("power cut", None, program=world.program)
    world.program.disk.heal()
    return began


def start_again(world: World, began: float) -> None:
    """Start the first program, which was killed at ``began``, and wait until it is ready."""
    world.program.come_back()
    world.excuse(began, time.monotonic(), "no program ran")
    world.note("started again")


def turns(world: World, fault: Fault) -> Iterator[int]:
    """Yield the number of each time at which a fault happens, ``every`` seconds apart, while the trial goes on."""
    for turn in range(fault.times):
        if turn and not world.wait(fault.every):
            return
        yield turn


def receiving(world: World, turn: int) -> Program:
    """Return the program of a turn, or another one if SQS hands only that one messages meanwhile.

    The messages of a single FIFO group may go to one of several programs for the whole trial.
    """
    first = turn % len(world.programs)
    programs = [*world.programs[first:], *world.programs[:first]]
    if len(programs) == 1:
        return programs[0]
    had = [len(program.gate.received) for program in programs]
    deadline = time.monotonic() + RECEIVING_SECONDS
    while len(programs[0].gate.received) == had[0] and time.monotonic() < deadline and world.wait(LOOK_SECONDS):
        pass
    return next((each for each, n in zip(programs, had, strict=True) if len(each.gate.received) > n), programs[0])


def wait_until(
    world: World, condition: Callable[[], bool], what: str, error: type[Exception] = NothingHappened
) -> None:
    """Wait for what the load brings about, or for what the program must do; raise ``error`` if it doesn't come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline or not world.wait(LOOK_SECONDS):
            raise error(f"timed out waiting until {what}")


INJECTORS: Final = {"kill-at": kill_at, "fail-disk": fail_disk, "power-cut": power_cut}
"""The injectors by name."""
