"""The scoreboard: the counters, gauges and states of all workers, in memory that all processes share.

It is one anonymous shared map, made before the fork, with a slot for each worker. Only its owner writes to a slot, in
aligned 8-byte words, and only through ``memoryview.cast``. Such a store is one instruction, so readers see the old
number or the new one, and no lock is needed. (``struct.pack_into`` clears the target first, so readers could see
zeros.) A kill can't leave anything corrupt.

Each word is a row of the table below, which numbers them. A constant is the index of its word in a slot: a plain
number, because it is used on the hot path.
"""

from __future__ import annotations

import math
import mmap
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from courier.process.notes import Notes
from courier.process.ring import Ring
from courier.process.word_table import Kind, Table

_BOUNDS_MS: Final = (0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, math.inf)
LATENCY_BOUNDS: Final = tuple(milliseconds / 1000 for milliseconds in _BOUNDS_MS)
AGE_BOUNDS: Final = (*LATENCY_BOUNDS[3:-1], 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0, math.inf)
"""Upper bounds of the buckets of histograms, in seconds."""

COUNTER, TOTAL, RATE, GAUGE, RECORD, REAL, METRIC = Kind
WORDS: Final = Table()
_consumer, _sender, _auditor, _scheduler, _watcher, _supervisor, _worker = (
    partial(WORDS.add, role)
    for role in ("consumer", "sender", "auditor", "scheduler", "watcher", "supervisor", "worker")
)

# The process. The supervisor writes the restarts into the slots of the workers that it replaced.
STATE: Final = _worker(RECORD, "EMPTY, STARTING, READY or DRAINING.")
PID: Final = _worker(RECORD, "The process; 0 for none.")
BEAT: Final = _worker(RECORD | REAL, "The last turn of the worker's loop.")
STARTED: Final = _worker(RECORD | REAL, "When the process was started.")
DRAIN_DEADLINE: Final = _supervisor(RECORD | REAL, "When a drain must have ended; 0 without a drain.")
PAUSED_AT: Final = _supervisor(RECORD | REAL, "Since when a person has paused receiving; 0 for not.")
SENDERS_SCALED: Final = _supervisor(RECORD, "How many senders scaling asked for; 0: as configured.")
CONSUMERS_SCALED: Final = _supervisor(RECORD, "How many consumers scaling asked for; 0: as configured.")
PROBE_ASKED: Final = _supervisor(RECORD | REAL, "When a person last asked to cut a cool-down short.")
LOG_LEVEL: Final = _supervisor(RECORD, "The level of log lines since a reload, as a number of logging; 0 before.")
RELOADS: Final = _supervisor(COUNTER | METRIC, "Configurations that came into force by a reload.")
STACKS: Final = _worker(GAUGE, "The file for the process's stacks; 0 for none.")
RESTARTS_EXIT: Final = _worker(COUNTER, "Workers replaced because they exited.")
RESTARTS_SIGNAL: Final = _worker(COUNTER, "Workers replaced because a signal ended them.")
RESTARTS_HUNG: Final = _worker(COUNTER, "Workers replaced because they hung.")
LINES_DROPPED: Final = _worker(COUNTER | METRIC, "Log lines that couldn't be written to stderr.", "log_lines_dropped")

