"""The pause that the recipient asked for with Retry-After, shared by all senders."""

from __future__ import annotations

import structlog

from courier.log.recurring import RecurringLine
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard, Slot
from courier.recipient.views import paused_until

log = structlog.get_logger("courier.recipient")


class Pause:
    """The pause of all deliveries. ``is_on`` says whether it was on at the last refresh."""

    def __init__(self, slot: Slot, board: Scoreboard, longest: float) -> None:
        """Limit each pause to ``longest`` seconds. Discard what a predecessor left in the slot."""
        self.is_on = False
        self._slot = slot
        self._board = board
        self._longest = longest
        self._slow_line = RecurringLine(
            log, "info", "recipient asked us to slow down (Retry-After); pausing deliveries"
        )
        slot.reals[scoreboard.PAUSED_UNTIL] = 0.0

    def begin(self, seconds: float, status: int | None, now: float) -> None:
        """Pause for ``seconds`` from ``now`` (monotonic seconds), unless a longer pause is on."""
        seconds = min(seconds, self._longest)
        if now + seconds > self._slot.reals[scoreboard.PAUSED_UNTIL]:
            self._slot.reals[scoreboard.PAUSED_UNTIL] = now + seconds
            self._slow_line(status, status=status, seconds=round(seconds, 1))

    def refresh(self, now: float) -> float:
        """Return the remaining seconds, 0 or less without a pause. Keep the pause in case its sender dies."""
        until = paused_until(self._board, self._slot.role, now, self._slot)
        if until > self._slot.reals[scoreboard.PAUSED_UNTIL]:
            self._slot.reals[scoreboard.PAUSED_UNTIL] = until
        self.is_on = until > now
        return until - now

    def seconds(self, now: float) -> float:
        """Return the remaining seconds; 0 without a pause."""
        return max(0.0, self._slot.reals[scoreboard.PAUSED_UNTIL] - now)
