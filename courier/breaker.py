"""The circuit breaker of the endpoint, put together from what each sender sees. Pure: clock and views are passed in.

No process owns the breaker. Each sender writes down its own view; whoever looks at all views at the same instant comes
to the same state. So it survives any process, and needs no lock and no vote:

- a sender that sees a fault counts it, unless somebody has seen a good answer since its last one;
- once the faults of all senders that came after the last good answer reach the threshold, the sender that saw the
  last of them writes that the breaker is *open*, until when, and how often in a row that has happened;
- so does one that sees too many rejections at once: that is a *spike*, and written down too;
- after that instant it is *half-open*: the first sender connects, then delivers a single message;
- it writes that the breaker is *closed*, or opens it again for longer. After a spike only a delivery closes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

CLOSED: Final = 0
OPEN: Final = 1
HALF_OPEN: Final = 2

STATE_NAMES: Final = {CLOSED: "closed", OPEN: "open", HALF_OPEN: "half-open"}

RAMP_START: Final = 1
"""What a sender may have in flight once the breaker has closed. Each good answer allows one more, so that the load
doubles with each round trip rather than coming at once."""


class View(NamedTuple):
    """What one sender has written down. All instants are seconds on one monotonic clock, 0 for never.

    ``faults``: in a row, since a good answer that it knew of. ``trips``: openings in a row, as of ``opened_at``;
    ``spike``: whether rejections were the reason of the first of them.
    """

    faults: int = 0
    fault_at: float = 0.0
    good_at: float = 0.0
    opened_at: float = 0.0
    open_until: float = 0.0
    trips: int = 0
    closed_at: float = 0.0
    spike: bool = False


class Settings(NamedTuple):
    """``threshold`` faults in a row open it, 0 never; ``cool_down`` seconds at first, doubled up to ``longest``."""

    threshold: int
    cool_down: float
    longest: float


def after_good(view: View, now: float) -> View:
    """Give a sender's view after a good answer."""
    return view._replace(faults=0, good_at=now)


def after_fault(view: View, others: Sequence[View], now: float) -> View:
    """Give a sender's view after a fault; ``others`` are the views of all senders, its own may be among them."""
    last_good = max((other.good_at for other in others), default=0.0)
    known = view.faults if view.fault_at > max(last_good, view.good_at) else 0
    return view._replace(faults=known + 1, fault_at=now)


def faults_in_a_row(views: Sequence[View]) -> int:
    """Count the faults of all senders since the last good answer that any of them saw."""
    last_good = max((view.good_at for view in views), default=0.0)
    return sum(view.faults for view in views if view.fault_at > last_good)


def state(views: Sequence[View], now: float) -> int:
    """Give the state that all views together stand for."""
    opened = max(views, key=lambda view: view.opened_at, default=View())
    if not opened.opened_at or max(view.closed_at for view in views) > opened.opened_at:
        return CLOSED
    return OPEN if now < opened.open_until else HALF_OPEN


def open_until(views: Sequence[View]) -> float:
    """Give the instant until which the breaker was last opened; 0 where it never was."""
    return max(views, key=lambda view: view.opened_at, default=View()).open_until


def closed_at(views: Sequence[View]) -> float:
    """Give the instant at which the breaker was last closed; 0 where it never was."""
    return max((view.closed_at for view in views), default=0.0)


def after_spike(views: Sequence[View]) -> bool:
    """Say whether it was rejections that opened the breaker, when it was last opened after having been closed."""
    return max(views, key=lambda view: view.opened_at, default=View()).spike


def opened(view: View, views: Sequence[View], settings: Settings, now: float, *, spike: bool = False) -> View:
    """Give a sender's view with the breaker opened, for longer each time until it has been closed in between.

    ``spike``: by rejections. Where a probe failed, what opened it first still holds: a recipient that went down after
    it had refused everything hasn't shown thereby that it refuses less.
    """
    last = max(views, key=lambda other: other.opened_at, default=View())
    again = bool(last.opened_at) and closed_at(views) <= last.opened_at
    trips = last.trips + 1 if again else 1
    cool_down = min(settings.longest, settings.cool_down * 2.0 ** min(trips - 1, 30))
    spike = last.spike if again else spike
    return view._replace(opened_at=now, open_until=now + cool_down, trips=trips, spike=spike)


def closed(view: View, now: float) -> View:
    """Give a sender's view with the breaker closed by a probe that went well."""
    return view._replace(closed_at=now, good_at=now, faults=0)


def should_open(views: Sequence[View], settings: Settings) -> bool:
    """Say whether the faults in a row have reached the threshold."""
    return 0 < settings.threshold <= faults_in_a_row(views)
