"""The intake of a consumer: claims room on the scoreboard before it asks SQS for messages.

Consumers know of each other only through the scoreboard: each writes what it will ask for before it asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from courier.consumer.backlog import Backlog
from courier.consumer.pool import Pool
from courier.consumer.room import ReceiveLatency, clip_asks, granted_room
from courier.consumer.routing import Match
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Scoreboard, Slot

PATIENCE_SECONDS: Final = 0.5
"""Seconds that room for a few messages waits to become room for a batch: other slots may be busy for an hour."""

STARTING_SECONDS: Final = 10.0
"""Seconds for which the start of the program waits for the senders of all routes before it receives."""


class RouteWork(NamedTuple):
    """The way to a route's senders: their ``role``, the channel that they read from, and their rate limit.

    ``match`` says which messages they get.
    """

    role: str
    match: Match
    work: Channel
    rate_limit: float | None


class Intake:
    """One consumer's view of the room. Silent workers don't count.

    ``pools`` are the pools of senders, the first one that of ``--recipient-url``. As of the last :meth:`claim`,
    ``left`` is for how many messages there was room beyond what was claimed; it may be negative.
    """

    def __init__(
        self,
        slot: Slot,
        board: Scoreboard,
        channels: tuple[Channel, Channel],
        batch_size: int,
        visibility: int,
        rate_limit: float | None,
        now: float,
        routes: Sequence[RouteWork] = (),
    ) -> None:
        """``channels`` are (work, acks), whose load matters; ``visibility`` is in seconds; ``now`` is monotonic."""
        work, acks = channels
        self.pools = [Pool(board, work, visibility, rate_limit, now)]
        for place, route in enumerate(routes, 1):
            self.pools.append(Pool(board, route.work, visibility, route.rate_limit, now, route.role, place))
        self.left = 0
        self.distance = ReceiveLatency()
        self._slot = slot
        self._board = board
        self._backlog = Backlog(board, acks)
        self._batch_size = batch_size
        self._seconds = 0.0
        self._room_since = math.inf
        self._fills_idle_slots = False
        self._ask = board.view(scoreboard.ASKED, "consumer")
        # Until then no consumer can be silent: the beat of each is recent enough.
        self._all_heard_until = -math.inf

    def claim(self, now: float, receives: int) -> list[int]:
        """Claim room on the board for up to ``receives`` receives. Return the number of messages for each.

        The list is empty if there isn't enough room to be worth a call. The consumer takes its claims back from ASKED
        as it puts the messages into the channel, and the rest when the receive ends.
        """
        words = self._slot.words
        # Read in the order in which a message moves: one that moves on meanwhile is counted twice, never missed.
        asked = sum(self._asked(now))
        space, most = self._available_room(now, asked)
        free = space - asked
        self.left = free - receives * self._batch_size
        if free <= 0:
            self._room_since = math.inf
            return []
        asks = self._asks(min(free, receives * self._batch_size), most, now)
        if asks:
            before = words[scoreboard.ASKED]
            words[scoreboard.ASKED] = before + sum(asks)
            claimed = self._asked(now)
            if self._fills_idle_slots:
                # Of two messages for one slot, one would wait beyond its lease. So a consumer that sees another claim
                # steps back, and reads the slots again, because earlier claims may have filled them.
                space = min(space, sum([pool.look_again(now) for pool in self.pools]))
                kept = space - sum(claimed) + claimed[self._slot.index]
            else:
                kept = granted_room(self._slot.index, claimed, space)
            words[scoreboard.ASKED] = kept = min(before + sum(asks), max(before, kept))
            asks = clip_asks(asks, kept - before)
        return asks

    def _asked(self, now: float) -> list[int]:
        """Return what each consumer asks for. Its own claim counts, however late its beat is."""
        asked = self._ask.tolist()
        if now < self._all_heard_until:
            return asked
        since = now - scoreboard.SILENT_SECONDS
        beats = self._board.real_column(scoreboard.BEAT, "consumer")
        # An empty slot asks for nothing, and who comes into it beats first.
        states = self._board.column(scoreboard.STATE, "consumer")
        oldest = min(
            (beat for beat, state in zip(beats, states, strict=True) if state != scoreboard.EMPTY), default=now
        )
        if oldest > since:
            self._all_heard_until = oldest + scoreboard.SILENT_SECONDS
            return asked
        own = self._slot.index
        return [
            count if beat > since or index == own else 0
            for index, (count, beat) in enumerate(zip(asked, beats, strict=True))
        ]

    def _asks(self, count: int, most: int, now: float) -> list[int]:
        """Divide the free room into receives, each worth a call."""
        # If few slots or a rate limit never leave much room, little room is worth a call.
        worth = min(self._batch_size, max(1, most // 2))
        self._room_since = min(self._room_since, now)
        patience = PATIENCE_SECONDS
        if self._fills_idle_slots and self._seconds:
            # No slot finds its next message waiting, and none should stand idle for long.
            patience = min(patience, self._seconds / 20)
        if count < worth and now - self._room_since >= patience:
            worth = count
        asks = []
        while count >= worth:
            asks.append(min(count, self._batch_size))
            count -= asks[-1]
        if asks:
            self._room_since = math.inf
        return asks

    def _available_room(self, now: float, asked: int) -> tuple[int, int]:
        """Return the room before any consumer's asks, 0 while intake is paused, and how much is worth a call at most.

        ``asked`` is what all consumers ask for.
        """
        self._fills_idle_slots = False
        if self._backlog.pauses_intake(now):
            return 0, 0
        room = most = slots = 0
        self._seconds = 0.0
        for pool in self.pools:
            room += pool.look(now, self.distance.seconds)
            most += pool.most
            slots += pool.senders.slots
            if pool.fills_idle_slots:
                self._fills_idle_slots = True
                self._seconds = max(self._seconds, pool.senders.seconds)
        if len(self.pools) > 1 and self._is_starting(now):
            return 0, 0
        if not slots and self._must_fetch_probe(now):
            # Messages that open polls of others still wait for must not hold up the probe.
            return 1 + asked, most
        return room, most

    def _is_starting(self, now: float) -> bool:
        """Return whether the program starts and senders of a route aren't there yet: its messages would be hidden."""
        supervisor = self._board.supervisor
        if supervisor.words[scoreboard.STATE] >= scoreboard.READY:
            return False
        is_early = now - supervisor.reals[scoreboard.STARTED] < STARTING_SECONDS
        return is_early and not all(pool.senders.number for pool in self.pools)

    def _must_fetch_probe(self, now: float) -> bool:
        """Return whether this consumer must receive a probe that a sender wants and that hasn't come yet.

        Only the first consumer that beats does so, and only with no receive in progress.
        """
        if self._slot.words[scoreboard.ASKED]:
            return False
        if not any(not pool.is_paused(now) and pool.wants_probe(now) for pool in self.pools):
            return False
        return not [slot for slot in self._board.beating("consumer", now) if slot.index < self._slot.index]
