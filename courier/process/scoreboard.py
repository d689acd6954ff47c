"""The scoreboard: what every worker counts, in memory that all processes share.

One anonymous shared map, made before the fork, with a slot for each worker. A slot is written by its owner alone, in
aligned 8-byte words, and only through ``memoryview.cast``: such a store is one instruction, so that readers see the old
number or the new one and no lock is needed (``struct.pack_into`` clears the target first, and readers would see zeros).
Nothing here can be left corrupt by a kill. The indices below are plain numbers, since they stand on the hot path.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

EMPTY: Final = 0
STARTING: Final = 1
READY: Final = 2
DRAINING: Final = 3

# Who and when. PID and STATE are words; BEAT, STARTED and DRAIN_DEADLINE reals: seconds of time.monotonic().
STATE: Final = 0
PID: Final = 1
BEAT: Final = 2
STARTED: Final = 3
DRAIN_DEADLINE: Final = 4
RESTARTS: Final = 5

# How many a sender may have under way now: a gauge. SEND_FAILING is that of the failure queue, as CALL_FAILING.
LIMIT: Final = 6
SEND_FAILING: Final = 7

# Gauges: true of this moment and this process, so zeroed when it is reaped.
ASKED: Final = 8
IN_FLIGHT: Final = 9
HELD: Final = 10
AUDIT_FAILING: Final = 11
BREAKER: Final = 12
HELD_BYTES: Final = 13
STACKS: Final = 14
CALL_FAILING: Final = 15

# More of them, and when things were: reals, seconds of time.monotonic(). LAST_RECEIVE outlives its process.
FAILING_SINCE: Final = 56
FAILED_AT: Final = 57
LAST_RECEIVE: Final = 58

# Why a slot's workers were replaced: as RESTARTS, written by the supervisor.
RESTARTS_EXIT: Final = 59
RESTARTS_SIGNAL: Final = 60
RESTARTS_HUNG: Final = 61

# As FAILING_SINCE and FAILED_AT, for the failure queue.
SEND_FAILING_SINCE: Final = 62
SEND_FAILED_AT: Final = 63

# What a sender knows of the endpoint, for the circuit breaker: it outlives the process, since the endpoint does.
# Reals but for FAULTS_IN_ROW, TRIPS and SPIKE. PROBE_WANTED is a gauge: since when the first sender wants one message.
# So are TOKEN_AT, when a rate limit lets the sender begin its next delivery, and a consumer's POLLS_UNTIL, the end of
# the longest of its long polls.
FAULTS_IN_ROW: Final = 184
FAULT_AT: Final = 185
GOOD_AT: Final = 186
OPENED_AT: Final = 187
OPEN_UNTIL: Final = 188
TRIPS: Final = 189
CLOSED_AT: Final = 190
PAUSED_UNTIL: Final = 191
PROBE_WANTED: Final = 192
PROBED_AT: Final = 193
OPENINGS: Final = 194
SPIKE: Final = 195
TOKEN_AT: Final = 196
POLLS_UNTIL: Final = 197

# Counters: they only grow, and a slot keeps them over restarts.
RECEIVED: Final = 16
PUT: Final = 17
TAKEN: Final = 18
PUT_BYTES: Final = 19
TAKEN_BYTES: Final = 20
DELIVERED: Final = 21
RETRIED: Final = 22
REJECTED: Final = 23
RELEASED: Final = 24
LAPSED: Final = 25
CUT: Final = 26
RECORDED: Final = 27
DELETED: Final = 28
EXTENDED: Final = 29
CHANGED: Final = 30
STALE: Final = 31
UNSETTLED: Final = 32
DROPPED_HEADERS: Final = 33
CORRUPT: Final = 34
SETTLE_PUT: Final = 35
SETTLE_TAKEN: Final = 36
RECORDS_LOST: Final = 37
AUDIT_FAILURES: Final = 38
EXPIRED: Final = 39

# Histograms: a word for each bucket (not cumulative), the sum a real in seconds.
LATENCY_BOUNDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    float("inf"),
)
LATENCY_SUM: Final = 40
LATENCY: Final = 41

AGE_BOUNDS: Final = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    900.0,
    3600.0,
    21600.0,
    86400.0,
    float("inf"),
)
AGE_SUM: Final = 144
AGE: Final = 145

SYNC_SUM: Final = 168
SYNC: Final = 169

# Counters by kind: an area each. What its words stand for is whoever counts there to know.
RETRIED_BY: Final = 64
REJECTED_BY: Final = 88
CALLS: Final = 112

AREAS: Final = {
    LATENCY: len(LATENCY_BOUNDS),
    RETRIED_BY: 24,
    REJECTED_BY: 24,
    CALLS: 32,
    AGE: len(AGE_BOUNDS),
    SYNC: len(LATENCY_BOUNDS),
}
"""Where an area begins, and how many words it has."""

SLOT_WORDS: Final = 256
"""Words in a slot: whole cache lines, so that neighbours don't slow each other down."""