# Messages and their outcomes, and the traffic between the processes.
RECEIVED: Final = _consumer(RATE | METRIC, "Messages received from SQS.")
POOLS: Final = 17
"""The most pools of senders: that of --recipient-url, and one for each route. Words of that size count by pool."""
PUT: Final = _consumer(COUNTER, "Messages (runs) put on the work channel of each pool.", size=POOLS)
PUT_BYTES: Final = _consumer(COUNTER, "Bytes put on the work channel of each pool.", size=POOLS)
HIDDEN: Final = _consumer(COUNTER, "Messages hidden because the pool of their route had no room.", size=POOLS)
ASKED: Final = _consumer(GAUGE | METRIC, "Messages asked for in open receives.")
LAST_RECEIVE: Final = _consumer(RECORD | REAL, "When SQS last answered a receive.")
TAKEN: Final = _sender(COUNTER, "Messages (runs) taken from the work channel.")
TAKEN_BYTES: Final = _sender(COUNTER, "Bytes taken from the work channel.")
DELIVERED: Final = _sender(RATE | METRIC, "Messages that the recipient accepted.")
RETRIED: Final = _sender(RATE, "Failed deliveries that are retried.")
REJECTED: Final = _sender(RATE, "Rejected messages.")
RELEASED: Final = _worker(RATE | METRIC, "Messages returned to SQS untried.")
SETTLE_PUT: Final = _worker(COUNTER, "Outcomes put on the acks channel.")
SETTLE_TAKEN: Final = _auditor(COUNTER, "Outcomes taken from the acks channel.")
RECORDED: Final = _auditor(RATE | METRIC, "Audit records made durable.")
DELETED: Final = _auditor(RATE | METRIC, "Messages deleted from SQS.")
CHANGED: Final = _auditor(COUNTER | METRIC, "Messages returned to SQS, with or without a delay.", "visibility_changed")
LAPSED: Final = _worker(RATE | METRIC, "Outcomes dropped because the message's lease had ended.")
EXTENDED: Final = _auditor(TOTAL | METRIC, "Extensions of a message's visibility timeout.")
DUPLICATES: Final = _auditor(TOTAL | METRIC, "Messages recognised as recorded already, deleted without a delivery.")
DEDUPE_IDS: Final = _auditor(GAUGE | METRIC, "Ids in the dedupe window.")
DEDUPE_FAILURES: Final = _auditor(TOTAL | METRIC, "Failed reads and writes of the files of recorded ids.")
EXPIRED: Final = _worker(TOTAL | METRIC, "Messages still held 12 hours after their receive.")
STALE: Final = _auditor(TOTAL | METRIC, "Receipt handles that SQS no longer accepted.")
SETTLE_REFUSED: Final = _auditor(TOTAL | METRIC, "Deletes and changes of visibility that SQS refused for good.")
LETTERS_REFUSED: Final = _auditor(TOTAL | METRIC, "Rejected messages that the failure queue refused for good.")
BULK_LOST: Final = _auditor(TOTAL | METRIC, "Outcomes whose audit record or rejected message was lost on its way.")
CUT: Final = _sender(TOTAL | METRIC, "Deliveries cut at the end of a drain.")
UNSETTLED: Final = _worker(TOTAL | METRIC, "Outcomes neither deleted nor returned at the end of a drain.")
CORRUPT: Final = _consumer(TOTAL | METRIC, "Messages received whose body doesn't match its MD5; left to SQS.")
OBJECTS_FETCHED: Final = _sender(COUNTER | METRIC, "Objects fetched from S3.")
FETCHED_BYTES: Final = _sender(COUNTER | METRIC, "Bytes of objects fetched from S3.")
FETCH_FAILURES: Final = _sender(TOTAL | METRIC, "Fetches from S3 that failed.")
BUCKETS_CLOSED: Final = _sender(GAUGE | METRIC, "Buckets that a sender fetches nothing from for now, as they fail.")
OBJECTS_REMOVED: Final = _auditor(COUNTER | METRIC, "Objects removed after their messages.")
OBJECTS_LEFT: Final = _auditor(TOTAL | METRIC, "Objects left in S3 although --fetch-delete asks for their removal.")
RECORDS_LOST: Final = _auditor(TOTAL | METRIC, "Messages deleted without their record, under best-effort.")
EVENTS_WRITTEN: Final = _auditor(COUNTER | METRIC, "Event lines written, with --audit-events all.", "audit_events")
EVENTS_LOST: Final = _worker(
    TOTAL | METRIC,
    "Event lines dropped because the audit log or the channel to it could not take them.",
    "audit_events_lost",
)
AUDIT_FAILURES: Final = _auditor(TOTAL | METRIC, "Failed writes to the audit log, including checks of an idle one.")
RESTARTS: Final = _worker(TOTAL, "Workers replaced.")
AUDIT_DAMAGED: Final = _auditor(
    COUNTER | METRIC, "Damaged lines found in audit files, counted again at each start.", "audit_damaged_lines"
)
ARCHIVED: Final = _auditor(COUNTER | METRIC, "Audit files that the archive has confirmed.", "archived_segments")
ARCHIVED_BYTES: Final = _auditor(COUNTER | METRIC, "Bytes of these files.")
ARCHIVE_FAILURES: Final = _auditor(COUNTER | METRIC, "Failed uploads to the archive.")
DROPPED_HEADERS: Final = _sender(COUNTER | METRIC, "Headers left out: an invalid value, or no room.")
BATCHES: Final = _sender(COUNTER | METRIC, "Requests that held a batch of messages, with --format lambda.")
INTERNAL_ERRORS: Final = _worker(COUNTER | METRIC, "Exceptions in Courier that affected a single message.")

