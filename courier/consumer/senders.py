"""The senders as a consumer sees them on the scoreboard: their slots, their rate, and the tokens of a rate limit."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from courier.board.senders import SENDER
from courier.consumer.room import LATEST_WINDOW_SECONDS, RateMeter
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard, Slot
from courier.process.standby import HAS_ROOM, OFF
from courier.recipient import token_bucket

HEARD_SECONDS: Final = 0.05
"""Seconds for which a sender counts as ready after a check; one that leaves or is gone shows no slots immediately."""


class SenderCapacity(NamedTuple):
    """The capacity of the senders that are ready and beat: their number, their slots, and how many slots stand idle.

    ``seconds`` is how long a delivery occupies a slot, 0 if no sender knows it. ``asleep`` is how many of the senders
    are on standby. ``least_idle`` is the fewest idle slots of a sender that listens for a packet, 0 if none does.
    """

    number: int
    slots: int
    idle: int
    seconds: float
    asleep: int = 0
    least_idle: int = 0


NOBODY: Final = SenderCapacity(0, 0, 0, 0.0)


class SenderView:
    """The senders that are ready and beat. Silent senders don't count.

    ``is_starting``: as of the last :meth:`capacity`, none of them has seen an end of the start.
    """

    def __init__(self, board: Scoreboard, now: float, role: str = SENDER) -> None:
        """Look at the senders ``role``; ``now`` is monotonic seconds."""
        self._board = board
        self._role = role
        self._heard: list[Slot] = []
        self._heard_until = -math.inf
        self.is_starting = True
        self._completed = board.view(scoreboard.COMPLETED, role)
        completed = sum(self._completed)
        self._meter = RateMeter(now, completed)
        self._latest = RateMeter(now, completed, LATEST_WINDOW_SECONDS)

    def capacity(self, now: float) -> SenderCapacity:
        """Return the capacity of the senders."""
        if now >= self._heard_until:
            # The deliveries of a draining sender fill no slot of those that stay.
            heard = self._board.beating(self._role, now)
            self._heard = [sender for sender in heard if sender.words[scoreboard.STATE] == scoreboard.READY]
            self._heard_until = now + HEARD_SECONDS
        slots = idle = busy = asleep = least_idle = 0
        longest = 0.0
        for sender in self._heard:
            words = sender.words
            limit, in_flight = words[scoreboard.LIMIT], words[scoreboard.IN_FLIGHT]
            slots += limit
            busy += in_flight
            duty = words[scoreboard.DUTY]
            if duty == OFF:
                asleep += 1
            if limit > in_flight:
                idle += limit - in_flight
                if duty == HAS_ROOM:
                    least_idle = min(least_idle or limit, limit - in_flight)
            seconds = sender.reals[scoreboard.SLOT_SECONDS]
            if seconds > longest:
                longest = seconds
        if self.is_starting and slots:
            self.is_starting = not any(
                any(self._board.real_column(word, self._role)) for word in (scoreboard.CLOSED_AT, scoreboard.OPENED_AT)
            )
            if self.is_starting:
                # One delivery at a time, whatever the senders show: while they start, several count themselves as the
                # first. One message more would wait until the start is over, and might outlast a short lease.
                slots, idle = 1, max(0, min(idle, 1 - busy))
        return SenderCapacity(len(self._heard), slots, idle, longest, asleep, least_idle)

    def rates(self, now: float) -> tuple[float, float]:
        """Return what the senders complete a second, over several seconds and over half a second."""
        completed = sum(self._completed)
        return self._meter.rate(now, completed), self._latest.rate(now, completed)

    def token_is_due(self, now: float, rate: float, soon: float) -> bool:
        """Return whether a sender may begin a delivery by the instant ``soon`` under the rate limit ``rate``."""
        board, since = self._board, now - scoreboard.SILENT_SECONDS
        # Whichever sender took the last token, the next delivery begins at least this long after it.
        taken_at = max(board.real_column(scoreboard.TOKEN_TAKEN, self._role))
        if taken_at and taken_at + token_bucket.gap(rate) > soon:
            return False
        return any(
            state == scoreboard.READY
            and beat > since
            and limit
            and token_bucket.next_token(at, every, rate, now) <= soon
            for state, beat, limit, at, every in zip(
                board.column(scoreboard.STATE, self._role),
                board.real_column(scoreboard.BEAT, self._role),
                board.column(scoreboard.LIMIT, self._role),
                board.real_column(scoreboard.TOKEN_AT, self._role),
                board.real_column(scoreboard.TOKEN_EVERY, self._role),
                strict=True,
            )
        )
