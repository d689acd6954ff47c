"""The circuit breaker as one sender sees it, and as it changes it for all senders.

The rules are in :mod:`courier.recipient.breaker`; the views of the senders are on the scoreboard.
"""

from __future__ import annotations

from typing import Final

import structlog

from courier.log.recurring import RecurringLine
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard, Slot
from courier.recipient import breaker
from courier.recipient.advice import advice
from courier.recipient.breaker import START_FAILURES, BreakerOptions, View
from courier.recipient.content import reason_of
from courier.recipient.phase import Phase
from courier.recipient.views import read_view, read_views, write_view

AT_ONCE: Final = 3
"""Lines of one kind and reason that are logged individually within a minute."""

PHASES: Final = {breaker.CLOSED: Phase.DELIVERING, breaker.OPEN: Phase.STOPPED, breaker.HALF_OPEN: Phase.PROBING}

log = structlog.get_logger("courier.recipient")


class SharedBreaker:
    """One sender's breaker. All instants are monotonic seconds.

    - ``phase``: the phase of the recipient, regardless of a pause.
    - ``since``: when the outage began; 0 without one.
    - ``opens_for_faults``: consecutive faults open it.
    """

    def __init__(self, slot: Slot, board: Scoreboard, options: BreakerOptions, now: float, *, can_open: bool) -> None:
        """Discard the view that a predecessor left in the slot. If nothing can open the breaker, there is no start."""
        self.phase = Phase.DELIVERING
        self.since = 0.0
        self.opens_for_faults = options.threshold > 0
        self._slot = slot
        self._board = board
        self._options = options
        # A recipient that works only for moments opens the breaker again each time.
        self._closed_line = RecurringLine(
            log, "info", "circuit breaker closed: the probe was answered, deliveries resume", at_once=AT_ONCE
        )
        self._still_open_line = RecurringLine(
            log, "warning", "circuit breaker still open: the probe failed", at_once=AT_ONCE
        )
        self._refuses_line = RecurringLine(
            log,
            "warning",
            "circuit breaker open: the recipient refuses messages, receiving stops until it takes one",
            at_once=AT_ONCE,
        )
        self._unsendable_line = RecurringLine(
            log,
            "warning",
            "circuit breaker open: too many messages can't be sent, receiving stops until one can",
            at_once=AT_ONCE,
        )
        self._fails_line = RecurringLine(
            log,
            "warning",
            "circuit breaker open: the recipient fails, receiving stops until it answers a probe",
            at_once=AT_ONCE,
        )
        # A good answer stays true even if its sender is gone: without it, older faults would count again.
        write_view(slot, View(good_at=slot.reals[scoreboard.GOOD_AT]))
        if not can_open:
            write_view(slot, breaker.closed(View(), [], now))

    def refresh(self, now: float) -> None:
        """Update the phase, and adopt what other senders know."""
        closed_at = self._slot.reals[scoreboard.CLOSED_AT]
        # Usually nobody has opened it since it was closed, and one column of the board shows that.
        if closed_at and closed_at > max(self._board.real_column(scoreboard.OPENED_AT, self._slot.role)):
            self._forget_faults()
            if not self.phase.delivers:
                self.phase, self.since = Phase.DELIVERING, 0.0
            return
        views, own = self._views(now), read_view(self._slot)
        known = breaker.adopted(own, views)
        is_start = breaker.is_start(views)
        if is_start and breaker.start_is_over(views, now):
            known = breaker.closed(known, views, now)._replace(good_at=own.good_at, faults=own.faults)
            is_start = False
        if known != own:
            write_view(self._slot, known)
        if is_start:
            self.phase = Phase.STARTING if any(view.tried_at for view in views) else Phase.UNTRIED
        else:
            self.phase = PHASES[breaker.state([*views, known], now)]
            if self.phase is Phase.STOPPED and known.opened_at < self._board.supervisor.reals[scoreboard.PROBE_ASKED]:
                # A person asked for a probe since. Each opening is cut short once, whichever sender does it.
                self.cut_short(now)
                self.phase = Phase.PROBING
        self.since = 0.0 if self.phase.delivers else known.since

    def _forget_faults(self) -> None:
        """Reset the faults before another sender's good answer: that sender may be gone at the next fault."""
        words, reals = self._slot.words, self._slot.reals
        if words[scoreboard.FAULTS_IN_ROW]:
            good_at = max(self._board.real_column(scoreboard.GOOD_AT, self._slot.role))
            if good_at > reals[scoreboard.FAULT_AT]:
                words[scoreboard.FAULTS_IN_ROW] = 0

    def record_good(self, now: float) -> None:
        """Record a good answer after faults."""
        write_view(self._slot, breaker.after_good(read_view(self._slot), now))

    def record_failure(self, began: float, now: float, *, is_fault: bool) -> bool:
        """Record a failure of a delivery that began at ``began``. Return whether it should open the breaker.

        In an outage each failed probe opens it again. A delivery that began before the end of an outage and hung
        doesn't count: it would start another outage.
        """
        slot = self._slot
        if self.phase.is_outage:
            # Whatever the cause, this probe delivered nothing.
            return self.is_probe(began)
        hung = slot.reals[scoreboard.OPENED_AT] > 0.0 and began < slot.reals[scoreboard.CLOSED_AT]
        if hung or not is_fault:
            return False
        write_view(slot, breaker.after_fault(read_view(slot), self._views(now), now))
        threshold = self._options.threshold
        return breaker.should_open(
            self._views(now), min(threshold, START_FAILURES) if self.phase.is_start else threshold
        )

    def is_probe(self, began: float) -> bool:
        """Return whether a delivery that began at ``began`` is a probe: it began since the last opening."""
        return self.phase is Phase.PROBING and began >= self._slot.reals[scoreboard.OPENED_AT]

    @property
    def refuses(self) -> bool:
        """Whether refusals opened the breaker."""
        return read_view(self._slot).refused > 0

    def cut_short(self, now: float) -> None:
        """End the cool-down: the recipient accepts connections again, or a person asked to try it."""
        write_view(self._slot, breaker.cut_short(read_view(self._slot), self._views(now), now))

    def close(self, now: float) -> None:
        """Close the breaker. Call :meth:`refresh` afterwards, as after every change."""
        write_view(self._slot, breaker.closed(read_view(self._slot), self._views(now), now))
        if not self.phase.is_start:
            self._closed_line(None, seconds=round(now - self.since, 1))

    def open(
        self,
        now: float,
        reason: str,
        *,
        status: int | None = None,
        refusals: tuple[int, int, int] = (0, 0, 0),
        unreachable: bool = False,
    ) -> None:
        """Open the breaker, or open it again after a failed probe; see :func:`courier.recipient.breaker.opened`."""
        slot, views = self._slot, self._views(now)
        view = breaker.opened(read_view(slot), views, self._options, now, refusals=refusals, unreachable=unreachable)
        write_view(slot, view)
        slot.words[scoreboard.OPENINGS] += 1
        next_probe_in = round(view.open_until - now, 1)
        if view.trips > 1:
            # Log the first, the second, the fourth … failed probe: an outage may last for days.
            if view.trips & (view.trips - 1) == 0:
                self._still_open_line(
                    reason,
                    reason=reason,
                    advice=advice(status, reason),
                    probes=view.trips - 1,
                    seconds=round(now - view.since, 1),
                    next_probe_in=next_probe_in,
                )
        elif view.refused and reason_of(view.status):
            self._unsendable_line(
                reason,
                refused=view.refused,
                answers=view.answers,
                share=round(view.refused / view.answers, 2),
                reason=reason,
                advice=f"{advice(None, reason)}; the recipient isn't at fault, and no message is lost",
                next_probe_in=next_probe_in,
            )
        elif view.refused:
            self._refuses_line(
                reason,
                status=view.status,
                refused=view.refused,
                answers=view.answers,
                share=round(view.refused / view.answers, 2),
                reason=reason,
                advice=f"{advice(view.status, reason)}; no message is lost, and Courier resumes when one is taken",
                next_probe_in=next_probe_in,
            )
        else:
            self._fails_line(
                reason,
                reason=reason,
                advice=f"{advice(status, reason)}; no message is lost, and Courier resumes when the recipient answers",
                faults=breaker.faults_in_a_row(views),
                next_probe_in=next_probe_in,
            )

    def _views(self, now: float) -> list[View]:
        return read_views(self._board, self._slot.role, now, self._slot)
