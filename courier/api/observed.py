"""The API's view of the scoreboard and the channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from courier.board.senders import SENDER, sender_roles
from courier.process import scoreboard
from courier.process.departure import WATCHER
from courier.process.scoreboard import SUPERVISOR, Scoreboard, Unread, queued
from courier.recipient import breaker
from courier.recipient.views import paused_until, read_views

API: Final = "api"
"""The role of this process."""


class Depth(NamedTuple):
    """The contents of a channel: the number of messages (runs of a FIFO queue) or outcomes, and their bytes."""

    waiting: int
    bytes: int


class RecipientState(NamedTuple):
    """What the senders know about the recipient: the state of the breaker, and the pause that the recipient asked for.

    ``state`` is a state of :mod:`courier.recipient.breaker`. ``faults`` is the number of faults in a row.
    ``next_probe`` is the seconds until an open breaker is half-open, ``paused`` the seconds left of the pause; 0 for
    none. If receiving is stopped because of refusals, ``refused`` of ``answers`` answers were refusals, the last one
    with ``status``; otherwise all three are 0.
    """

    state: int
    faults: int
    next_probe: float
    paused: float
    refused: int = 0
    answers: int = 0
    status: int = 0


class Observed(NamedTuple):
    """What the API observes: the board, the two channels, and those to the senders of each route, by their role."""

    board: Scoreboard
    work: Unread
    acks: Unread
    routes: Mapping[str, Unread] = {}

    def depths(self) -> Mapping[str, Depth]:
        """Return the contents of each channel, by its name."""
        found = {}
        for place, (role, work) in enumerate({SENDER: self.work, **self.routes}.items()):
            waiting = queued(work, self.board, scoreboard.PUT + place, scoreboard.TAKEN, role)
            size = queued(work, self.board, scoreboard.PUT_BYTES + place, scoreboard.TAKEN_BYTES, role)
            found[role.replace(SENDER, "work", 1)] = Depth(waiting, size)
        acks = queued(self.acks, self.board, scoreboard.SETTLE_PUT, scoreboard.SETTLE_TAKEN)
        return {**found, "acks": Depth(acks, self.acks.unread_bytes())}

    def worst_recipient(self, now: float) -> RecipientState:
        """Return what the senders know about the recipient that is worst off; there are several with routes."""
        found = [self.recipient(now, role) for role in sender_roles(self.board)]
        return max(found, key=lambda each: (each.state != breaker.CLOSED, each.refused, each.paused))

    def recipient(self, now: float, role: str = SENDER) -> RecipientState:
        """Return what the senders ``role`` know about their recipient at ``now`` (monotonic seconds)."""
        views = read_views(self.board, role, now)
        state, last = breaker.state(views, now), breaker.newest(views)
        next_probe = last.open_until - now if state == breaker.OPEN else 0.0
        paused = max(0.0, paused_until(self.board, role, now) - now)
        refusals = (last.refused, last.answers, last.status) if state != breaker.CLOSED else (0, 0, 0)
        return RecipientState(state, breaker.faults_in_a_row(views), next_probe, paused, *refusals)

    def working_roles(self) -> list[str]:
        """Return the roles that the program can't work without."""
        return [role for role in self.board.roles() if role not in (API, SUPERVISOR, WATCHER)]
