"""What the API looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from courier.process import scoreboard
from courier.process.scoreboard import SUPERVISOR, Scoreboard, Unread, queued

API: Final = "api"
"""The role of this process."""


class Depth(NamedTuple):
    """What waits in a channel: messages (on a FIFO queue runs) or outcomes, and bytes."""

    waiting: int
    bytes: int


class Observed(NamedTuple):
    """The board, the two channels, and the seconds without a beat after which a worker counts as hung."""

    board: Scoreboard
    work: Unread
    acks: Unread
    hang_timeout: float

    def depths(self) -> Mapping[str, Depth]:
        """Give what waits in each channel."""
        work = queued(self.work, self.board, scoreboard.PUT, scoreboard.TAKEN)
        work_bytes = queued(self.work, self.board, scoreboard.PUT_BYTES, scoreboard.TAKEN_BYTES)
        acks = queued(self.acks, self.board, scoreboard.SETTLE_PUT, scoreboard.SETTLE_TAKEN)
        return {"work": Depth(work, work_bytes), "acks": Depth(acks, self.acks.unread_bytes())}

    def working_roles(self) -> list[str]:
        """Give the roles that the program can't work without."""
        return [role for role in self.board.roles() if role not in (API, SUPERVISOR)]