GAUGES: Final = frozenset(
    {
        ASKED,
        LIMIT,
        PROBE_WANTED,
        TOKEN_AT,
        POLLS_UNTIL,
        IN_FLIGHT,
        HELD,
        HELD_BYTES,
        AUDIT_FAILING,
        BREAKER,
        STACKS,
        CALL_FAILING,
        FAILING_SINCE,
        FAILED_AT,
        SEND_FAILING,
        SEND_FAILING_SINCE,
        SEND_FAILED_AT,
    }
)

SUPERVISOR: Final = "supervisor"


class Slot:
    """One worker's words. ``words`` and ``reals`` are the same memory, seen as unsigned 64-bit numbers and doubles."""

    __slots__ = ("index", "reals", "role", "words")

    def __init__(self, role: str, index: int, memory: memoryview) -> None:
        self.role = role
        self.index = index
        self.words: memoryview[int] = memory.cast("Q")
        self.reals: memoryview[float] = memory.cast("d")

    def observe_sync(self, seconds: float) -> None:
        """Count one group of audit records that took ``seconds`` to become durable."""
        self.words[SYNC + bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.reals[SYNC_SUM] += seconds


class Scoreboard:
    """All slots, by role. Made before the fork; there is always one slot of the role ``supervisor``."""

    def __init__(self, counts: Mapping[str, int], memory: memoryview) -> None:
        """Lay slots over zeroed memory, role after role, as many as ``counts`` says of each."""
        self._words: memoryview[int] = memory.cast("Q")
        self._reals: memoryview[float] = memory.cast("d")
        self._slots: dict[str, list[Slot]] = {}
        self._ends: dict[str | None, tuple[int, int]] = {None: (0, len(self._words))}
        start, size = 0, SLOT_WORDS * 8
        for role, count in counts.items():
            end = start + count
            self._slots[role] = [
                Slot(role, place - start, memory[place * size : (place + 1) * size]) for place in range(start, end)
            ]
            self._ends[role] = start * SLOT_WORDS, end * SLOT_WORDS
            start = end
        self.supervisor = self._slots[SUPERVISOR][0]

    @classmethod
    def create(cls, counts: Mapping[str, int]) -> Scoreboard:
        """Map the memory for ``counts``: role to number of slots, with those for workers that may be added later."""
        counts = {**counts, SUPERVISOR: 1}
        return cls(counts, memoryview(mmap.mmap(-1, SLOT_WORDS * 8 * sum(counts.values()))))

    def slots(self, role: str) -> Sequence[Slot]:
        """Return every slot of a role, empty ones too."""
        return self._slots[role]

    def roles(self) -> Sequence[str]:
        """Return the roles that have slots, the supervisor's last."""
        return list(self._slots)

    def live(self, role: str) -> list[Slot]:
        """Return the slots of a role whose worker is ready or draining."""
        return [slot for slot in self._slots[role] if slot.words[STATE] >= READY]

    # A stride over the whole board reads a word of every slot in a third of the time of a loop over the slots; each of
    # the words is still one load.

    def column(self, word: int, role: str | None = None) -> list[int]:
        """Return a word of each slot, or of each one of a role, in the order of the slots."""
        start, end = self._ends[role]
        return self._words[start + word : end : SLOT_WORDS].tolist()

    def real_column(self, word: int, role: str | None = None) -> Sequence[float]:
        """Return a real of each slot, or of each one of a role, in the order of the slots."""
        start, end = self._ends[role]
        return self._reals[start + word : end : SLOT_WORDS].tolist()

    def total(self, word: int, role: str | None = None) -> int:
        """Sum a word over all slots, or over those of one role."""
        start, end = self._ends[role]
        return sum(self._words[start + word : end : SLOT_WORDS])

    def totals(self, area: int, role: str | None = None) -> list[int]:
        """Sum each word of one of the :data:`AREAS` over all slots, or over those of one role."""
        return [self.total(word, role) for word in range(area, area + AREAS[area])]

    def total_real(self, word: int, role: str | None = None) -> float:
        """Sum a real over all slots, or over those of one role."""
        start, end = self._ends[role]
        return sum(self._reals[start + word : end : SLOT_WORDS])


class Unread(Protocol):
    """What :func:`queued` asks of a channel."""

    def unread_bytes(self) -> int:
        """Return the bytes that nobody has received."""
        ...


def queued(channel: Unread, board: Scoreboard, put_word: int, taken_word: int) -> int:
    """Return how many of what ``put_word`` and ``taken_word`` count are in the channel.

    An empty channel is the truth and beats the counters: what a kill leaves uncounted would otherwise stand in the sum
    for ever, and end as a stall. It is asked, by a system call, only where they say that there is something.
    """
    count = board.total(put_word) - board.total(taken_word)
    return count if count > 0 and channel.unread_bytes() else 0
