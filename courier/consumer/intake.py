"""The intake of a consumer: claims room on the scoreboard before it asks SQS for messages.

Consumers know of each other only through the scoreboard: each writes what it will ask for before it asks.
"""

from __future__ import annotations

import math
from typing import Final

from courier.board.senders import SENDER
from courier.consumer.backlog import Backlog
from courier.consumer.room import (
    SLOW_SECONDS,
    ReceiveLatency,
    available_room,
    clip_asks,
    granted_room,
    messages_per_packet,
    prefetch_target,
)
from courier.consumer.senders import NOBODY, SenderCapacity, SenderView
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Scoreboard, Slot
from courier.recipient import token_bucket

PATIENCE_SECONDS: Final = 0.5
"""Seconds that room for a few messages waits to become room for a batch: other slots may be busy for an hour."""

TURN_SECONDS: Final = 0.03
"""Seconds of the senders' work that wait beyond their slots, so that they have some when processes take turns."""


class Intake:
    """One consumer's view of the room. Silent workers don't count.

    As of the last :meth:`claim`, ``bundle`` is how many messages a packet may hold, and ``left`` for how many messages
    there was room beyond what was claimed; it may be negative.
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
        role: str = SENDER,
    ) -> None:
        """``channels`` are (work, acks), whose load matters; the senders ``role`` read from work.

        ``visibility`` is in seconds; ``now`` is monotonic.
        """
        self.bundle = 1
        self.left = 0
        self.distance = ReceiveLatency()
        self._slot = slot
        self._board = board
        self._role = role
        self._backlog = Backlog(board, *channels, role)
        self._senders = SenderView(board, now, role)
        self._batch_size = batch_size
        self._visibility = visibility
        self._rate_limit = rate_limit
        self._usable = math.inf if rate_limit is None else token_bucket.usable(rate_limit, visibility)
        self._is_slow = rate_limit is not None and rate_limit * visibility / 4 < 1
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
        space, senders = self._available_room(now, asked)
        free = space - asked
        self.left = free - receives * self._batch_size
        if free <= 0:
            self._room_since = math.inf
            return []
        asks = self._asks(min(free, receives * self._batch_size), senders, now)
        if asks:
            before = words[scoreboard.ASKED]
            words[scoreboard.ASKED] = before + sum(asks)
            claimed = self._asked(now)
            if self._fills_idle_slots:
                # Of two messages for one slot, one would wait beyond its lease. So a consumer that sees another claim
                # steps back, and reads the slots again, because earlier claims may have filled them.
                queued = self._backlog.queued(now)
                space = min(space, available_room(self._senders.capacity(now).idle, 0, queued, self._usable))
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

    def _asks(self, count: int, senders: SenderCapacity, now: float) -> list[int]:
        """Divide the free room into receives, each worth a call."""
        # If few slots or a rate limit never leave much room, little room is worth a call.
        slots = senders.slots
        most = slots if self._rate_limit is None else min(slots, token_bucket.usable(self._rate_limit, 1))
        worth = min(self._batch_size, max(1, most // 2))
        self._room_since = min(self._room_since, now)
        patience = PATIENCE_SECONDS
        if self._fills_idle_slots and senders.seconds:
            # No slot finds its next message waiting, and none should stand idle for long.
            patience = min(patience, senders.seconds / 20)
        if count < worth and now - self._room_since >= patience:
            worth = count
        asks = []
        while count >= worth:
            asks.append(min(count, self._batch_size))
            count -= asks[-1]
        if asks:
            self._room_since = math.inf
        return asks

    def _available_room(self, now: float, asked: int) -> tuple[int, SenderCapacity]:
        """Return the room before any consumer's asks, 0 while intake is paused, and the senders that it is for.

        ``asked`` is what all consumers ask for.
        """
        self._fills_idle_slots = False
        if self._backlog.pauses_intake(now):
            return 0, NOBODY
        senders = self._senders.capacity(now)
        if not senders.slots:
            # Messages that open polls of others still wait for must not hold up the probe.
            return (1 + asked if self._must_fetch_probe(now) else 0), senders
        quarter = self._visibility / 4
        if self._is_slow and not self._senders.token_is_due(now, self._rate_limit or 1.0, now + quarter):
            # Received at any other time, a message's lease would be over before a token comes.
            return 0, NOBODY
        queued = self._backlog.queued(now)
        if queued and self._backlog.has_too_many_bytes():
            return 0, NOBODY
        rate, latest = self._senders.rates(now)
        if not 0.0 < senders.seconds <= quarter:
            # A delivery takes too long, or its duration is unknown.
            self._fills_idle_slots = True
            self.bundle = 1
            prefetched = 0
        else:
            # Under a rate limit a free slot has no token of its own: a large packet would leave other senders idle.
            least_idle = senders.least_idle if self._rate_limit is None else 0
            is_slow = senders.asleep > 0 and senders.seconds >= SLOW_SECONDS
            self.bundle = 1 if is_slow else messages_per_packet(latest, least_idle)
            ahead = int(latest * (self.distance.seconds + TURN_SECONDS))
            prefetched = prefetch_target(senders.slots, rate, self._visibility, senders.seconds, ahead)
        return available_room(senders.idle, prefetched, queued, self._usable), senders

    def _must_fetch_probe(self, now: float) -> bool:
        """Return whether this consumer must receive a probe that a sender wants and that hasn't come yet.

        Only the first consumer that beats does so, and only with no receive in progress.
        """
        board = self._board
        if self._slot.words[scoreboard.ASKED] or not any(board.real_column(scoreboard.PROBE_WANTED, self._role)):
            return False
        wanted = max((slot.reals[scoreboard.PROBE_WANTED] for slot in board.beating(self._role, now)), default=0.0)
        came = max((slot.reals[scoreboard.PROBED_AT] for slot in board.beating("consumer", now)), default=0.0)
        before = [slot for slot in board.beating("consumer", now) if slot.index < self._slot.index]
        return wanted > came and not before
