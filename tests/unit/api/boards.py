"""Boards filled by hand, for what reads them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from courier.api.observed import Observed
from courier.process import scoreboard
from courier.process.scoreboard import READY, Scoreboard
from courier.process.standby import HAS_ROOM

COUNTS: Mapping[str, int] = {"api": 1, "auditor": 1, "sender": 3, "consumer": 2}
RUNNING: Mapping[str, int] = {"api": 1, "auditor": 1, "sender": 2, "consumer": 2}


class Waiting:
    """A channel in which so many bytes wait."""

    def __init__(self, unread: int = 0) -> None:
        self.unread = unread

    def unread_bytes(self) -> int:
        return self.unread


def running_board(now: float | None = None) -> Scoreboard:
    """Make the board of a program that runs well: all workers ready, with a beat at ``now``; one sender is spare."""
    board = Scoreboard.create(COUNTS)
    now = time.monotonic() if now is None else now
    for role, count in {**RUNNING, "supervisor": 1}.items():
        for slot in board.slots(role)[:count]:
            slot.words[scoreboard.STATE] = READY
            slot.words[scoreboard.PID] = 1000 + slot.index
            slot.reals[scoreboard.STARTED] = now
            if role != "supervisor":
                slot.reals[scoreboard.BEAT] = now
                slot.words[scoreboard.DUTY] = HAS_ROOM
            if role == "sender":
                slot.reals[scoreboard.CLOSED_AT] = now - 100.0
    return board


def observed(board: Scoreboard, work: int = 0, acks: int = 0) -> Observed:
    """Observe a board, with so many bytes unread in the channels."""
    return Observed(board, Waiting(work), Waiting(acks))