# Who works and who sleeps; see courier.process.standby.
TAP_UNTIL: Final = _worker(GAUGE | REAL, "Until when the API wants senders to show attempts; see courier.sender.tap.")
DUTY: Final = _worker(GAUGE, "OFF, FULL or HAS_ROOM.")

# Current work. During an outage IN_FLIGHT includes the kept messages.
LIMIT: Final = _sender(GAUGE | METRIC, "Deliveries that the senders may have in flight now.")
IN_FLIGHT: Final = _sender(GAUGE | METRIC, "Messages (on a FIFO queue: runs) that senders hold.")
KEPT: Final = _sender(GAUGE | METRIC, "Messages that failed and are tried again from memory, outside of outages.")
HELD: Final = _auditor(GAUGE | METRIC, "Receipt handles that the auditor holds unsettled.")
HELD_BYTES: Final = _auditor(GAUGE | METRIC, "Bytes of records and rejected messages that wait in the auditor.")
AUDIT_FAILING: Final = _auditor(GAUGE, "A state of courier.board.audit_states.")
ARCHIVE_STATE: Final = _auditor(GAUGE, "A state of courier.board.archive.")
ARCHIVE_WAITING: Final = _auditor(GAUGE | METRIC, "Audit files that wait for the archive.", "archive_waiting_segments")
ARCHIVE_WAITING_BYTES: Final = _auditor(GAUGE | METRIC, "Bytes of these files.")
ARCHIVE_SINCE: Final = _auditor(GAUGE | REAL, "When the oldest of these files ended; 0 if there is none.")
ARCHIVED_AT: Final = _auditor(RECORD | REAL, "When the archive last confirmed a file.")
TAKING: Final = _sender(GAUGE, "1 while a packet is neither in the channel nor in flight.")
SLOT_SECONDS: Final = _sender(GAUGE | REAL, "Seconds that a message fills a slot; 0: unknown.")
FASTEST_SECONDS: Final = _sender(GAUGE | REAL, "Seconds of the fastest delivery lately; 0: unknown.")
TYPICAL_SECONDS: Final = _sender(GAUGE | REAL, "Median seconds of the latest deliveries; 0: unknown.")
COMPLETED: Final = _sender(COUNTER, "Messages (runs) that have left their slot after their attempts.")

# Failing calls to the queue and to the failure queue: which, since when, and the last failure.
CALL_FAILING: Final = _worker(GAUGE, "Action and result, see courier.board.tally; 0 for none.")
FAILING_SINCE: Final = _worker(GAUGE | REAL, "When CALL_FAILING began.")
FAILED_AT: Final = _worker(GAUGE | REAL, "When such a call last failed.")
SEND_FAILING: Final = _auditor(GAUGE, "As CALL_FAILING, for the failure queue.")
SEND_FAILING_SINCE: Final = _auditor(GAUGE | REAL, "As FAILING_SINCE, for the failure queue.")
SEND_FAILED_AT: Final = _auditor(GAUGE | REAL, "As FAILED_AT, for the failure queue.")

# A sender's courier.recipient.breaker.View. The other senders use it while this one beats, and adopt newer values.
FAULTS_IN_ROW: Final = _sender(RECORD, "Faults since the last good answer.")
FAULT_AT: Final = _sender(RECORD | REAL, "The last fault.")
GOOD_AT: Final = _sender(RECORD | REAL, "The last good answer.")
OPENED_AT: Final = _sender(RECORD | REAL, "When the breaker opened, or a probe failed.")
OPEN_UNTIL: Final = _sender(RECORD | REAL, "When the next probe is due.")
OPEN_SINCE: Final = _sender(RECORD | REAL, "The first opening since it was closed.")
TRIPS: Final = _sender(RECORD, "Openings since it was closed.")
CLOSED_AT: Final = _sender(RECORD | REAL, "When it closed.")
UNREACHABLE: Final = _sender(RECORD, "1 if no connection was possible.")
STOPPED_BY_REFUSALS: Final = _sender(RECORD, "Refusals that opened the breaker; 0 for none.")
STOPPED_BY_ANSWERS: Final = _sender(RECORD, "Answers among which those refusals were.")
STOPPED_BY_STATUS: Final = _sender(RECORD, "The status of the last of those refusals.")
START_TRIED_AT: Final = _sender(RECORD | REAL, "The last attempt at the start of the program.")
START_REFUSED_AT: Final = _sender(RECORD | REAL, "The last refusal at the start.")
START_REFUSALS: Final = _sender(RECORD, "Refusals at the start.")

