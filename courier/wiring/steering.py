"""The acts of the control socket that need to know more than the supervisor does, about the recipient or all of it."""

from __future__ import annotations

import time
from typing import Any

from courier.api.observed import Observed
from courier.api.readiness import unready
from courier.api.status import state
from courier.board.pause import is_paused, pause_status, read_pause
from courier.board.senders import SENDER
from courier.process import scoreboard
from courier.process.control_protocol import Fields
from courier.process.peer import Peer
from courier.recipient import breaker
from courier.recipient.views import paused_until, read_views


class Steering:
    """The acts on the recipient and on the program as a whole."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def status(self, _: Fields, _peer: Peer) -> dict[str, Any]:
        """Return the state of the program, with the reasons if it isn't ready, and the pause."""
        board, now = self._observed.board, time.monotonic()
        found = unready(self._observed, now)
        reasons, pause = [each.reason for each in found], read_pause(board)
        return {
            "text": f"{state(reasons)}{f', paused by {pause.text()}' if pause else ''}",
            "state": state(reasons),
            "reasons": reasons,
            "advice": [each.advice for each in found],
            "pause": pause_status(board, now),
        }

    def probe(self, _: Fields, _peer: Peer) -> dict[str, Any]:
        """Let the senders probe the recipient now instead of at the end of the cool-down."""
        board, now = self._observed.board, time.monotonic()
        views = read_views(board, SENDER, now)
        if breaker.is_start(views) or breaker.state(views, now) == breaker.CLOSED:
            return {
                "text": f"the circuit breaker is not open, so there is nothing to cut short{self._asked_pause(now)}"
            }
        if breaker.state(views, now) == breaker.HALF_OPEN:
            return {"text": f"the cool-down is over already, the recipient is being probed{self._asked_pause(now)}"}
        board.supervisor.reals[scoreboard.PROBE_ASKED] = now
        paused = "; only with what Courier holds, since receiving is paused" if is_paused(board) else ""
        return {"text": f"the cool-down is cut short, the recipient is probed now{self._asked_pause(now)}{paused}"}

    def _asked_pause(self, now: float) -> str:
        """Return what a probe doesn't cut short: the pause that the recipient itself asked for."""
        seconds = paused_until(self._observed.board, SENDER, now) - now
        return f"; after the {seconds:.0f} seconds that it asked for (Retry-After)" if seconds > 0 else ""
