"""The circuit breaker of the recipient, computed from the views of all senders. Pure: clock and views are passed in.

No process owns the breaker. Each sender writes its own view. Every process computes the same state from the views of
all live senders, so no lock and no vote is needed. A sender *adopts* newer parts of another view. So the state survives
the death of any sender, and an old view that reappears changes nothing:

- A sender counts each fault in its view. The count restarts if any sender has seen a good answer since the last fault.
- When the faults of all senders since the last good answer reach the threshold, the sender with the last fault
  *opens* the breaker: it writes since when and until when.
- A sender also opens the breaker if the recipient refuses everything, and writes how many messages it refused.
- When the time of an open breaker is over, it is *half-open*: the first live sender delivers single messages.
- That sender *closes* the breaker, or opens it again. If refusals opened it, only a delivery closes it.

If nobody has opened or closed the breaker yet, the program *starts*: it is half-open, with one delivery at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

CLOSED: Final = 0
OPEN: Final = 1
HALF_OPEN: Final = 2

STATE_NAMES: Final = {CLOSED: "closed", OPEN: "open", HALF_OPEN: "half-open"}

PATIENCE: Final = 60
"""The time between probes grows to the outage so far divided by this: after a short outage deliveries resume soon."""

LONGEST_GROWN_SECONDS: Final = 8.0
"""The longest time between probes by growth: even after a long outage deliveries resume within seconds."""

START_SECONDS: Final = 1.0
"""The start ends this long after its first delivery began, or after the last refusal."""

START_FAILURES: Final = 3
"""Refusals or faults without a success that open the breaker during the start."""


class View(NamedTuple):
    """One sender's view. All instants are seconds on one monotonic clock; 0 means never.

    ``faults`` counts consecutive faults since the last known good answer. ``opened_at`` is the last opening, including
    those after failed probes; ``since`` is the first one since the breaker was closed, and ``trips`` counts them.
    ``unreachable``: connecting failed. If refusals opened the breaker, ``refused`` of ``answers`` were refusals, the
    last with ``status``; otherwise these are 0. ``tried_at``, ``refused_at`` and ``refusals`` are the first delivery,
    the last refusal and the number of refusals during the start.
    """

    faults: int = 0
    fault_at: float = 0.0
    good_at: float = 0.0
    opened_at: float = 0.0
    open_until: float = 0.0
    since: float = 0.0
    trips: int = 0
    closed_at: float = 0.0
    unreachable: int = 0
    refused: int = 0
    answers: int = 0
    status: int = 0
    tried_at: float = 0.0
    refused_at: float = 0.0
    refusals: int = 0


class BreakerOptions(NamedTuple):
    """``threshold`` consecutive faults open it, 0: never. Seconds between probes: ``cool_down``, up to ``longest``."""

    threshold: int
    cool_down: float
    longest: float


def after_good(view: View, now: float) -> View:
    """Return a sender's view after a good answer."""
    return view._replace(faults=0, good_at=now)


def after_fault(view: View, others: Sequence[View], now: float) -> View:
    """Return a sender's view after a fault; ``others`` are the views of all senders, possibly with its own."""
    last_good = max((other.good_at for other in others), default=0.0)
    known = view.faults if view.fault_at > max(last_good, view.good_at) else 0
    return view._replace(faults=known + 1, fault_at=now)


def faults_in_a_row(views: Sequence[View]) -> int:
    """Count the faults of all senders since the last good answer that any of them saw."""
    last_good = max((view.good_at for view in views), default=0.0)
    return sum(view.faults for view in views if view.fault_at > last_good)


def newest(views: Sequence[View]) -> View:
    """Return the view with the latest opening or closing."""
    return max(views, key=_changed_at, default=View())


def _changed_at(view: View) -> float:
    return max(view.opened_at, view.closed_at)


def state(views: Sequence[View], now: float) -> int:
    """Return the state that follows from all views."""
    last = newest(views)
    if last.closed_at > last.opened_at:
        return CLOSED
    return OPEN if now < last.open_until else HALF_OPEN


def is_start(views: Sequence[View]) -> bool:
    """Return whether nobody has opened or closed the breaker yet."""
    return not any(view.opened_at or view.closed_at for view in views)


def start_is_over(views: Sequence[View], now: float) -> bool:
    """Return whether the first delivery began, and the last refusal came, at least START_SECONDS ago."""
    tried = min((view.tried_at for view in views if view.tried_at), default=0.0)
    latest = max(tried, max((view.refused_at for view in views), default=0.0))
    return tried > 0.0 and now - latest >= START_SECONDS


def adopted(view: View, views: Sequence[View]) -> View:
    """Return a sender's view updated with newer state of others; ``views`` are those of all live senders."""
    if view.faults and max((other.good_at for other in views), default=0.0) > view.fault_at:
        view = view._replace(faults=0)
    last = newest(views)
    if _changed_at(last) <= _changed_at(view):
        return view
    mine = {field: getattr(view, field) for field in ("faults", "fault_at", "good_at")}
    return last._replace(**mine)


def opened(
    view: View,
    views: Sequence[View],
    options: BreakerOptions,
    now: float,
    *,
    refusals: tuple[int, int, int] = (0, 0, 0),
    unreachable: bool = False,
) -> View:
    """Return a sender's view with the breaker opened, or opened again after a failed probe.

    The time until the next probe grows with the outage. If refusals are the reason, ``refusals`` are the number of
    refusals, the number of answers, and the last status. A failed probe doesn't change the first reason: a recipient
    that refused everything and then went down may still refuse everything.
    """
    last = newest(views)
    again = last.opened_at > last.closed_at
    since = last.since if again else now
    pause = min(options.longest, max(options.cool_down, min(LONGEST_GROWN_SECONDS, (now - since) / PATIENCE)))
    refused, answers, status = (last.refused, last.answers, last.status) if again else refusals
    return view._replace(
        opened_at=_after(now, last.closed_at),
        open_until=now + pause,
        since=since,
        trips=last.trips + 1 if again else 1,
        closed_at=last.closed_at,
        unreachable=int(unreachable),
        refused=refused,
        answers=answers,
        status=status,
    )


def cut_short(view: View, views: Sequence[View], now: float) -> View:
    """Return a sender's view with the cool-down ended early: the recipient accepts connections again."""
    last = newest(views)
    return adopted(view, views)._replace(opened_at=_after(now, last.opened_at), open_until=now, unreachable=0)


def closed(view: View, views: Sequence[View], now: float) -> View:
    """Return a sender's view with the breaker closed."""
    return view._replace(closed_at=_after(now, newest(views).opened_at), good_at=now, faults=0)


def _after(now: float, event: float) -> float:
    """Return ``now``, or the next larger instant if the event is not earlier."""
    return now if now > event else math.nextafter(event, math.inf)


def should_open(views: Sequence[View], threshold: int) -> bool:
    """Return whether the consecutive faults have reached the threshold; 0 is never reached."""
    return 0 < threshold <= faults_in_a_row(views)
