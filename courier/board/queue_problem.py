"""Why one of several queues doesn't run: the first process writes it, for whoever asks for the queue's state."""

from __future__ import annotations

from typing import Final

from courier.process.notes import TEXT_BYTES
from courier.process.scoreboard import Scoreboard

PLACE: Final = 12
"""The place among the supervisor's notes, after that of the names of queues."""


def write_problem(board: Scoreboard, line: str) -> None:
    """Write what is wrong, with advice after the first semicolon; empty if nothing is."""
    board.supervisor.notes.write(PLACE, line.encode()[:TEXT_BYTES])


def read_problem(board: Scoreboard) -> str:
    """Return what is wrong, empty if nothing is."""
    return (board.supervisor.notes.read(PLACE) or b"").decode(errors="replace")
