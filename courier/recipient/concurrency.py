"""The limit on one sender's deliveries in flight while the recipient works."""

from __future__ import annotations

from typing import Final

from courier.process import scoreboard
from courier.process.scoreboard import Slot
from courier.recipient.adaptive import AdaptiveLimit
from courier.recipient.peers import Peers, share

RAMP_START: Final = 1
"""The limit right after the breaker has closed. Each good answer raises it by one, so that the load doubles with each
round trip."""


class ConcurrencyLimit:
    """The number of deliveries that one sender may have in flight.

    - ``most``: the configured limit; ``in_flight``: the limit of the whole program; ``adaptive``: the limit that
      follows the recipient.
    - ``ramp``: the limit after an outage or a pause; each good answer raises it by one.
    - ``most_probes``: deliveries that the sender that probes may have in flight, including those that no longer count.
      It is never less than one, whatever the sender's share of other limits: otherwise nothing would be sent again.

    The sender sets these:

    - ``cap``: the limit in a shortage of connections; ``is_stuck``: there are no connections at all.
    - ``kept``: messages in memory that failed and wait for their next attempt; ``is_full``: the sender has no room for
      more of them, so it asks for no new message.
    - ``stale``: deliveries in flight that don't delay a probe, because they began before the sender was shut or are
      overdue.
    """

    def __init__(self, slot: Slot, most: int, in_flight: int | None, *, adaptive: bool, now: float) -> None:
        """``in_flight`` is ``None`` for no limit; ``now`` is monotonic seconds."""
        self.most = self.cap = self.ramp = most
        self.in_flight = in_flight
        self.adaptive = AdaptiveLimit(most, now) if adaptive else None
        self.most_probes = most if in_flight is None else min(most, in_flight)
        self.is_stuck = self.is_full = False
        self.kept = self.stale = 0
        self._words = slot.words

    def allowed(self, peers: Peers, *, is_often: bool) -> int:
        """Return the limit while the breaker is closed; ``is_often``: the recipient often fails."""
        # Each consecutive fault keeps its slot, so a recipient that is down costs one attempt a slot.
        allowed = min(self.cap, max(1, self.most - self._words[scoreboard.FAULTS_IN_ROW]))
        if is_often:
            # Messages kept for another attempt take the place of new ones.
            allowed = max(1, allowed - max(0, self.kept - self.most))
        if self.adaptive is not None:
            allowed = min(allowed, self.adaptive.limit)
        if self.in_flight is not None:
            allowed = min(allowed, share(self.in_flight, peers.rank, peers.count))
        return min(allowed, self.ramp + self.stale)
