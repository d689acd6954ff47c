"""What a sender may send now: the limits of the whole program, its part of them, and the state of the endpoint.

Every sender has one; they know of each other by the scoreboard alone. It answers two questions, how many deliveries may
be under way and when the next may start, and is told what came of each.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from courier import breaker
from courier.adaptive import AdaptiveLimit
from courier.breaker import CLOSED, HALF_OPEN, OPEN, View
from courier.limiter import TokenBucket, share
from courier.policy import Rejected, Retry
from courier.process import scoreboard
from courier.process.scoreboard import GOOD_AT, Scoreboard, Slot

WORTH_RELEASING_SECONDS: Final = 1.0
"""A pause that is shorter is waited out with the messages at hand; a longer one gives them back."""

LOST_PROBE_SECONDS: Final = 5.0
"""A probe that nobody brought is asked for again after this: who had it may have died."""

STARTING_SECONDS: Final = 1.0
"""How long after its start a sender takes the others to be there, seen or not."""

SPIKE_MINIMUM: Final = 20
"""Rejections within the window that are needed before their share means anything."""

log = structlog.get_logger("courier.endpoint")


class Limits(NamedTuple):
    """What a sender is limited to; 0 or ``None`` is no limit. ``rate`` and ``in_flight`` are the whole program's.

    ``senders`` is how many there are at start. ``reject_share`` within ``reject_window`` seconds opens the breaker; 0
    never.
    """

    concurrency: int
    rate: float | None
    in_flight: int | None
    adaptive: bool
    breaker: breaker.Settings
    reject_share: float
    reject_window: float
    senders: int = 1


def read_view(slot: Slot) -> View:
    """Read what a sender has written down about the endpoint."""
    words, reals = slot.words, slot.reals
    return View(
        words[scoreboard.FAULTS_IN_ROW],
        reals[scoreboard.FAULT_AT],
        reals[scoreboard.GOOD_AT],
        reals[scoreboard.OPENED_AT],
        reals[scoreboard.OPEN_UNTIL],
        words[scoreboard.TRIPS],
        reals[scoreboard.CLOSED_AT],
        bool(words[scoreboard.SPIKE]),
    )


def write_view(slot: Slot, view: View) -> None:
    """Write it down; OPENED_AT and CLOSED_AT last, since they are what makes the others count."""
    words, reals = slot.words, slot.reals
    words[scoreboard.FAULTS_IN_ROW] = view.faults
    reals[scoreboard.FAULT_AT] = view.fault_at
    reals[scoreboard.GOOD_AT] = view.good_at
    reals[scoreboard.OPEN_UNTIL] = view.open_until
    words[scoreboard.TRIPS] = view.trips
    words[scoreboard.SPIKE] = view.spike
    reals[scoreboard.OPENED_AT] = view.opened_at
    reals[scoreboard.CLOSED_AT] = view.closed_at


def read_views(board: Scoreboard) -> list[View]:
    """Read the views of all senders that ever were; a view outlives its sender, as the endpoint does."""
    return [read_view(slot) for slot in board.slots("sender")]


def paused_until(board: Scoreboard) -> float:
    """Give the instant until which the receiver asked everybody to wait, monotonic seconds; 0 for never."""
    return max(board.real_column(scoreboard.PAUSED_UNTIL, "sender"))


def breaker_state(board: Scoreboard) -> int:
    """Give the breaker's state as the senders that are alive know it: open where any says so."""
    states = {slot.words[scoreboard.BREAKER] for slot in board.live("sender")}
    return OPEN if OPEN in states else HALF_OPEN if HALF_OPEN in states else CLOSED


