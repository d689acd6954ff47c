"""The backlog behind a consumer: what waits for senders and for the auditor, and whether it pauses intake."""

from __future__ import annotations

from typing import Final

from courier.board.archive import FULL
from courier.board.audit_states import FAILING
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Scoreboard

QUEUED_BYTES_CAP: Final = 64 * 1024 * 1024
"""Bytes that may wait in the work channel. Bodies there are kernel memory that no process owns."""

HELD_CAP: Final = 4_000
"""Outcomes that the auditor may hold unsettled before intake pauses. More cost memory and gain nothing."""

HELD_BYTES_CAP: Final = 64 * 1024 * 1024
"""Bytes of records and letters that may wait in the auditor, for disk or failure queue, before intake pauses."""


class WorkBacklog:
    """The load of one work channel, from the channel and the scoreboard's counters."""

    def __init__(self, board: Scoreboard, work: Channel, role: str, place: int) -> None:
        """The senders ``role`` read from ``work``; ``place`` is theirs among the words of the consumers."""
        self._board = board
        self._role = role
        self._work = work
        # Views, because they are summed at each check.
        self._put = board.view(scoreboard.PUT + place, "consumer")
        self._taken = board.view(scoreboard.TAKEN, role)
        self._put_bytes = board.view(scoreboard.PUT_BYTES + place, "consumer")
        self._taken_bytes = board.view(scoreboard.TAKEN_BYTES, role)

    def queued(self, now: float) -> int:
        """Return how many messages wait in the work channel; on a FIFO queue, how many runs.

        A killed worker leaves a difference in the counters for good. So an empty channel means that nothing waits,
        unless a sender is just taking the last of it.
        """
        queued = sum(self._put) - sum(self._taken)
        return queued if queued > 0 and (self._work.unread_bytes() or self._is_being_taken(now)) else 0

    def has_too_many_bytes(self) -> bool:
        """Return whether the bodies in the work channel use all the memory that they may."""
        return sum(self._put_bytes) - sum(self._taken_bytes) > QUEUED_BYTES_CAP

    def _is_being_taken(self, now: float) -> bool:
        taking = self._board.column(scoreboard.TAKING, self._role)
        if not any(taking):
            return False
        beats = self._board.real_column(scoreboard.BEAT, self._role)
        since = now - scoreboard.SILENT_SECONDS
        return any(one and beat > since for one, beat in zip(taking, beats, strict=True))


class Backlog:
    """The load of the acks channel and of the auditor, from the channel and the scoreboard's counters."""

    def __init__(self, board: Scoreboard, acks: Channel) -> None:
        self._board = board
        self._acks = acks
        self._settle_put = board.view(scoreboard.SETTLE_PUT)
        self._settle_taken = board.view(scoreboard.SETTLE_TAKEN)

    def pauses_intake(self, now: float) -> bool:
        """Return whether intake pauses: no auditor, a failing or full audit log, or too much in memory."""
        board, since = self._board, now - scoreboard.SILENT_SECONDS
        heard = False
        for auditor in board.slots("auditor"):
            words = auditor.words
            if words[scoreboard.STATE] < scoreboard.READY or auditor.reals[scoreboard.BEAT] <= since:
                continue
            heard = True
            if (
                words[scoreboard.AUDIT_FAILING] == FAILING
                or words[scoreboard.ARCHIVE_STATE] == FULL
                or words[scoreboard.HELD] > HELD_CAP
                or words[scoreboard.HELD_BYTES] > HELD_BYTES_CAP
            ):
                return True
        if not heard:
            return True
        # An empty channel overrides the counters, as in queued().
        unsettled = sum(self._settle_put) - sum(self._settle_taken)
        return unsettled > HELD_CAP and self._acks.unread_bytes() > 0