# Pauses, probes and the rate limit.
OPENINGS: Final = _sender(
    COUNTER | METRIC, "Times that the circuit breaker opened, including failed probes.", "breaker_openings"
)
PAUSED_UNTIL: Final = _sender(RECORD | REAL, "The end of the pause that the recipient asked for.")
PROBE_WANTED: Final = _sender(GAUGE | REAL, "Since when the first sender wants one message.")
PROBED_AT: Final = _consumer(
    RECORD | REAL, "The last receive that returned messages for each pool, and so one to probe with.", size=POOLS
)
PROBES_WITH: Final = _sender(GAUGE, "What the sender could probe with; decides which sender probes.")
TOKEN_AT: Final = _sender(GAUGE | REAL, "When the rate limit allows the next delivery.")
TOKEN_EVERY: Final = _sender(GAUGE | REAL, "Seconds between two tokens of the sender.")
TOKEN_TAKEN: Final = _sender(RECORD | REAL, "When the sender took its last token.")

# Messages that the recipient refuses, and messages with faults.
REFUSED: Final = _sender(COUNTER | METRIC, "Messages that the recipient refused, each counted once.")
REFUSED_MARKS: Final = _sender(RECORD, "Marks of the latest refused messages.", size=24)
REFUSED_AFTER: Final = _sender(RECORD, "Deliveries of all senders at each of these refusals.", size=24)
FAULTED: Final = _sender(COUNTER, "Messages that met a fault since their last receive.")
TRIED_AGAIN: Final = _sender(COUNTER, "Further attempts, from memory or at a further receive.")
REVIVED: Final = _sender(COUNTER, "Further attempts that succeeded.")
MENDED: Final = _sender(COUNTER, "Deliveries of messages that had met a fault since their receive.")
FAULT_PERCENT: Final = _sender(GAUGE, "Messages with a fault in percent; 0 unless it is high.")

# Exceptions caused by single messages; see courier.process.internal_errors.
BUG_MESSAGES: Final = _worker(GAUGE, "Distinct messages with an exception among the latest.")
BUG_MARK: Final = _worker(GAUGE, "A mark of the last one, from its id.")
BUG_AT: Final = _worker(GAUGE | REAL, "When it was affected.")
BUG_DONE: Final = _worker(GAUGE, "Successes at the time of the first one.")

# Counters by kind.
RETRIED_BY: Final = _sender(
    COUNTER | METRIC, "Failed deliveries that are retried, by reason.", "retried", size=80, label="reason"
)
REJECTED_BY: Final = _sender(COUNTER | METRIC, "Rejected messages, by reason.", "rejected", size=80, label="reason")
SHORTAGES: Final = _sender(
    COUNTER | METRIC, "Deliveries that had to wait because this machine lacked a resource.", size=4, label="resource"
)
SHORT_OF: Final = _sender(GAUGE, "The kind of SHORTAGES that lasts, from 1; 0 for none.")
SHORT_SINCE: Final = _sender(GAUGE | REAL, "When that shortage began.")
CALLS: Final = _worker(COUNTER, "Calls to SQS by action and result, see courier.board.tally.", size=56)

# What SQS holds, which the auditor asks for, and the age of what consumers received; see courier.board.depths.
DEPTHS: Final = _auditor(RECORD, "Messages in the queue by state, then dead letters, then letters.", size=5)
DEPTHS_AT: Final = _auditor(RECORD | REAL, "When each of the three queues last answered.", size=3)
DEPTHS_ASKED_AT: Final = _auditor(RECORD | REAL, "When SQS was last asked.")
OLDEST_AGE: Final = _consumer(GAUGE | REAL, "The greatest age of a message received lately, in seconds.")
OLDEST_AT: Final = _consumer(GAUGE | REAL, "When that message was received.")

# Periodic tasks, with --cron.
TASKS_ENQUEUED: Final = _scheduler(COUNTER | METRIC, "Periodic tasks put into the queue.")
TASKS_MISSED: Final = _scheduler(TOTAL | METRIC, "Periodic tasks that were not put into the queue in time.")
SCHEDULED_UNTIL: Final = _scheduler(RECORD, "The minute since 1970 until which all tasks are done; 0 before the first.")

