"""One sender's share of the rate limit, and what the consumers see of it."""

from __future__ import annotations

import math

from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard, Slot
from courier.recipient.peers import Peers
from courier.recipient.token_bucket import Tokens


class RateLimit:
    """The tokens of one sender, one a delivery. ``is_on`` says whether there is a limit."""

    def __init__(self, slot: Slot, board: Scoreboard, rate: float | None, now: float) -> None:
        """``rate`` is deliveries a second of the whole program, 0 or ``None`` for no limit.

        ``now`` is monotonic seconds, as in all calls.
        """
        self.is_on = bool(rate)
        self._reals = slot.reals
        self._role = slot.role
        self._board = board
        self._tokens = Tokens(rate, board.supervisor.reals[scoreboard.STARTED], now) if rate else None
        self._is_taking = False

    def seconds_to_token(self, now: float) -> float:
        """Return the seconds until a delivery may begin; 0 if it may begin now."""
        tokens = self._tokens
        if tokens is None:
            return 0.0
        wait = tokens.wait(now)
        if not wait and tokens.gap and (taken_at := self._last_token_at()):
            wait = max(0.0, taken_at + tokens.gap - now)
        return max(0.001, wait) if wait else 0.0

    def take_token(self, now: float) -> None:
        """Take a token for a delivery that begins, after :meth:`seconds_to_token` returned 0."""
        if self._tokens is not None:
            if self._tokens.take(now):
                self._reals[scoreboard.TOKEN_TAKEN] = now
            self._publish(now)

    def reserve(self, now: float, *, taking: bool) -> None:
        """Hide the next token from the consumers while the sender takes a packet for it; show it again afterwards.

        Otherwise a consumer could request another message between the packet's arrival and its delivery.
        """
        self._is_taking = taking
        self._publish(now)

    def share(self, peers: Peers, in_flight: int | None, now: float, *, alone: bool) -> None:
        """Divide the rate among the senders that may send. A sender that sends ``alone`` has all of it.

        ``in_flight`` is the limit of deliveries in flight in the whole program.
        """
        if self._tokens is not None:
            place, parts = (0, 1) if alone else peers.place(in_flight)
            self._tokens.share(place, parts, now, self._last_token_at())
            self._publish(now)

    def _last_token_at(self) -> float:
        """Return the instant at which any sender took its latest token."""
        return max(self._board.real_column(scoreboard.TOKEN_TAKEN, self._role))

    def _publish(self, now: float) -> None:
        if self._tokens is not None:
            self._reals[scoreboard.TOKEN_EVERY] = self._tokens.every
            self._reals[scoreboard.TOKEN_AT] = math.inf if self._is_taking else self._tokens.due(now)
