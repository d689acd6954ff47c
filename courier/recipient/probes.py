"""Probing in an outage: which sender probes, when it connects, and when it asks for a message to probe with."""

from __future__ import annotations

from typing import Final

from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard, Slot, kind_of
from courier.recipient.phase import Phase
from courier.recipient.rate_limit import RateLimit
from courier.recipient.shared_breaker import SharedBreaker

LOST_PROBE_SECONDS: Final = 5.0
"""Seconds after which a missing probe is requested again: the worker that had it may have died."""

CONNECT_EVERY_SECONDS: Final = 1.0
"""Seconds between attempts to connect while connecting fails; an attempt costs no message."""

FRESH_SECONDS: Final = 2.0
LONGEST_FRESH_SECONDS: Final = 120.0
"""The first and the longest time between probes with newly received messages, after all messages in memory failed.
Each new message costs a receive."""

NOTHING: Final = 0
TRIED: Final = 1
UNTRIED: Final = 2
"""What a sender could probe with: no message or no free slot; only messages that had their turn in this outage; or a
message that hasn't had its turn, or a probe in flight."""


class Probes:
    """One sender's part in probing. All instants are monotonic seconds.

    - ``is_prober``: this sender probes for all, also during the start.
    - ``is_leaving``: the sender drains, and sends nothing more.
    - ``fresh``: messages that it has requested in this outage after all messages in memory had failed.
    """

    def __init__(
        self, slot: Slot, board: Scoreboard, breaker: SharedBreaker, rate: RateLimit, cool_down: float
    ) -> None:
        """``cool_down`` is the shortest time between two probes, in seconds."""
        self.is_prober = self.is_leaving = False
        self.fresh = 0
        self._slot = slot
        self._probed_at = scoreboard.PROBED_AT + board.roles_of(kind_of(slot.role)).index(slot.role)
        self._board = board
        self._breaker = breaker
        self._rate = rate
        self._cool_down = cool_down
        self._connect_at = 0.0
        self._fresh_at = self._fresh_after = 0.0
        self._fresh_since = self._fresh_asked_at = 0.0

    def refresh(self, now: float) -> None:
        """Update ``is_prober``. Call it after the breaker's refresh."""
        phase = self._breaker.phase
        self.is_prober = not phase.delivers and not self.is_leaving and self._is_first(now)
        if not (self.is_prober and phase.is_outage):
            self._fresh_asked_at = 0.0
        if not (self.is_prober and not phase.is_shut):
            self.withdraw()

    def _is_first(self, now: float) -> bool:
        """Return whether this sender probes for all.

        That is the first live sender of those that have the most to probe with, then of those with a message in memory.
        Any other sender would have to request a message, and a quiet queue has none but those in memory.
        """
        own = self._slot
        claim = _claim_to_probe(own)
        return not any(
            slot.words[scoreboard.STATE] == scoreboard.READY
            and slot.index != own.index
            and _claim_to_probe(slot) > claim
            for slot in self._board.beating(self._slot.role, now)
        )

    def publish_supply(self, supply: int) -> None:
        """Show the others what this sender could probe with: NOTHING, TRIED or UNTRIED."""
        self._slot.words[scoreboard.PROBES_WITH] = supply

    @property
    def overdue_seconds(self) -> float:
        """Seconds after which a delivery no longer delays the next probe."""
        reals = self._slot.reals
        return max(CONNECT_EVERY_SECONDS, reals[scoreboard.OPEN_UNTIL] - reals[scoreboard.OPENED_AT])

    def ask(self, now: float) -> None:
        """Ask the consumers for a message to probe with."""
        self._slot.reals[scoreboard.PROBE_WANTED] = now

    def withdraw(self) -> None:
        """Withdraw the request for a message, except one made by :meth:`wants_new_message`."""
        self._slot.reals[scoreboard.PROBE_WANTED] = self._fresh_asked_at

    def wants_connection(self, now: float, *, at_hand: bool) -> bool:
        """Return whether to connect to the recipient now, which costs no message.

        If connecting failed, the sender also connects while the breaker is open, and success ends the cool-down. If no
        message is in memory (``at_hand``), it connects before it requests one, and before it requests one again.
        """
        phase, slot = self._breaker.phase, self._slot
        if not (self.is_prober and phase.is_outage) or now < self._connect_at:
            return False
        if phase is Phase.STOPPED:
            wanted = bool(slot.words[scoreboard.UNREACHABLE])
        else:
            asked = slot.reals[scoreboard.PROBE_WANTED]
            wanted = not at_hand and now - asked >= LOST_PROBE_SECONDS and self._rate.seconds_to_token(now) < 1.0
        if wanted:
            self._connect_at = now + CONNECT_EVERY_SECONDS
        return wanted

    def wants_new_message(self, now: float) -> bool:
        """Request a new message if one is due, after all messages in memory have failed as probes. Return whether.

        Each new message costs a receive, so the time between requests doubles. The request stands until the message
        comes, whatever other probes do meanwhile: on a queue without other messages it is the next one sent.
        """
        if self._fresh_since != self._breaker.since:
            self._fresh_since = self._breaker.since
            self._fresh_after = max(FRESH_SECONDS, self._cool_down)
            self._fresh_at = self._fresh_asked_at = 0.0
            self.fresh = 0
        if self._fresh_asked_at:
            came = max(slot.reals[self._probed_at] for slot in self._board.slots("consumer"))
            if came <= self._fresh_asked_at:
                return False
            self._fresh_asked_at = 0.0
            self._fresh_at = now + self._fresh_after
            self._fresh_after = min(LONGEST_FRESH_SECONDS, 2.0 * self._fresh_after)
        if now < self._fresh_at:
            return False
        self.fresh += 1
        self._fresh_asked_at = now
        self.ask(now)
        return True

    def stop(self) -> None:
        """Take no further part in probing."""
        self.is_leaving = True
        self.is_prober = False
        self.ask(0.0)


def _claim_to_probe(slot: Slot) -> tuple[int, bool, int]:
    words = slot.words
    return words[scoreboard.PROBES_WITH], words[scoreboard.IN_FLIGHT] > 0, -slot.index