# The end of this machine or task, with --watch-termination; see courier.process.departure.
DEPARTURE: Final = _watcher(RECORD, "The kind of the notice because of which the program leaves, from 1; 0 for none.")
DEPARTS_AT: Final = _watcher(RECORD | REAL, "When the machine ends; 0 if that is unknown.")
NOTICED_AT: Final = _watcher(RECORD | REAL, "When each kind of notice was first seen.", size=4)
NOTICES: Final = _watcher(
    COUNTER | METRIC,
    "Notices that this machine or task ends, by kind.",
    "termination_notices",
    size=4,
    label="notice",
)
METADATA_FAILURES: Final = _watcher(COUNTER | METRIC, "Failed requests for such notices.")
HOOKS_COMPLETED: Final = _watcher(
    COUNTER | METRIC, "Lifecycle actions of Auto Scaling that Courier completed.", "lifecycle_actions_completed"
)
TASK_PROTECTED: Final = _watcher(GAUGE | METRIC, "1 while ECS protects the task from scale-in.")

# Histograms, each followed by its sum.
LATENCY: Final = _sender(
    COUNTER | METRIC,
    "Time of an attempt to deliver, from the request until its outcome, failed ones too.",
    "delivery_seconds",
    bounds=LATENCY_BOUNDS,
)
LATENCY_SUM: Final = _sender(COUNTER | REAL, "Seconds.")
AGE: Final = _sender(
    COUNTER | METRIC,
    "Age of a message when the recipient took it, counted from when it was sent to SQS.",
    "end_to_end_seconds",
    bounds=AGE_BOUNDS,
)
AGE_SUM: Final = _sender(COUNTER | REAL, "Seconds.")
SYNC: Final = _auditor(
    COUNTER | METRIC, "Time to make a group of audit records durable.", "audit_sync_seconds", bounds=LATENCY_BOUNDS
)
SYNC_SUM: Final = _auditor(COUNTER | REAL, "Seconds.")

WORDS.name_all(vars())

AREAS: Final = {word.place: word.size for word in WORDS if word.size > 1}
"""The first word of each area, and its number of words."""

SLOT_WORDS: Final = WORDS.slot_words()

GAUGES: Final = frozenset(word.place for word in WORDS if GAUGE in word.kind)
"""The words that are zeroed when their process is reaped."""

# The values of STATE.
EMPTY: Final = 0
STARTING: Final = 1
READY: Final = 2
DRAINING: Final = 3

SUPERVISOR: Final = "supervisor"

SILENT_SECONDS: Final = 2.5
"""Seconds without a beat after which a worker is silent, and readers ignore its state and gauges as outdated.

Its counters still count, because those events have happened.
"""


def kind_of(role: str) -> str:
    """Return what the workers of a role do: ``sender`` for the role ``sender:orders`` too."""
    return role.partition(":")[0]


