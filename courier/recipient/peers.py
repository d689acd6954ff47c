"""The senders that share the limits of the whole program, and this sender's place among them."""

from __future__ import annotations

from typing import Final

from courier.process import scoreboard
from courier.process.scoreboard import SILENT_SECONDS, Scoreboard, Slot

STARTING_SECONDS: Final = 1.0
"""Seconds after its start for which a sender assumes that all others are alive."""


class Peers:
    """The senders that are alive or starting: ``count`` is their number, ``rank`` this sender's place, from 0."""

    def __init__(self, slot: Slot, board: Scoreboard, configured: int, now: float) -> None:
        """``configured`` is the number of senders at the start; ``now`` is monotonic seconds, as in all calls."""
        self.rank, self.count = 0, 1
        self._own = slot.index
        self._role = slot.role
        self._board = board
        self._configured = configured
        self._unsure_until = now + STARTING_SECONDS
        self._refreshed_at = now

    def refresh(self, now: float) -> None:
        """Count the senders.

        Shortly after its start a sender counts all that are configured: otherwise the first one would take the whole
        limit.
        """
        if now - self._refreshed_at > SILENT_SECONDS:
            # This process was suspended, and so perhaps were the others. Give them a moment to beat again.
            self._unsure_until = now + STARTING_SECONDS
        self._refreshed_at = now
        own, unsure = self._own, now < self._unsure_until
        if unsure and own < self._configured:
            self.rank, self.count = own, self._configured
            return
        here = [
            state and (unsure or now - beat < SILENT_SECONDS)
            for state, beat in zip(
                self._board.column(scoreboard.STATE, self._role),
                self._board.real_column(scoreboard.BEAT, self._role),
                strict=True,
            )
        ]
        self.rank = sum(map(bool, here[:own]))
        self.count = self.rank + 1 + sum(map(bool, here[own + 1 :]))

    def place(self, in_flight: int | None) -> tuple[int, int]:
        """Return this sender's place among those that may send, and their number: only they share the rate.

        ``in_flight`` is the limit of deliveries in flight in the whole program.
        """
        if in_flight is None or in_flight >= self.count:
            return self.rank, self.count
        return self.rank * in_flight // self.count, in_flight


def share(limit: int, rank: int, senders: int) -> int:
    """Return the share of a limit for sender ``rank`` (from 0) of all senders; the shares add up to it."""
    return (rank + 1) * limit // senders - rank * limit // senders
