"""The acts of the control socket that need to know more than the supervisor does, about the recipient or all of it."""

from __future__ import annotations

import time
from typing import Any

from courier.api.observed import Observed
from courier.api.readiness import unready
from courier.api.status import state
from courier.board.pause import is_paused, pause_status, read_pause
from courier.board.senders import sender_roles
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
        all_views = [read_views(board, role, now) for role in sender_roles(board)]
        states = {breaker.state(views, now) for views in all_views if not breaker.is_start(views)}
        if states <= {breaker.CLOSED}:
            return {
                "text": f"the circuit breaker is not open, so there is nothing to cut short{self._asked_pause(now)}"
            }
        if breaker.OPEN not in states:
            return {"text": f"the cool-down is over already, the recipient is being probed{self._asked_pause(now)}"}
        board.supervisor.reals[scoreboard.PROBE_ASKED] = now
        paused = "; only with what Courier holds, since receiving is paused" if is_paused(board) else ""
        return {"text": f"the cool-down is cut short, the recipient is probed now{self._asked_pause(now)}{paused}"}

    def _asked_pause(self, now: float) -> str:
        """Return what a probe doesn't cut short: the pause that the recipient itself asked for."""
        board = self._observed.board
        seconds = max(paused_until(board, role, now) for role in sender_roles(board)) - now
        return f"; after the {seconds:.0f} seconds that it asked for (Retry-After)" if seconds > 0 else ""