class Slot:
    """One worker's slot. ``words`` and ``reals`` are the same memory, as unsigned 64-bit numbers and as doubles.

    ``notes`` are the worker's texts for other processes, ``ring`` is what it shows them one after another.
    """

    __slots__ = ("index", "notes", "reals", "ring", "role", "words")

    TEXT_BYTES: Final = Notes.BYTES + Ring.BYTES

    def __init__(self, role: str, index: int, memory: memoryview, notes: memoryview) -> None:
        self.role = role
        self.index = index
        self.words: memoryview[int] = memory.cast("Q")
        self.reals: memoryview[float] = memory.cast("d")
        self.notes, self.ring = Notes(notes[: Notes.BYTES]), Ring(notes[Notes.BYTES :])

    def observe_sync(self, seconds: float) -> None:
        """Count one group of audit records that took ``seconds`` to become durable."""
        self.words[SYNC + bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.reals[SYNC_SUM] += seconds


class Scoreboard:
    """All slots, by role. Create it before the fork. There is always one slot with the role ``supervisor``."""

    def __init__(self, counts: Mapping[str, int], memory: memoryview) -> None:
        """Lay ``counts`` slots of each role over zeroed memory, role after role; the notes of all come last."""
        start, size = 0, SLOT_WORDS * 8
        notes = memory[size * sum(counts.values()) :]
        memory = memory[: len(memory) - len(notes)]
        self._words: memoryview[int] = memory.cast("Q")
        self._reals: memoryview[float] = memory.cast("d")
        self._slots: dict[str, list[Slot]] = {}
        self._ends: dict[str | None, tuple[int, int]] = {None: (0, len(self._words))}
        for role, count in counts.items():
            end = start + count
            self._slots[role] = [
                Slot(
                    role,
                    place - start,
                    memory[place * size : (place + 1) * size],
                    notes[place * Slot.TEXT_BYTES : (place + 1) * Slot.TEXT_BYTES],
                )
                for place in range(start, end)
            ]
            self._ends[role] = start * SLOT_WORDS, end * SLOT_WORDS
            start = end
        self.supervisor = self._slots[SUPERVISOR][0]

    @classmethod
    def create(cls, counts: Mapping[str, int]) -> Scoreboard:
        """Return a new board. ``counts`` maps roles to numbers of slots, including those for workers added later."""
        counts = {**counts, SUPERVISOR: 1}
        return cls(counts, memoryview(mmap.mmap(-1, (SLOT_WORDS * 8 + Slot.TEXT_BYTES) * sum(counts.values()))))

    def slots(self, role: str) -> Sequence[Slot]:
        """Return every slot of a role, including empty ones."""
        return self._slots[role]

    def roles(self) -> Sequence[str]:
        """Return the roles, the supervisor last."""
        return list(self._slots)

    def roles_of(self, kind: str) -> Sequence[str]:
        """Return the roles whose workers do the same, such as the senders of all routes, in their order."""
        return [role for role in self._slots if kind_of(role) == kind]

    def live(self, role: str) -> list[Slot]:
        """Return the slots of a role whose worker is ready or draining."""
        return [slot for slot in self._slots[role] if slot.words[STATE] >= READY]

    def beating(self, role: str, now: float) -> list[Slot]:
        """Return the slots of a role whose worker is ready or draining and not silent at ``now``, monotonic seconds."""
        return [slot for slot in self.live(role) if now - slot.reals[BEAT] < SILENT_SECONDS]

    def gauge(self, word: int, now: float, role: str | None = None) -> int:
        """Return the sum of a gauge over all workers that aren't silent, or over those of one role."""
        return sum(slot.words[word] for one in ([role] if role else self._slots) for slot in self.beating(one, now))

    # A stride over the whole board reads a word of every slot in a third of the time of a loop. Each word is one load.

    def view(self, word: int, role: str | None = None) -> memoryview[int]:
        """Return a live view of a word of each slot, or of each slot of a role, for repeated reads."""
        start, end = self._ends[role]
        return self._words[start + word : end : SLOT_WORDS]

    def column(self, word: int, role: str | None = None) -> list[int]:
        """Return a word of each slot, or of each slot of a role, in the order of the slots."""
        start, end = self._ends[role]
        return self._words[start + word : end : SLOT_WORDS].tolist()

    def real_column(self, word: int, role: str | None = None) -> Sequence[float]:
        """Return a real of each slot, or of each slot of a role, in the order of the slots."""
        start, end = self._ends[role]
        return self._reals[start + word : end : SLOT_WORDS].tolist()

    def total(self, word: int, role: str | None = None) -> int:
        """Return the sum of a word over all slots, or over those of one role."""
        start, end = self._ends[role]
        return sum(self._words[start + word : end : SLOT_WORDS])

    def totals(self, area: int, role: str | None = None) -> list[int]:
        """Return the sum of each word of one of the :data:`AREAS` over all slots, or over those of one role."""
        return [self.total(word, role) for word in range(area, area + AREAS[area])]

    def total_real(self, word: int) -> float:
        """Return the sum of a real over all slots."""
        return sum(self._reals[word::SLOT_WORDS])


class Unread(Protocol):
    """The part of a channel that :func:`queued` needs."""

    def unread_bytes(self) -> int:
        """Return the bytes that wait in the channel."""
        ...


def queued(channel: Unread, board: Scoreboard, put_word: int, taken_word: int, taken_by: str | None = None) -> int:
    """Return the number of items in a channel, from the counters ``put_word`` and ``taken_word``.

    Only what the role ``taken_by`` has taken counts, or what all have.

    If the channel is empty, return 0 whatever the counters say. Items that a killed worker didn't count would otherwise
    stay in the difference for ever and cause a stall. The channel is asked with a system call, only if they differ.
    """
    count = board.total(put_word) - board.total(taken_word, taken_by)
    return count if count > 0 and channel.unread_bytes() else 0
