"""What the API looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from courier import breaker
from courier.endpoint import paused_until, read_views
from courier.process import scoreboard
from courier.process.scoreboard import SUPERVISOR, Scoreboard, Unread, queued

API: Final = "api"
"""The role of this process."""


class Depth(NamedTuple):
    """What waits in a channel: messages (on a FIFO queue runs) or outcomes, and bytes."""

    waiting: int
    bytes: int


class Recipient(NamedTuple):
    """What the senders know of the recipient: the circuit breaker's state and when it is probed, and pauses asked for.

    ``state`` is one of those of :mod:`courier.breaker`. ``next_probe`` is the seconds until an open breaker is probed,
    ``paused`` those for which the recipient asked to be left alone; 0 for none. ``faults`` are in a row.
    """

    state: int
    faults: int
    next_probe: float
    paused: float


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

    def recipient(self, now: float) -> Recipient:
        """Give what the senders know of the recipient at ``now``, monotonic seconds."""
        views = read_views(self.board)
        state = breaker.state(views, now)
        next_probe = breaker.open_until(views) - now if state == breaker.OPEN else 0.0
        return Recipient(state, breaker.faults_in_a_row(views), next_probe, max(0.0, paused_until(self.board) - now))

    def working_roles(self) -> list[str]:
        """Give the roles that the program can't work without."""
        return [role for role in self.board.roles() if role not in (API, SUPERVISOR)]
