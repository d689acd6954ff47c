"""The departure: why and when the machine or task that Courier runs on will end, as the watcher writes it on the board.

The watcher alone writes it, into its slot. The supervisor reads it in its turn and drains; nothing else stops for it.
"""

from __future__ import annotations

import math
import time
from typing import Final, NamedTuple

from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard, Slot

WATCHER: Final = "watcher"
"""The role that asks the platform whether this machine or task ends."""

SPOT: Final = "spot"
LIFECYCLE: Final = "lifecycle"
TASK: Final = "task"
REBALANCE: Final = "rebalance"
NOTICES: Final = (SPOT, LIFECYCLE, TASK, REBALANCE)
"""The kinds of notices, in the order of their words on the board."""

WORDS_OF: Final = {
    SPOT: "EC2 reclaims the spot instance",
    LIFECYCLE: "Auto Scaling terminates the instance",
    TASK: "ECS stops the task",
    REBALANCE: "EC2 recommends replacing the spot instance",
}
"""Each kind in words."""

RESERVE_SECONDS: Final = 5.0
"""Seconds between the end of the drain and that of the machine, for what comes after Courier."""

SHORTEST_SECONDS: Final = 5.0
"""The shortest time of a drain. Most machines live on for a moment after the time that was announced."""


class Departure(NamedTuple):
    """A notice that counts: its ``kind``, and when the machine ends, in monotonic seconds, infinite if unknown."""

    kind: str
    ends_at: float = math.inf

    def drain_within(self, now: float) -> float:
        """Return the most seconds that a drain may take from ``now`` on."""
        return max(SHORTEST_SECONDS, self.ends_at - now - RESERVE_SECONDS)


def write_departure(slot: Slot, departure: Departure) -> None:
    """Write the reason to leave into the watcher's slot.

    In a program of several queues the first process writes it into those of the queues too, which have no watcher.
    """
    noticed = scoreboard.NOTICED_AT + NOTICES.index(departure.kind)
    slot.reals[noticed] = slot.reals[noticed] or time.monotonic()
    slot.reals[scoreboard.DEPARTS_AT] = 0.0 if departure.ends_at == math.inf else departure.ends_at
    # Last, because the supervisor acts upon it.
    slot.words[scoreboard.DEPARTURE] = NOTICES.index(departure.kind) + 1


def read_departure(board: Scoreboard) -> Departure | None:
    """Return the reason to leave; ``None`` if there is none, or nobody watches for one.

    It counts even if the watcher has died since: what the platform announced stays true.
    """
    if WATCHER not in board.roles():
        return None
    (slot,) = board.slots(WATCHER)
    return departure_of(slot)


def departure_of(slot: Slot) -> Departure | None:
    """Return the reason to leave in the watcher's slot, ``None`` if there is none."""
    number = slot.words[scoreboard.DEPARTURE]
    return Departure(NOTICES[number - 1], slot.reals[scoreboard.DEPARTS_AT] or math.inf) if number else None


def monotonic_of(unix: float | None) -> float:
    """Return an instant of Unix time in monotonic seconds; infinite for none."""
    return math.inf if unix is None else unix - time.time() + time.monotonic()
