"""Faults of a Firehose stream that takes the place of the audit files."""

from __future__ import annotations

import time
from typing import Final

from scripts.faults.fault import Fault, PromiseBroken
from scripts.faults.firehose import FaultyFirehose, FirehoseFault
from scripts.faults.injectors.disks import Damaged, wait_until
from scripts.faults.world import World

WRITES_UNSEEN: Final = frozenset({"reset-after", "silent-after"})
"""Kinds whose calls are written without an answer, so that each of their records is written again."""


def fail_firehose(world: World, fault: Fault) -> None:
    """Show a fault of Firehose for ``lasts`` seconds: ``detail`` has its ``kind``, ``share`` and ``seconds``.

    A share of 1 is an outage, in which no delivery is expected once the program has noticed.
    """
    firehose = world.firehose
    assert firehose is not None, "a row with this fault has a Firehose"
    kind, share, seconds = fault.detail["kind"], fault.detail.get("share", 1.0), fault.detail.get("seconds", 1.0)
    began, before, doubled = time.monotonic(), firehose.hits, _doubled(firehose)
    firehose.show(FirehoseFault(kind, share, seconds, fault.seed))
    world.note(f"Firehose begins to fail: {kind} {share:.0%}")
    world.wait(fault.lasts)
    try:
        wait_until(world, lambda: firehose.hits > before, "a call meets the fault")
    finally:
        firehose.heal()
    world.note(f"Firehose works again after {firehose.hits - before} hits")
    if share >= 1.0 and kind != "slow":
        world.excuse(began, time.monotonic(), "Firehose took no record")
    if kind in WRITES_UNSEEN:
        what = "a record without an answer is written again"
        wait_until(world, lambda: _doubled(firehose) > doubled, what, PromiseBroken)
        world.note(f"{_doubled(firehose)} records are in the stream twice")
    if firehose.unreadable:
        raise Damaged(f"{len(firehose.unreadable)} records can't be read: {firehose.unreadable[0]!r}")


def _doubled(firehose: FaultyFirehose) -> int:
    return sum(1 for count in tuple(firehose.records.values()) if count > 1)


INJECTORS: Final = {"firehose": fail_firehose}
"""The injectors by name."""
