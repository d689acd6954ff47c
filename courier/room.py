"""How much the consumers may ask for: what is wanted in memory, less what is there and what is asked for already.

The consumers know of each other by the scoreboard alone. Each writes down there what it asks for before it asks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from courier import limiter
from courier.audit.committer import FAILING
from courier.breaker import CLOSED, HALF_OPEN
from courier.endpoint import breaker_state, paused_until
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Scoreboard, Slot

QUEUED_BYTES_CAP: Final = 64 * 1024 * 1024
"""Bytes that may wait in the work channel; bodies there are kernel memory that no process owns."""

PATIENCE_SECONDS: Final = 0.5
"""How long room for a few messages waits to become room for a batch: other slots may be busy for an hour."""

AUDITOR_SILENCE_SECONDS: Final = 2.5
"""Without a beat of the auditor for so long intake pauses: what it holds is then only what it held."""

HELD_CAP: Final = 4_000
"""Outcomes that the auditor may hold unsettled before intake pauses: more cost memory and bring nothing."""

HELD_BYTES_CAP: Final = 64 * 1024 * 1024
"""Bytes of records and letters that may wait in the auditor for the disk or the failure queue before intake pauses."""

RATE_WINDOW_SECONDS: Final = 5.0
LATEST_WINDOW_SECONDS: Final = 0.5

LONGEST_DISTANCE_SECONDS: Final = 0.25
"""What a receive is taken to last at most: beyond it SQS is slow rather than far away."""


BUNDLE_SECONDS: Final = 0.001
"""How much work one packet may hold, in seconds of the whole program's rate; a packet saves two system calls."""


TURN_SECONDS: Final = 0.01
"""How much of the senders' work waits for them beyond their slots, so that they have some when processes take turns."""


class RateMeter:
    """The rate at which a counter went up over the last seconds; the clock is passed in."""

    def __init__(self, now: float, count: int, window: float = RATE_WINDOW_SECONDS) -> None:
        """Start at a count; ``window`` in seconds."""
        self._window = window
        self._step = min(0.1, window / 10)
        self._samples: deque[tuple[float, int]] = deque([(now, count)])

    def rate(self, now: float, count: int) -> float:
        """Give the rate a second up to now, over at most the window."""
        samples = self._samples
        if now - samples[-1][0] >= self._step:
            samples.append((now, count))
            while len(samples) > 2 and now - samples[1][0] >= self._window:
                samples.popleft()
        since, before = samples[0]
        return (count - before) / max(now - since, 0.1)


class Distance:
    """How long a receive takes where messages are there, in seconds: quick to fall, slow to rise."""

    def __init__(self) -> None:
        """Start at nothing: until a receive has shown otherwise, SQS is next door."""
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Take note of a receive that brought all that was asked for, and so didn't wait for messages."""
        known = self.seconds
        near = min(seconds, LONGEST_DISTANCE_SECONDS)
        self.seconds = near if near < known or not known else known + (near - known) / 16


def room(
    slots: int, busy: int, rate: float, visibility: float, queued: int, usable: float = math.inf, ahead: int = 0
) -> int:
    """Give how many messages (on a FIFO queue: runs) all consumers together may ask for: what is wanted in memory,
    less what is there.

    Wanted is one for each slot, and ``ahead``, what the senders take while a receive and a turn of all processes go by;
    but never more than they get through in a quarter of the visibility timeout: what waits in memory burns its lease,
    and a receive that lapses counts towards the dead-letter queue. A slot that stands idle now may always be filled:
    what is queued for it doesn't wait, and without that nothing would ever start; but no more than is ``usable`` under
    a rate limit.
    """
    prefetch = min(slots + ahead, int(rate * visibility / 4))
    return int(min(max(prefetch, slots - busy), usable)) - queued


