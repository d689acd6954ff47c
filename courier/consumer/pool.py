"""A pool of senders as a consumer sees it: those that deliver to one recipient, and the work channel to them."""

from __future__ import annotations

import math
from typing import Final

from courier.board.senders import SENDER
from courier.consumer.backlog import WorkBacklog
from courier.consumer.room import SLOW_SECONDS, available_room, messages_per_packet, most_waiting, prefetch_target
from courier.consumer.senders import NOBODY, SenderView
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Scoreboard
from courier.recipient import token_bucket
from courier.recipient.views import paused_until

TURN_SECONDS: Final = 0.03
"""Seconds of the senders' work that wait beyond their slots, so that they have some when processes take turns."""


class Pool:
    """One pool. Silent senders don't count.

    As of the last :meth:`look`, ``bundle`` is how many messages a packet may hold, ``senders`` are those that are
    ready, and ``most`` is the greatest room that there can be. ``fills_idle_slots``: nothing may wait for a slot.
    ``role`` is that of the senders, ``place`` their place among the words of the consumers.
    """

    def __init__(
        self,
        board: Scoreboard,
        work: Channel,
        visibility: int,
        rate_limit: float | None,
        now: float,
        role: str = SENDER,
        place: int = 0,
    ) -> None:
        """The senders read from ``work``; ``visibility`` is in seconds; ``now`` is monotonic, as in all calls."""
        self.bundle = 1
        self.senders = NOBODY
        self.most = 0
        self.fills_idle_slots = False
        self.role = role
        self.place = place
        self._board = board
        self._backlog = WorkBacklog(board, work, role, place)
        self._view = SenderView(board, now, role)
        self._visibility = visibility
        self._rate_limit = rate_limit
        self._usable = math.inf if rate_limit is None else token_bucket.usable(rate_limit, visibility)
        self._most = math.inf if rate_limit is None else token_bucket.usable(rate_limit, 1)
        self._is_slow = rate_limit is not None and rate_limit * visibility / 4 < 1
        self._room = 0

    def look(self, now: float, distance: float) -> int:
        """Return how many messages the consumers may request for the pool, without what they have asked for.

        ``distance`` is the duration of a receive, in seconds.
        """
        self.fills_idle_slots = False
        self.senders, self.most, self._room = NOBODY, 0, 0
        if self.is_paused(now):
            return 0
        self.senders = senders = self._view.capacity(now)
        if not senders.slots:
            return 0
        quarter = self._visibility / 4
        if self._is_slow and not self._view.token_is_due(now, self._rate_limit or 1.0, now + quarter):
            # Received at any other time, a message's lease would be over before a token comes.
            return 0
        queued = self._backlog.queued(now)
        if queued and self._backlog.has_too_many_bytes():
            return 0
        self.most = int(min(senders.slots, self._most))
        rate, latest = self._view.rates(now)
        if not 0.0 < senders.seconds <= quarter:
            # A delivery takes too long, or its duration is unknown.
            self.fills_idle_slots = True
            self.bundle = 1
            prefetched = 0
        else:
            # Under a rate limit a free slot has no token of its own: a large packet would leave other senders idle.
            least_idle = senders.least_idle if self._rate_limit is None else 0
            is_slow = senders.asleep > 0 and senders.seconds >= SLOW_SECONDS
            self.bundle = 1 if is_slow else messages_per_packet(latest, least_idle)
            ahead = int(latest * (distance + TURN_SECONDS))
            prefetched = prefetch_target(senders.slots, rate, self._visibility, senders.seconds, ahead)
        self._room = max(0, available_room(senders.idle, prefetched, queued, self._usable))
        return self._room

    def look_again(self, now: float) -> int:
        """Return the room after a claim was made: where no message may wait, earlier claims may have filled it."""
        if not self.fills_idle_slots:
            return self._room
        queued = self._backlog.queued(now)
        # Never negative: what one pool has too much takes no room from the others.
        return max(0, min(self._room, available_room(self._view.capacity(now).idle, 0, queued, self._usable)))

    @property
    def is_closed(self) -> bool:
        """Whether there are senders that deliver nothing at all, as of the last look at them."""
        return self.senders.number > 0 and not self.senders.slots

    def is_paused(self, now: float) -> bool:
        """Return whether the recipient has asked for a pause."""
        return paused_until(self._board, self.role, now) > now

    def wants_probe(self, now: float) -> bool:
        """Return whether a sender wants a message to probe with that hasn't come yet."""
        board = self._board
        if not any(board.real_column(scoreboard.PROBE_WANTED, self.role)):
            return False
        place = scoreboard.PROBED_AT + self.place
        wanted = max((slot.reals[scoreboard.PROBE_WANTED] for slot in board.beating(self.role, now)), default=0.0)
        came = max((slot.reals[place] for slot in board.beating("consumer", now)), default=0.0)
        return wanted > came

    def takes(self, now: float) -> int:
        """Return how many messages (on a FIFO queue: runs) the pool takes at most, with those that wait for its slots.

        It is more than :meth:`look` allows to request: nobody knows for which route the next messages are.
        """
        self.senders = senders = self._view.capacity(now)
        if self.is_paused(now):
            return 0
        if not senders.slots:
            return int(self.wants_probe(now))
        queued = self._backlog.queued(now)
        if queued and self._backlog.has_too_many_bytes():
            return 0
        waiting = most_waiting(senders.slots, self._visibility, senders.seconds, is_start=self._view.is_starting)
        return max(0, available_room(senders.idle + waiting, 0, queued, self._usable))
