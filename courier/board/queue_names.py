"""The names of the queues that a supervisor has found, for an API that began before it looked them up."""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson

from courier.process.scoreboard import Scoreboard

PLACE: Final = 11
"""The place among the supervisor's notes, after those of the settings."""


class QueueNames(NamedTuple):
    """The names of the queue, of its dead-letter queue and of the failure queue; empty for none."""

    queue: str
    dead_letter_queue: str
    failure_queue: str


def write_names(board: Scoreboard, names: QueueNames) -> None:
    """Write the names, which SQS limits to 80 characters each."""
    board.supervisor.notes.write(PLACE, orjson.dumps(list(names)))


def read_names(board: Scoreboard) -> QueueNames | None:
    """Return the names, ``None`` while they aren't known."""
    text = board.supervisor.notes.read(PLACE)
    return QueueNames(*orjson.loads(text)) if text else None
