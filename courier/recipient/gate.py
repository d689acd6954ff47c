"""The gate of a sender: whether it may start another delivery, by rate limit, concurrency limit and breaker.

Each sender has one :class:`Gate`. The gates share their state only through the scoreboard. A gate says how many
deliveries may be in flight and when the next one may begin; the sender reports the outcome of each delivery to it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from courier.http.answer import UNREACHABLE
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard, Slot
from courier.recipient.breaker import BreakerOptions
from courier.recipient.concurrency import RAMP_START, ConcurrencyLimit
from courier.recipient.content import code_of
from courier.recipient.fault_share import FaultShare
from courier.recipient.pause import Pause
from courier.recipient.peers import Peers
from courier.recipient.phase import Phase
from courier.recipient.policy import Rejected, Retry
from courier.recipient.probes import Probes
from courier.recipient.rate_limit import RateLimit
from courier.recipient.refusals import RefusalGuard
from courier.recipient.shared_breaker import SharedBreaker

WORTH_SHUTTING_SECONDS: Final = 1.0
"""In a shorter pause messages stay in the channel. In a longer one the sender takes them, to extend their leases."""


class GateOptions(NamedTuple):
    """The configured limits; 0 or ``None`` means no limit. ``rate`` and ``in_flight`` apply to the whole program.

    ``senders`` is their number at start. If more than ``reject_share`` of the messages are refused within
    ``reject_window`` seconds, the breaker opens; 0 means never.
    """

    concurrency: int
    rate: float | None
    in_flight: int | None
    adaptive: bool
    breaker: BreakerOptions
    reject_share: float
    reject_window: float
    senders: int = 1


class Gate:
    """One sender's view of the recipient. All instants are monotonic seconds.

    - ``limit``: deliveries that the sender may have in flight; ``phase``: what the sender may do.
    - ``shut_at``: when the sender was last shut; 0 once the load is back to what it was.
    - ``breaker``, ``probes``, ``rate``, ``concurrency``, ``pause``, ``guard`` and ``faults``: the parts, which the
      sender calls directly.
    """

    def __init__(self, slot: Slot, board: Scoreboard, options: GateOptions, now: float) -> None:
        """``now`` is monotonic seconds, as in all calls. Discards the view that a predecessor left in the slot."""
        can_open = bool(options.breaker.threshold or options.reject_share)
        self.limit = 0
        self.phase = Phase.DELIVERING
        self.shut_at = 0.0
        self.breaker = SharedBreaker(slot, board, options.breaker, now, can_open=can_open)
        self.rate = RateLimit(slot, board, options.rate, now)
        self.probes = Probes(slot, board, self.breaker, self.rate, options.breaker.cool_down)
        self.concurrency = ConcurrencyLimit(
            slot, options.concurrency, options.in_flight, adaptive=options.adaptive, now=now
        )
        self.pause = Pause(slot, board, options.breaker.longest)
        self.guard = RefusalGuard(slot, board, options.reject_share, options.reject_window)
        self.faults = FaultShare(slot, board)
        self._peers = Peers(slot, board, options.senders, now)
        self._words = slot.words
        self._reals = slot.reals
        self._role = slot.role
        self._board = board
        self._is_calm = self._is_settled = False
        self.refresh(now)

    # What may be sent

    def refresh(self, now: float) -> None:
        """Update the state and the limits from the scoreboard: the other senders and their views of the recipient."""
        breaker, probes, concurrency = self.breaker, self.probes, self.concurrency
        before, was_paused = breaker.phase, self.pause.is_on
        self._peers.refresh(now)
        breaker.refresh(now)
        pause, phase = self.pause.refresh(now), breaker.phase
        is_closed = phase.delivers
        if (is_closed and before.is_outage) or (was_paused and pause <= 0):
            concurrency.ramp = RAMP_START
            # Earlier refusals say nothing about the recipient now.
            self.guard.reset()
            self.faults.reset()
        probes.refresh(now)
        is_alone = probes.is_prober and not phase.is_shut
        self.rate.share(self._peers, concurrency.in_flight, now, alone=is_alone)
        if pause > WORTH_SHUTTING_SECONDS:
            phase = Phase.STOPPED if phase.is_outage else Phase.PAUSED
        is_ramping = concurrency.ramp < concurrency.most
        if phase.is_shut and not self.phase.is_shut:
            self.shut_at = now
        elif is_closed and not self.pause.is_on and not is_ramping:
            self.shut_at, concurrency.stale = 0.0, 0
        self.phase = phase
        if probes.is_leaving or phase.is_shut or self.pause.is_on or not (is_closed or is_alone):
            self.limit = 0
        elif is_closed:
            self.limit = concurrency.allowed(self._peers, is_often=self.faults.is_often)
        elif phase.is_start:
            self.limit = 1
        else:
            self.limit = min(concurrency.most_probes, 1 + concurrency.stale)
        # In an outage consumers bring a message only when a probe is requested.
        is_closed_to_consumers = phase.is_outage or concurrency.is_stuck or concurrency.is_full
        self._words[scoreboard.LIMIT] = 0 if is_closed_to_consumers else self.limit
        # Then a good answer changes nothing.
        faults = self._words[scoreboard.FAULTS_IN_ROW]
        self._is_calm = is_closed and not (faults or concurrency.adaptive or is_ramping)
        is_shared = self.rate.is_on or concurrency.in_flight is not None
        is_limited = is_closed_to_consumers or is_shared or self.limit < concurrency.most
        self._is_settled = self._is_calm and not (self.pause.is_on or is_limited)

    def watch(self, now: float) -> bool:
        """Do at ``now`` what a sender that holds nothing needs of a refresh. Return ``False`` if that isn't enough.

        It is enough while deliveries go on, no limit is shared with other senders, and since the last refresh no sender
        has opened the breaker, begun a pause or met a fault. A refresh would then find everything as it was.
        """
        if not (self._is_settled and self.faults.watch(now)):
            return False
        opened_at = max(self._board.real_column(scoreboard.OPENED_AT, self._role))
        paused_until = max(self._board.real_column(scoreboard.PAUSED_UNTIL, self._role))
        return opened_at < self._reals[scoreboard.CLOSED_AT] and paused_until <= now

    @property
    def is_troubled(self) -> bool:
        """Whether the state may change by the clock alone, so that the caller has to :meth:`refresh` it regularly."""
        phase, concurrency = self.phase, self.concurrency
        # Before the first delivery nothing changes by the clock alone.
        has_begun = phase is Phase.STARTING
        return phase.is_outage or self.pause.is_on or has_begun or concurrency.cap < concurrency.most

    def begin(self, now: float) -> None:
        """Record that a delivery has begun. Only the first one of a start matters."""
        if self.breaker.phase is Phase.UNTRIED:
            self._reals[scoreboard.START_TRIED_AT] = now
            self.refresh(now)

    def stop_sending(self) -> None:
        """Stop sending. Show no free slots, so that consumers receive no messages for them."""
        self.probes.stop()
        self.limit = self._words[scoreboard.LIMIT] = 0

    # What came of it

    def record_delivery(self, latency: float, in_flight: int, now: float) -> bool:
        """Record a delivery. Return whether the limit may have risen."""
        self._reals[scoreboard.GOOD_AT] = now
        if self._is_calm:
            return False
        breaker = self.breaker
        if not breaker.phase.delivers:
            self.refresh(now)
        # A delivery that began before the outage says nothing about its end.
        if not breaker.phase.delivers and now - latency >= breaker.since:
            breaker.close(now)
        return self._record_answer(latency, in_flight, now)

    def _record_answer(self, latency: float, in_flight: int, now: float) -> bool:
        """Record an answer that isn't a fault. Return whether the limit may have risen."""
        concurrency = self.concurrency
        changed = not self.breaker.phase.delivers
        if self._words[scoreboard.FAULTS_IN_ROW]:
            self.breaker.record_good(now)
            changed = True
        if concurrency.ramp < concurrency.most:
            concurrency.ramp += 1
            changed = True
        adaptive = concurrency.adaptive
        if adaptive is not None:
            before = adaptive.limit
            changed |= adaptive.observe(latency, in_flight, now, pushed_back=False) != before
        if changed:
            self.refresh(now)
        return changed

    def record_failure_to_deliver(self, outcome: Retry, latency: float, in_flight: int, now: float) -> None:
        """Record an answer that leads to a retry, or no answer at all."""
        adaptive = self.concurrency.adaptive
        if adaptive is not None:
            pushed_back = outcome.fault and outcome.status in (None, 429, 503)
            adaptive.observe(latency, in_flight, now, pushed_back=pushed_back)
        if outcome.slow_down:
            self.pause.begin(outcome.slow_down, outcome.status, now)
        self.refresh(now)
        if self.breaker.record_failure(now - latency, now, is_fault=outcome.fault):
            self._open(now, outcome.reason, status=outcome.status, unreachable=outcome.reason in UNREACHABLE)
        self.refresh(now)

    def record_refusal(
        self,
        rejected: Rejected,
        message_id: str,
        latency: float,
        in_flight: int,
        now: float,
        *,
        is_known: bool = False,
    ) -> None:
        """Record a refusal. It counts as a good answer, unless there are too many.

        If refusals opened the breaker, a refused probe is a failed probe. ``is_known``: the message was refused before,
        so it says nothing new about the recipient.
        """
        self.refresh(now)
        breaker, began = self.breaker, now - latency
        if breaker.phase.is_outage:
            if breaker.refuses:
                if breaker.is_probe(began):
                    self._open(now, f"the probe was refused too: {rejected.reason}", status=rejected.status)
                self.refresh(now)
                return
            if began >= breaker.since:
                breaker.close(now)
        self._reals[scoreboard.GOOD_AT] = now
        self._record_answer(latency, in_flight, now)
        if not self.guard.is_on or breaker.phase.is_outage:
            return
        excess = self.guard.record(message_id, now, is_known=is_known, is_start=breaker.phase.is_start)
        if excess:
            self._open(now, rejected.reason, refusals=(*excess, rejected.status or 0))
        self.refresh(now)

    def record_unsendable(self, reason: str, message_id: str, now: float, *, is_known: bool) -> None:
        """Record a message that can't be sent. It says nothing about the recipient, but too many stop receiving.

        As a probe it delivered nothing, so the outage goes on. ``is_known`` is as in :meth:`record_refusal`.
        """
        self.refresh(now)
        if self.breaker.phase.is_outage:
            if self.breaker.is_probe(now):
                self._open(now, reason)
        elif self.guard.is_on and (excess := self.guard.record(message_id, now, is_known=is_known, is_start=False)):
            self._open(now, reason, refusals=(*excess, code_of(reason)))
        self.refresh(now)

    def record_unsent(self, outcome: Retry, now: float) -> None:
        """Record a message that waits for something other than the recipient. As a probe it delivered nothing."""
        self.refresh(now)
        if self.breaker.phase.is_outage and self.breaker.is_probe(now):
            self._open(now, outcome.reason)
            self.refresh(now)

    def record_connection(self, reason: str | None, now: float, *, at_hand: bool) -> None:
        """Record an attempt to connect to the recipient; ``reason`` is why it failed, ``None`` if it succeeded.

        If there is no message in memory (``at_hand``), a successful attempt asks for one.
        """
        self.refresh(now)
        breaker, probes = self.breaker, self.probes
        if not (probes.is_prober and breaker.phase.is_outage):
            return
        if reason is None:
            if breaker.phase is Phase.STOPPED:
                breaker.cut_short(now)
                self.refresh(now)
            if not at_hand:
                probes.ask(now)
        elif breaker.phase is Phase.PROBING:
            self._open(now, reason, unreachable=True)
            self.refresh(now)

    def _open(
        self,
        now: float,
        reason: str,
        *,
        status: int | None = None,
        refusals: tuple[int, int, int] = (0, 0, 0),
        unreachable: bool = False,
    ) -> None:
        self.probes.withdraw()
        self.breaker.open(now, reason, status=status, refusals=refusals, unreachable=unreachable)
