"""The ledger of a long trial: it judges settled messages slice by slice, and then forgets them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from scripts.faults.compact_ids import CompactIds
from scripts.faults.deliveries import Deliveries
from scripts.faults.events import Deleted, Delivery, Held, Received, Sent, Window
from scripts.faults.fault import Limits
from scripts.faults.feeder import Sample
from scripts.faults.oracle import Seen, Verdict, judge, longest_stall

AGE_SECONDS: Final = 60.0
"""A message that was deleted this long ago is settled: all that was in progress then has ended since."""

OVERLAP_SECONDS: Final = 30.0
"""Slices overlap by this much where stalls are measured, so that none is cut in two."""


class _Timed(Protocol):
    @property
    def at(self) -> float: ...


_Event = TypeVar("_Event", bound=_Timed)


class Ledger:
    """The events of messages that are not settled, and the verdict on those that are.

    It is for standard queues: it judges messages one by one, and stalls. A delivery of a message that was
    settled before is ``late``, and a duplicate that nothing explains. ``on_verdict`` gets each slice and its verdict.
    """

    def __init__(self, on_verdict: Callable[[Seen, Verdict], None] | None = None) -> None:
        self._on_verdict = on_verdict
        self.verdicts: list[Verdict] = []
        self.late: set[str] = set()
        self._sent: dict[str, Sent] = {}
        self._deliveries: list[Delivery] = []
        self._received: list[Received] = []
        self._deletes: list[Deleted] = []
        self._held: list[Held] = []
        self._settled = CompactIds()
        self._samples: list[Sample] = []
        self._arrivals: list[Delivery] = []
        self.stall, self.stall_at = 0.0, 0.0

    @property
    def ids(self) -> Collection[str]:
        """The messages that aren't settled."""
        return self._sent.keys()

    def add(
        self,
        sent: Iterable[Sent],
        deliveries: Iterable[Delivery],
        received: Iterable[Received],
        deletes: Iterable[Deleted],
    ) -> None:
        """Add events, each once."""
        self._sent.update((each.message_id, each) for each in sent)
        for delivery in deliveries:
            if delivery.message_id not in self._sent and delivery.message_id in self._settled:
                self.late.add(delivery.message_id)
            self._deliveries.append(delivery)
        self._received += received
        self._deletes += deletes

    def see_stalls(self, samples: Iterable[Sample], windows: Sequence[Window], arrivals: Sequence[Delivery]) -> None:
        """Look for a stall in samples that follow those of the last call."""
        self._samples += samples
        self._arrivals += arrivals
        stall, at = longest_stall(self._arrivals, self._samples, windows)
        self.stall, self.stall_at = max((self.stall, self.stall_at), (stall, at))
        if self._samples:
            begin = self._samples[-1].at - OVERLAP_SECONDS
            self._samples = [each for each in self._samples if each.at >= begin]
            self._arrivals = [each for each in self._arrivals if each.arrived >= begin]

    @property
    def events(self) -> tuple[list[Delivery], dict[str, float]]:
        """The deliveries that aren't settled, and the time at which each message was deleted."""
        return self._deliveries, {each.message_id: each.at for each in self._deletes if each.done}

    def judge(
        self,
        before: float,
        held: Collection[Held],
        recorded: Collection[str],
        **rest: Any,
    ) -> set[str]:
        """Judge and forget the messages that were deleted ``before`` a time, and return their ids.

        ``held`` is what faults explained since the last call, ``recorded`` the messages that have a record now. With an
        infinite time, at the end, all are judged; ``rest`` has the other fields of :class:`Seen`.
        """
        self._held += held
        last = before == float("inf")
        closed = {each.message_id for each in self._deletes if each.done and each.at < before}
        closed = set(self._sent) if last else closed & self._sent.keys()
        seen = Seen(
            sent=[self._sent.pop(name) for name in closed],
            deliveries=_part(self._deliveries, closed),
            received=_part(self._received, closed),
            deletes=_part(self._deletes, closed),
            recorded=recorded,
            held=self._held,
            **rest,
        )
        self.verdicts.append(judge(seen))
        if self._on_verdict is not None:
            self._on_verdict(seen, self.verdicts[-1])
        self._deliveries = [each for each in self._deliveries if each.message_id in self._sent]
        self._received = [each for each in self._received if each.message_id in self._sent]
        self._deletes = [each for each in self._deletes if each.message_id in self._sent]
        self._held = list(_still_open(self._held, self._sent))
        for message_id in closed:
            self._settled.add(message_id)
        return closed

    def failures(self) -> list[str]:
        """Return what did not hold in any slice."""
        reasons = [reason for verdict in self.verdicts for reason in verdict.failures(Limits(), judge_stall=False)]
        return reasons + ([f"{len(self.late)} were delivered after they were settled"] if self.late else [])

    def totals(self) -> dict[str, Any]:
        """Return the sums of all slices."""
        verdicts = self.verdicts
        explained: Counter[str] = Counter()
        for verdict in verdicts:
            explained.update(verdict.explained)
        return {
            "sent": sum(verdict.sent for verdict in verdicts),
            "lost": sum(len(verdict.lost) for verdict in verdicts),
            "unrecorded": sum(len(verdict.unrecorded) for verdict in verdicts),
            "altered": sum(len(verdict.altered) for verdict in verdicts),
            "duplicates": sum(verdict.duplicates for verdict in verdicts),
            "unexplained": sum(len(verdict.unexplained) for verdict in verdicts) + len(self.late),
            "explained": dict(explained),
            "stall": self.stall,
            "most_receives": max((verdict.most_receives for verdict in verdicts), default=0),
        }


def take_before(events: list[_Event], before: float) -> list[_Event]:
    """Cut the events before a time off the front of a list, which another thread may extend meanwhile."""
    count = next((number for number, each in enumerate(events) if each.at >= before), len(events))
    taken = events[:count]
    del events[:count]
    return taken


def rows_before(deliveries: Deliveries, start: int, before: float) -> list[Delivery]:
    """Return the deliveries from a row on that arrived before a time."""
    found: list[Delivery] = []
    for row in range(start, len(deliveries)):
        delivery = deliveries[row]
        if delivery.arrived >= before:
            break
        found.append(delivery)
    return found


def _part(events: Iterable[Any], names: Collection[str]) -> list[Any]:
    return [each for each in events if each.message_id in names]


def _still_open(held: Iterable[Held], sent: Mapping[str, Sent]) -> Iterator[Held]:
    for each in held:
        if left := each.message_ids & sent.keys():
            yield each._replace(message_ids=left)