class Endpoint:
    """One sender's knowledge of the endpoint. ``limit`` is how many it may have under way; ``state`` the breaker's.

    ``shut`` says that what is at hand shall be given back. ``probing`` that this sender, and no other, may send one
    message to a half-open endpoint. ``is_troubled`` that the state may change by the clock alone, so that somebody has
    to :meth:`look`; ``is_paced`` that a token comes before each delivery.

    ``left_over`` is how many of the deliveries under way were begun before it was shut, at ``shut_at``; whoever counts
    them sets it. They neither keep the probe back nor what follows it.
    """

    def __init__(self, slot: Slot, board: Scoreboard, limits: Limits, now: float) -> None:
        """``now`` is monotonic seconds, as in all calls."""
        self.limit = 0
        self.state = CLOSED
        self.shut = False
        self.probing = False
        self.left_over = 0
        self.shut_at = 0.0
        self.is_troubled = False
        self.is_paced = bool(limits.rate)
        self._slot = slot
        self._reals = slot.reals
        self._board = board
        self._limits = limits
        self._paused = False
        self._leaving = False
        self._ramp = limits.concurrency
        self._is_calm = False
        self._has_breaker = bool(limits.breaker.threshold or limits.reject_share)
        self._adaptive = AdaptiveLimit(limits.concurrency, now) if limits.adaptive else None
        self._bucket = TokenBucket(limits.rate, now, stagger=0.0) if limits.rate else None
        self._staggered = False
        self._is_taking = False
        self._alone_until = now + STARTING_SECONDS
        # Instant, and all rejections and deliveries until then: over the window, and at the latest rejections.
        self._samples: deque[tuple[float, int, int]] = deque()
        self._latest: deque[tuple[float, int, int]] = deque(maxlen=SPIKE_MINIMUM)
        self.look(now)

    # What may be sent

    def wait(self, now: float) -> float:
        """Give the seconds until the rate limit lets a delivery begin; 0 for now."""
        wait = self._bucket.wait(now) if self._bucket is not None else 0.0
        return max(0.001, wait) if wait else 0.0

    def spend(self, now: float) -> None:
        """Take the token of a delivery that begins, once :meth:`wait` gave 0."""
        if self._bucket is not None:
            self._bucket.take(now)
            self._show_token()

    def reserve(self, *, taking: bool) -> None:
        """Keep the next token from the eyes of the consumers while a packet is taken for it, and show it afterwards.

        Else one that looks after the packet was taken and before its delivery began would ask for another one.
        """
        self._is_taking = taking
        self._show_token()

    def _show_token(self) -> None:
        if self._bucket is not None:
            self._reals[scoreboard.TOKEN_AT] = math.inf if self._is_taking else self._bucket.due

    def look(self, now: float) -> None:
        """Look at the board: who is there to share with, and what the others know of the endpoint."""
        rank, senders = self._rank(now)
        if self._bucket is not None and self._limits.rate:
            place, parts = self._part(rank, senders)
            if not self._staggered:
                self._bucket = TokenBucket(self._limits.rate / parts, now, place / parts)
                self._staggered = True
            self._bucket.change(self._limits.rate / parts, now)
            self._show_token()
        state = CLOSED
        # Mostly nobody has ever opened it, and then one column of the board tells.
        if self._has_breaker and any(self._board.real_column(scoreboard.OPENED_AT, "sender")):
            state = breaker.state(read_views(self._board), now)
        pause = paused_until(self._board) - now
        if (self.state != CLOSED and state == CLOSED) or (self._paused and pause <= 0):
            self._ramp = breaker.RAMP_START
            # What was rejected before it closed says nothing of now.
            self._forget_rejections()
        self.state, self._paused = state, pause > 0
        self._slot.words[scoreboard.BREAKER] = state
        self.probing = state == HALF_OPEN and self._is_first()
        was_shut, self.shut = self.shut, state == OPEN or pause > WORTH_RELEASING_SECONDS
        if self.shut and not was_shut:
            self.shut_at = now
        elif state == CLOSED and not self._paused and self._ramp >= self._limits.concurrency:
            self.shut_at, self.left_over = 0.0, 0
        self.limit = self._allowed(rank, senders)
        self._slot.words[scoreboard.LIMIT] = self.limit
        self.is_troubled = state != CLOSED or self._paused
        faults = self._slot.words[scoreboard.FAULTS_IN_ROW]
        # A good answer then changes nothing.
        self._is_calm = state == CLOSED and not (faults or self._adaptive) and self._ramp >= self._limits.concurrency

    def leave(self) -> None:
        """Send nothing more: consumers that still saw slots here would receive for them what nobody takes."""
        self._leaving = True
        self.limit = self._slot.words[scoreboard.LIMIT] = 0

    def _rank(self, now: float) -> tuple[int, int]:
        """Give this sender's place among those that are alive or starting, and their number.

        In its first moments it counts those that should be there: else the first to start would take all of a limit.
        """
        own = self._slot.index
        if now < self._alone_until and own < self._limits.senders:
            return own, self._limits.senders
        here = list(map(bool, self._board.column(scoreboard.STATE, "sender")))
        return sum(here[:own]), sum(here[:own]) + 1 + sum(here[own + 1 :])

    def _part(self, rank: int, senders: int) -> tuple[int, int]:
        """Give this sender's place among those that may send at all, and their number: they alone part the rate."""
        in_flight = self._limits.in_flight
        if in_flight is None or in_flight >= senders:
            return rank, senders
        return rank * in_flight // senders, in_flight

    def _is_first(self) -> bool:
        """Say whether no sender before this one is alive: the first one probes for all."""
        return not any(slot.index < self._slot.index for slot in self._board.live("sender"))

    def _allowed(self, rank: int, senders: int) -> int:
        if self._leaving or self.shut or self._paused or (self.state == HALF_OPEN and not self.probing):
            return 0
        limits = self._limits
        if self.state == HALF_OPEN:
            probe = 1 + self.left_over
            return probe if limits.in_flight is None else min(probe, share(limits.in_flight, rank, senders))
        # A fault in a row keeps its slot: so an endpoint that is gone costs one attempt a slot, whatever the threshold.
        allowed = max(1, limits.concurrency - self._slot.words[scoreboard.FAULTS_IN_ROW])
        if self._adaptive is not None:
            allowed = min(allowed, self._adaptive.limit)
        if limits.in_flight is not None:
            allowed = min(allowed, share(limits.in_flight, rank, senders))
        return min(allowed, self._ramp + self.left_over)

    # What came of it

    def good(self, latency: float, in_flight: int, now: float) -> bool:
        """Take note of an answer that doesn't speak against the endpoint; ``True``: more may be sent than before."""
        self._reals[GOOD_AT] = now
        if self._is_calm:
            return False
        slot = self._slot
        troubled = slot.words[scoreboard.FAULTS_IN_ROW] > 0 or self.state != CLOSED
        if troubled:
            view = read_view(slot)
            if self.probing:
                write_view(slot, breaker.closed(view, now))
                log.info("circuit breaker closed: the probe was answered, deliveries resume")
            else:
                write_view(slot, breaker.after_good(view, now))
        if self._ramp < self._limits.concurrency:
            self._ramp += 1
            troubled = True
        if self._adaptive is not None:
            before = self._adaptive.limit
            troubled |= self._adaptive.observe(latency, in_flight, now, pushed_back=False) != before
        if troubled:
            self.look(now)
        return troubled

    def bad(self, outcome: Retry, latency: float, in_flight: int, now: float) -> None:
        """Take note of an answer that asks for a retry, or of none at all."""
        slot = self._slot
        if self._adaptive is not None:
            self._adaptive.observe(latency, in_flight, now, pushed_back=outcome.status in (None, 429, 503))
        if outcome.slow_down:
            pause = min(outcome.slow_down, self._limits.breaker.longest)
            if now + pause > slot.reals[scoreboard.PAUSED_UNTIL]:
                slot.reals[scoreboard.PAUSED_UNTIL] = now + pause
                log.info(
                    "the receiver asks for a pause, deliveries wait", status=outcome.status, seconds=round(pause, 1)
                )
        if outcome.fault:
            views = read_views(self._board)
            write_view(slot, breaker.after_fault(read_view(slot), views, now))
            views[slot.index] = read_view(slot)
            state = breaker.state(views, now)
            if (state == HALF_OPEN and self.probing) or (
                state == CLOSED and breaker.should_open(views, self._limits.breaker)
            ):
                self._open(views, now, outcome.reason)
        self.look(now)

    def rejected(self, rejected: Rejected, latency: float, in_flight: int, now: float) -> bool:
        """Take note of a rejection; ``True``: so many of late that it is rather the endpoint that is wrong.

        It is an answer, and so good for the endpoint; but not the answer to a probe after a spike of rejections.
        """
        if self.probing and breaker.after_spike(read_views(self._board)):
            self._open(read_views(self._board), now, f"the probe was rejected too: {rejected.reason}")
            self.look(now)
            return True
        self.good(latency, in_flight, now)
        limits = self._limits
        if not limits.reject_share or self.state != CLOSED:
            return self.state != CLOSED
        spike = self._find_spike(now)
        if spike is None:
            return False
        rejections, answers = spike
        self._forget_rejections()
        views = read_views(self._board)
        # Another sender may have seen it a moment ago; opened twice, it would stay open for twice as long.
        if breaker.state(views, now) == CLOSED:
            reason = f"{rejections} of {answers} messages rejected, last: {rejected.reason}"
            self._open(views, now, reason, spike=True)
        self.look(now)
        return True

    def _find_spike(self, now: float) -> tuple[int, int] | None:
        """Note a rejection; give the rejections and answers of late where they are a spike.

        It is one by its share of the window. It is one too where nearly all was rejected since one of the latest
        rejections: the many deliveries of before must not hide that the receiver refuses everything now.
        """
        share, window = self._limits.reject_share, self._limits.reject_window
        rejected = self._board.total(scoreboard.REJECTED, "sender")
        delivered = self._board.total(scoreboard.DELIVERED, "sender")
        sample = now, rejected, delivered
        samples, latest = self._samples, self._latest
        for queue in (samples, latest):
            while queue and now - queue[0][0] > window:
                queue.popleft()
        latest.append(sample)
        if not samples or now - samples[-1][0] >= window / 30:
            samples.append(sample)
        for (_, rejected_before, delivered_before), least in (
            (samples[0], share),
            *((sample, (1.0 + share) / 2) for sample in latest),
        ):
            rejections = rejected + 1 - rejected_before
            answers = rejections + delivered - delivered_before
            if rejections >= SPIKE_MINIMUM and rejections >= least * answers:
                return rejections, answers
        return None

    def _forget_rejections(self) -> None:
        self._samples.clear()
        self._latest.clear()

    def connected(self, reason: str | None, now: float) -> None:
        """Take note of how connecting to the half-open endpoint went; ``reason`` is why it didn't."""
        if not self.probing:
            return
        if reason is None:
            self._slot.reals[scoreboard.PROBE_WANTED] = now
            return
        self._open(read_views(self._board), now, reason)
        self.look(now)

    def wants_connection(self, now: float) -> bool:
        """Say whether to connect to the half-open endpoint now: the first time, or since no probe was brought."""
        asked = self._slot.reals[scoreboard.PROBE_WANTED]
        return self.probing and now - asked >= LOST_PROBE_SECONDS

    def seconds_shut(self, now: float) -> float:
        """Give how long from now nothing is sent, the breaker being open or the receiver having asked for a pause.

        Long polls that are open still end before that is over: each could receive what is shown again.
        """
        shut = max(breaker.open_until(read_views(self._board)), paused_until(self._board)) - now
        if shut <= 0.0 and self.state == CLOSED:
            return 0.0
        return max(0.0, shut, max(self._board.real_column(scoreboard.POLLS_UNTIL, "consumer"), default=0.0) - now)

    def _open(self, views: Sequence[View], now: float, reason: str, *, spike: bool = False) -> None:
        slot = self._slot
        view = breaker.opened(read_view(slot), views, self._limits.breaker, now, spike=spike)
        write_view(slot, view)
        slot.reals[scoreboard.PROBE_WANTED] = 0.0
        slot.words[scoreboard.OPENINGS] += 1
        log.warning(
            "circuit breaker open: the endpoint fails, receiving stops until it answers a probe",
            reason=reason,
            faults=breaker.faults_in_a_row(views),
            in_a_row=view.trips,
            next_probe_in=round(view.open_until - now, 1),
        )
