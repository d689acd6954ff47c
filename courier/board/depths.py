"""What SQS holds: the messages in the source queue, and those in its dead-letter queue and in the failure queue.

The auditor asks SQS, and writes the answers on the board. Consumers add the age of the messages that they receive.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from courier.process import scoreboard
from courier.process.notes import TEXT_BYTES
from courier.process.scoreboard import Scoreboard, Slot
from courier.sqs.queue import QueueDepth

ASK_EVERY_SECONDS: Final = 30.0

KNOWN_SECONDS: Final = 3 * ASK_EVERY_SECONDS + 5.0
"""Seconds after which an answer of SQS is too old to be shown."""

LATELY_SECONDS: Final = 10.0
"""Seconds for which the age of a message counts after its receive."""

_GREATEST_SECONDS: Final = LATELY_SECONDS / 2
"""Seconds for which the age of a message outdoes those of younger ones. Then one of theirs still counts as long."""

SOURCE: Final = 0
DEAD_LETTERS: Final = 1
FAILURE: Final = 2
QUEUES: Final = (SOURCE, DEAD_LETTERS, FAILURE)
"""The queues, in the order of DEPTHS_AT and of the auditor's notes."""

_WORDS: Final = (slice(0, 3), slice(3, 4), slice(4, 5))
"""The words of DEPTHS of each queue."""


class Answer(NamedTuple):
    """What SQS last said of a queue: ``numbers``, none if unknown or too old; when; and what is wrong, with advice.

    ``at`` is in monotonic seconds, 0 for never. The source queue has the numbers of a QueueDepth, the others their sum.
    """

    numbers: Sequence[int]
    at: float
    problem: str


def write_depth(slot: Slot, queue: int, depth: QueueDepth, now: float) -> None:
    """Write the answer about one of :data:`QUEUES` into the auditor's slot; ``now`` is in monotonic seconds."""
    numbers = depth if queue == SOURCE else [sum(depth)]
    for word, number in zip(range(5)[_WORDS[queue]], numbers, strict=True):
        slot.words[scoreboard.DEPTHS + word] = number
    slot.reals[scoreboard.DEPTHS_AT + queue] = now


def write_problem(slot: Slot, queue: int, problem: str) -> None:
    """Write why a queue couldn't be asked, with advice, into the auditor's slot; empty once it could."""
    slot.notes.write(queue, problem.encode()[:TEXT_BYTES])


def read_answer(board: Scoreboard, queue: int, now: float) -> Answer:
    """Return what SQS last said of one of :data:`QUEUES`; ``now`` is in monotonic seconds."""
    slot = board.slots("auditor")[0]
    at = slot.reals[scoreboard.DEPTHS_AT + queue]
    is_known = 0.0 < now - at < KNOWN_SECONDS and at > 0.0
    words = range(scoreboard.DEPTHS, scoreboard.DEPTHS + 5)[_WORDS[queue]]
    problem = (slot.notes.read(queue) or b"").decode(errors="replace")
    return Answer([slot.words[word] for word in words] if is_known else [], at, problem)


class OldestReceived:
    """The age of the oldest message that a consumer received lately, in its slot."""

    __slots__ = ("_greatest", "_reals", "_until")

    def __init__(self, slot: Slot) -> None:
        self._reals = slot.reals
        self._greatest = 0.0
        self._until = 0.0

    def note(self, sent_ms: int, now: float) -> None:
        """Note a receive at ``now`` (monotonic seconds) whose oldest message was sent at ``sent_ms``, Unix time.

        0 is unknown. Nearly every receive under load ends with the first line.
        """
        # An age but for the difference of the clocks, which is always the same.
        age = now - sent_ms / 1000
        if (age <= self._greatest and now < self._until) or not sent_ms:
            return
        self._greatest, self._until = age, now + _GREATEST_SECONDS
        # The clocks of SQS and of this machine may differ by more than the age.
        self._reals[scoreboard.OLDEST_AGE] = max(0.0, time.time() - sent_ms / 1000)
        self._reals[scoreboard.OLDEST_AT] = now


def oldest_age(board: Scoreboard, now: float) -> float | None:
    """Return the age of the oldest message received lately, ``None`` if there was none.

    It was received within LATELY_SECONDS, and is at least the age of every message of the last half of them.
    """
    ages = [
        slot.reals[scoreboard.OLDEST_AGE]
        for slot in board.beating("consumer", now)
        if 0.0 < now - slot.reals[scoreboard.OLDEST_AT] < LATELY_SECONDS
    ]
    return max(ages, default=None)
