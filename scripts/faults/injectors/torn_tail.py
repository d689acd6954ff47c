"""Audit files whose last record is torn at each of its bytes, as a crash in mid-write leaves them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from scripts.faults.disk import Disk
from scripts.faults.fault import Fault, NothingHappened, PromiseBroken
from scripts.faults.injectors.disks import (
    Damaged,
    audit_files,
    cut_power,
    has_new_data,
    start_again,
    turns,
    wait_until,
)
from scripts.faults.world import World

HANG_SECONDS: Final = 600.0
"""How long a sync takes whose program is killed meanwhile."""

OLD_NAME: Final = "courier-20000101T000000.000Z-{:06d}{}"
MOST_OLDER: Final = 250
"""Torn files beside the newest one: a long record isn't cut at as many of its bytes."""


class Tail(NamedTuple):
    """The end of an audit file: what is before the last record, and that record with its newline."""

    path: Path
    before: bytes
    record: bytes


def tear(world: World, fault: Fault) -> None:
    """Kill all of the first program while a sync hangs, cut the last record in two, and start again; ``times`` times.

    Beside the file of which that is true lie older ones with other cuts: those at each ``detail["stride"]``-th byte, a
    different set each time, so that after as many times each byte had its turn; of a long record there are fewer.
    Recovery must leave of all of them exactly the whole records, and new records must not be harmed by what is torn.
    """
    chance = random.Random(fault.seed)
    try:
        for turn in turns(world, fault):
            _tear_once(world, turn, int(fault.detail["stride"]), chance)
    finally:
        world.program.disk.heal()
    if damaged := world.watch.final().damaged:
        raise Damaged(f"{damaged} lines of the audit log aren't records")


def _tear_once(world: World, turn: int, stride: int, chance: random.Random) -> None:
    disk = world.program.disk
    wait_until(world, lambda: _has_durable_data(disk), "a record is durable")
    disk.slow_sync(HANG_SECONDS)
    wait_until(world, lambda: has_new_data(disk) and last_record(disk) is not None, "a sync hangs")
    began = cut_power(world)
    tail = last_record(disk)
    if tail is None:
        raise NothingHappened("the last write was a short one")
    cut = (1, len(tail.record) - 1, chance.randrange(1, len(tail.record)))[min(turn, 2)]
    tail.path.write_bytes(tail.before + tail.record[:cut])
    step = max(stride, len(tail.record) // MOST_OLDER)
    older = dict(write_older(tail, range(1 + turn % step, len(tail.record), step), turn // step))
    world.note(f"cut the last record of {tail.path.name} at {cut} of {len(tail.record)}, and {len(older)} copies")
    start_again(world, began)
    mended = {**older, tail.path: tail.before}
    wait_until(world, lambda: are_whole(mended), "the torn files are mended", PromiseBroken)
    for path in older:
        path.unlink(missing_ok=True)


def _has_durable_data(disk: Disk) -> bool:
    return any(disk.durable_length(path) for path in audit_files(disk)[-1:])


def last_record(disk: Disk) -> Tail | None:
    """Return the end of the newest file; None if the last write isn't complete."""
    path = audit_files(disk)[-1]
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        return None
    start = content.rfind(b"\n", 0, -1) + 1
    return Tail(path, content[:start], content[start:])


def write_older(tail: Tail, cuts: range, round_number: int) -> Iterator[tuple[Path, bytes]]:
    """Write a file for each cut; yield its path, and what has to be left of it.

    A torn record stands alone in its file or behind a whole one, in the next round the other way round.
    """
    before = tail.before[tail.before.rfind(b"\n", 0, -1) + 1 :]
    for cut in cuts:
        path = tail.path.with_name(OLD_NAME.format(cut, tail.path.suffix))
        whole = before if (cut + round_number) % 2 else b""
        path.write_bytes(whole + tail.record[:cut])
        yield path, whole


def are_whole(files: Mapping[Path, bytes]) -> bool:
    """Return whether each file holds what has to be left of it, and is gone if that is nothing."""
    return all((path.read_bytes() == content) if path.exists() else not content for path, content in files.items())


INJECTORS: Final = {"tear": tear}
"""The injectors by name."""
