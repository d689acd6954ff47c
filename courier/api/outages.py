"""The times at which the circuit breaker was open within the last hour, as this process saw them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from courier.api.instants import unix
from courier.board.recent_failures import RecentFailure, recent_failures
from courier.board.senders import SENDER
from courier.process.scoreboard import Scoreboard
from courier.recipient import breaker
from courier.recipient.breaker import View
from courier.recipient.content import reason_of
from courier.recipient.policy import FAULTS
from courier.recipient.views import read_views

HOUR: Final = 3600.0
MOST: Final = 1000
"""Outages kept; a breaker that opens more often within an hour shows the latest."""

SHOWN: Final = 50
"""Outages in the answer; the time that the breaker was open counts all of them."""


class Outage:
    """One time from the opening of the breaker until it was closed; ``closed`` is 0 until then. Monotonic seconds."""

    __slots__ = ("closed", "opened", "reason")

    def __init__(self, opened: float, reason: str) -> None:
        self.opened = opened
        self.closed = 0.0
        self.reason = reason


class Outages:
    """The outages of the last hour. The board has the last one, so one that began before this process counts too."""

    def __init__(self, board: Scoreboard, role: str = SENDER) -> None:
        """``role`` is that of the senders whose breaker it is."""
        self._board = board
        self._role = role
        self._outages: deque[Outage] = deque(maxlen=MOST)

    def look(self, now: float) -> None:
        """Note an opening or a closing; call it once a second. ``now`` is in monotonic seconds."""
        while self._outages and 0.0 < self._outages[0].closed < now - HOUR:
            self._outages.popleft()
        last = breaker.newest(read_views(self._board, self._role, now))
        closed = last.closed_at if last.closed_at > last.opened_at else 0.0
        newest = self._outages[-1] if self._outages else None
        if last.since > (newest.opened if newest else 0.0) and not 0.0 < closed < now - HOUR:
            if newest and not newest.closed:
                # It was closed and opened again between two looks.
                newest.closed = min(max(newest.opened, last.closed_at), last.since)
            newest = Outage(last.since, _reason(last, self._board, self._role))
            self._outages.append(newest)
        if newest and not newest.closed and closed > newest.opened:
            newest.closed = closed

    def answer(self, now: float, unix_now: float) -> dict[str, Any]:
        """Return the history as /status shows it, the latest outage first, and the time that the breaker was open."""
        began = now - HOUR
        seconds = sum(max(0.0, (each.closed or now) - max(each.opened, began)) for each in self._outages)
        latest = list(self._outages)[-1 : -1 - SHOWN : -1]
        return {
            "history": [
                {
                    "opened_at": unix(each.opened, now, unix_now),
                    "closed_at": unix(each.closed, now, unix_now),
                    "reason": each.reason,
                }
                for each in latest
            ],
            "open_seconds_last_hour": round(seconds, 1),
        }


def merged(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the history of all breakers, the latest outage first, and the time that the one open longest was open."""
    history = sorted((each for one in answers for each in one["history"]), key=itemgetter("opened_at"), reverse=True)
    return {
        "history": history[:SHOWN],
        "open_seconds_last_hour": max(one["open_seconds_last_hour"] for one in answers),
    }


def _reason(view: View, board: Scoreboard, role: str) -> str:
    """Return why the breaker opened: refusals, or the last fault of a delivery."""
    if view.refused:
        number = f"{view.refused} of {view.answers} messages"
        if unsendable := reason_of(view.status):
            return f"{number} can't be sent, the last because of: {unsendable}"
        return f"{number} refused, the last with status {view.status}"
    failures = recent_failures(board.slots(role))
    faults = [each.reason for each in failures if _is_fault(each)]
    return next(iter(faults or [each.reason for each in failures]), "unknown")


def _is_fault(failure: RecentFailure) -> bool:
    return failure.status is None or failure.status in FAULTS