def bundle(rate: float, senders: int, slots: int, busy: int) -> int:
    """Give how many messages one packet may hold.

    What a sender can't start at once waits in it while others may have a free slot. So a packet holds no more than all
    senders together start within a millisecond, or half of the slots that one of them has free on the average.
    """
    return max(1, int(rate * BUNDLE_SECONDS), (slots - busy) // (2 * max(1, senders)))


def split_room(own_index: int, asks: Sequence[int], space: int) -> int:
    """Give what consumer ``own_index`` may keep of its ask, where several asked at the same instant.

    Those of lower index come first; without an order both would step back, or both poll for the same room.
    """
    return max(0, min(asks[own_index], space - sum(asks[:own_index])))


def within(asks: Sequence[int], granted: int) -> list[int]:
    """Give the first of the asks, as far as what was granted goes."""
    kept = []
    for ask in asks:
        if granted <= 0:
            break
        kept.append(min(ask, granted))
        granted -= ask
    return kept


class Room:
    """One consumer's view of the room.

    ``bundle`` is how many messages a packet may hold, as of the last :meth:`claim`.
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
    ) -> None:
        """``channels`` are (work, acks), whose load is looked at; ``visibility`` in seconds; ``now`` is monotonic."""
        self.bundle = 1
        self.distance = Distance()
        self._slot = slot
        self._board = board
        self._work, self._acks = channels
        self._batch_size = batch_size
        self._visibility = visibility
        self._rate_limit = rate_limit
        self._usable = math.inf if rate_limit is None else limiter.usable(rate_limit, visibility)
        self._is_slow = rate_limit is not None and rate_limit * visibility / 4 < 1
        taken = board.total(scoreboard.TAKEN, "sender")
        self._meter = RateMeter(now, taken)
        self._latest = RateMeter(now, taken, LATEST_WINDOW_SECONDS)
        self._room_since = math.inf

    def claim(self, now: float, receives: int) -> list[int]:
        """Claim room on the board for up to so many receives, and give how much for each.

        None where there isn't enough to be worth a call. The consumer takes its claims back from ASKED as the messages
        are put into the channel, and the rest in the end.
        """
        board, words = self._board, self._slot.words
        senders = slots = busy = 0
        for state, limit, in_flight in zip(
            board.column(scoreboard.STATE, "sender"),
            board.column(scoreboard.LIMIT, "sender"),
            board.column(scoreboard.IN_FLIGHT, "sender"),
            strict=True,
        ):
            # What one that drains still has under way fills no slot of those that stay.
            if state == scoreboard.READY:
                senders += 1
                slots += limit
                busy += in_flight
        space = self._space(senders, slots, busy, now)
        free = space - sum(board.column(scoreboard.ASKED, "consumer"))
        if free <= 0:
            self._room_since = math.inf
            return []
        asks = self._asks(min(free, receives * self._batch_size), slots, now)
        if asks:
            before = words[scoreboard.ASKED]
            words[scoreboard.ASKED] = before + sum(asks)
            kept = max(before, split_room(self._slot.index, board.column(scoreboard.ASKED, "consumer"), space))
            words[scoreboard.ASKED] = kept
            asks = within(asks, kept - before)
        return asks

    def _asks(self, count: int, slots: int, now: float) -> list[int]:
        """Part what is free into receives that are worth a call each."""
        # Where few slots or a rate limit leave little room at the best of times, little is worth a call.
        most = slots if self._rate_limit is None else min(slots, limiter.usable(self._rate_limit, 1))
        worth = min(self._batch_size, max(1, most // 2))
        self._room_since = min(self._room_since, now)
        if count < worth and now - self._room_since >= PATIENCE_SECONDS:
            worth = count
        asks = []
        while count >= worth:
            asks.append(min(count, self._batch_size))
            count -= asks[-1]
        if asks:
            self._room_since = math.inf
        return asks

    def _space(self, senders: int, slots: int, busy: int, now: float) -> int:
        """Give the room before anybody's asks; 0 while intake is paused."""
        if self._paused(now):
            return 0
        board = self._board
        if self._is_slow and not self._token_is_due(now):
            return 0
        if any(board.column(scoreboard.BREAKER, "sender")):
            state = breaker_state(board)
            if state != CLOSED:
                # What others still wait for in open polls mustn't keep the probe back.
                asked = board.column(scoreboard.ASKED, "consumer")
                return 1 + sum(asked) if state == HALF_OPEN and self._brings_the_probe() else 0
        taken = board.total(scoreboard.TAKEN, "sender")
        rate, latest = self._meter.rate(now, taken), self._latest.rate(now, taken)
        # Under a rate limit a free slot is no token: each sender has its part of them, and others would stand idle.
        self.bundle = bundle(latest, senders, slots, busy if self._rate_limit is None else slots)
        ahead = int(latest * (self.distance.seconds + TURN_SECONDS))
        queued = 0
        if self._work.unread_bytes():
            queued = max(0, board.total(scoreboard.PUT, "consumer") - taken)
            if board.total(scoreboard.PUT_BYTES) - board.total(scoreboard.TAKEN_BYTES) > QUEUED_BYTES_CAP:
                return 0
        return room(slots, busy, rate, self._visibility, queued, self._usable, ahead)

    def _token_is_due(self, now: float) -> bool:
        """Say whether a sender may begin a delivery within a quarter of the visibility timeout: where tokens are rarer,
        the lease of what is received at any other time would be over before one comes."""
        board, soon = self._board, now + self._visibility / 4
        return any(
            state == scoreboard.READY and limit and at <= soon
            for state, limit, at in zip(
                board.column(scoreboard.STATE, "sender"),
                board.column(scoreboard.LIMIT, "sender"),
                board.real_column(scoreboard.TOKEN_AT, "sender"),
                strict=True,
            )
        )

    def _brings_the_probe(self) -> bool:
        """Say whether this is the first consumer, with nothing under way, and a sender wants a message to probe with
        that hasn't come yet."""
        board = self._board
        wanted = max(board.real_column(scoreboard.PROBE_WANTED, "sender"))
        came = max(board.real_column(scoreboard.PROBED_AT, "consumer"))
        idle = not self._slot.words[scoreboard.ASKED]
        return idle and wanted > came and board.live("consumer")[:1] == [self._slot]

    def _paused(self, now: float) -> bool:
        """Say whether intake stands still: no auditor, a failing audit log, a pause, or too much in memory."""
        board = self._board
        heard = False
        for auditor in board.slots("auditor"):
            words = auditor.words
            if words[scoreboard.STATE] < scoreboard.READY:
                continue
            heard = heard or now - auditor.reals[scoreboard.BEAT] < AUDITOR_SILENCE_SECONDS
            if (
                words[scoreboard.AUDIT_FAILING] == FAILING
                or words[scoreboard.HELD] > HELD_CAP
                or words[scoreboard.HELD_BYTES] > HELD_BYTES_CAP
            ):
                return True
        if not heard or paused_until(board) > now:
            return True
        return scoreboard.queued(self._acks, board, scoreboard.SETTLE_PUT, scoreboard.SETTLE_TAKEN) > HELD_CAP
