"""The oracle, which judges what was seen in a trial. It knows nothing of Courier but its promise.

Every message that was sent is delivered at least once and unaltered, is recorded before it is deleted, and is deleted
or lies where it belongs. On a FIFO queue a message of a group is first delivered when the one before was accepted. A
message may be accepted again only if a fault held it: each time that one did explains one duplicate. Where only SQS can
bring it again, SQS must have done so.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from scripts.faults.events import Deleted, Delivery, Held, Received, Sent, Window
from scripts.faults.fault import Limits
from scripts.faults.feeder import Sample

SHOWN: Final = 5
"""How many message ids a reason names."""


@dataclass(frozen=True)
class Seen:
    """All that was seen in a trial.

    ``left`` is what the queue still held at the end, ``dead`` what its dead-letter queue has, and ``rejected`` what
    went to a failure queue. ``unaudited`` says that the program keeps no records.
    """

    sent: Sequence[Sent]
    deliveries: Sequence[Delivery]
    received: Sequence[Received]
    deletes: Sequence[Deleted]
    recorded: Collection[str]
    left: Mapping[str, bytes] = field(default_factory=dict)
    dead: Mapping[str, bytes] = field(default_factory=dict)
    rejected: Collection[str] = frozenset()
    held: Sequence[Held] = ()
    windows: Sequence[Window] = ()
    samples: Sequence[Sample] = ()
    unaudited: bool = False


@dataclass(frozen=True)
class Verdict:
    """What was found. The collections hold message ids; ``stall`` is in seconds, ``receives`` are per message."""

    sent: int
    lost: frozenset[str]
    altered: frozenset[str]
    unrecorded: frozenset[str]
    out_of_order: frozenset[str]
    duplicates: int
    unexplained: frozenset[str]
    explained: Counter[str]
    """How many duplicates each reason explains."""
    stall: float
    stall_at: float
    receives: float
    most_receives: int
    dead: frozenset[str]
    stuck: frozenset[str]

    def failures(self, limits: Limits, *, judge_stall: bool = True) -> list[str]:
        """Return what did not hold, one reason a line; nothing if all held."""
        reasons = [
            f"{len(ids)} {what}: {shown(ids)}"
            for what, ids in (
                ("lost", self.lost),
                ("altered", self.altered),
                ("unrecorded", self.unrecorded),
                ("out of order", self.out_of_order),
                ("duplicates that no fault explains", self.unexplained),
            )
            if ids
        ]
        if len(self.stuck) > limits.stuck:
            reasons.append(f"{len(self.stuck)} still in the queue: {shown(self.stuck)}")
        if limits.dead is not None and len(self.dead) > limits.dead:
            reasons.append(f"{len(self.dead)} dead letters, at most {limits.dead} expected: {shown(self.dead)}")
        if limits.receives is not None and self.most_receives > limits.receives:
            reasons.append(f"one message was received {self.most_receives} times, at most {limits.receives} expected")
        if judge_stall and limits.stall is not None and self.stall > limits.stall:
            reasons.append(f"a stall of {self.stall:.1f} s, at most {limits.stall:.1f} s expected")
        return reasons


def shown(ids: Collection[str]) -> str:
    """Return a few of the ids, in order."""
    first = sorted(ids)[:SHOWN]
    return ", ".join(first) + (" …" if len(ids) > len(first) else "")


def judge(seen: Seen) -> Verdict:
    """Judge a trial."""
    digests = {sent.message_id: sent.digest for sent in seen.sent}
    accepted: Counter[str] = Counter()
    altered: set[str] = set()
    for delivery in seen.deliveries:
        if digests.get(delivery.message_id, delivery.digest) != delivery.digest:
            altered.add(delivery.message_id)
        elif _is_accepted(delivery):
            accepted[delivery.message_id] += 1
    receives = Counter(received.message_id for received in seen.received)
    reasons = _reasons(seen.held, receives)
    kept = seen.left.keys() | seen.dead.keys() | set(seen.rejected)
    lost = digests.keys() - kept - accepted.keys()
    repeated = {name: count - 1 for name, count in accepted.items() if count > 1}
    explained: Counter[str] = Counter()
    for name, count in repeated.items():
        explained.update(reasons.get(name, [])[:count])
    stall, stall_at = longest_stall(seen.deliveries, seen.samples, seen.windows)
    return Verdict(
        sent=len(digests),
        lost=frozenset(lost),
        altered=frozenset(altered),
        unrecorded=frozenset() if seen.unaudited else _unrecorded(seen, digests.keys()),
        out_of_order=frozenset(out_of_order(seen.sent, seen.deliveries, reasons)),
        duplicates=sum(repeated.values()),
        unexplained=frozenset(name for name, count in repeated.items() if count > len(reasons.get(name, []))),
        explained=explained,
        stall=stall,
        stall_at=stall_at,
        receives=receives.total() / max(1, len(receives)),
        most_receives=max(receives.values(), default=0),
        dead=frozenset(seen.dead),
        stuck=frozenset(seen.left),
    )


def _is_accepted(delivery: Delivery) -> bool:
    return delivery.answered is not None and 200 <= delivery.status < 300


def _reasons(held: Iterable[Held], receives: Mapping[str, int]) -> dict[str, list[str]]:
    """Return why each message may have been delivered again, once for each time.

    What needs a further receive explains no more than there were.
    """
    reasons: dict[str, list[str]] = {}
    further = {name: count - 1 for name, count in receives.items()}
    for each in sorted(held, key=lambda each: each.at):
        for name in each.message_ids:
            whys = reasons.setdefault(name, [])
            if each.by_receive:
                further[name] = further.get(name, 0) - 1
            if not each.by_receive or further[name] >= 0:
                whys.append(each.why)
    return reasons


def _unrecorded(seen: Seen, sent: Collection[str]) -> frozenset[str]:
    """Return what was deleted before its record was durable, or is deleted and has no record in the end."""
    early = {delete.message_id for delete in seen.deletes if not delete.recorded}
    deleted = {delete.message_id for delete in seen.deletes if delete.done}
    return frozenset((early | (deleted - set(seen.recorded))) & set(sent))


def out_of_order(sent: Iterable[Sent], deliveries: Iterable[Delivery], ambiguous: Collection[str]) -> Iterator[str]:
    """Yield the messages of groups whose first delivery came before the one before them was accepted.

    Where no answer of the one before was clean, its first delivery counts.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for each in sent:
        if each.group:
            groups[each.group].append(each.message_id)
    if not groups:
        return
    arrived: dict[str, float] = {}
    answered: dict[str, float] = {}
    for delivery in deliveries:
        name = delivery.message_id
        arrived[name] = min(delivery.arrived, arrived.get(name, delivery.arrived))
        if delivery.answered is not None and _is_accepted(delivery):
            answered[name] = min(delivery.answered, answered.get(name, delivery.answered))
    for names in groups.values():
        due = 0.0
        for name in names:
            if name not in arrived:
                continue
            if arrived[name] < due:
                yield name
            end = arrived[name] if name in ambiguous else answered.get(name, arrived[name])
            due = max(due, end)


def longest_stall(
    deliveries: Iterable[Delivery], samples: Sequence[Sample], windows: Sequence[Window]
) -> tuple[float, float]:
    """Return the longest time without a delivery while each count of the queue found a visible message, and its start.

    Only accepted deliveries count, from when they arrived. In the windows no delivery is to be expected: a stall begins
    anew after them.
    """
    marks = sorted(delivery.arrived for delivery in deliveries if _is_accepted(delivery))
    spans = _spans(samples)
    longest, start = 0.0, 0.0
    for begin, end in spans:
        for a, b in _without(begin, end, windows):
            at = a
            for mark in (*_between(marks, a, b), b):
                if mark - at > longest:
                    longest, start = mark - at, at
                at = mark
    return longest, start


def _spans(samples: Sequence[Sample]) -> Iterator[tuple[float, float]]:
    """Yield the spans in which each count found a visible message."""
    begin = None
    for before, sample in zip((None, *samples), samples, strict=False):
        if sample.waits and begin is None:
            begin = sample.at
        if not sample.waits and begin is not None and before is not None:
            yield begin, before.at
            begin = None
    if begin is not None:
        yield begin, samples[-1].at


def _without(begin: float, end: float, windows: Sequence[Window]) -> Iterator[tuple[float, float]]:
    """Yield what is left of a span outside the windows."""
    for window in sorted(windows):
        if window.begin < end and window.end > begin:
            if window.begin > begin:
                yield begin, window.begin
            begin = max(begin, window.end)
    if begin < end:
        yield begin, end


def _between(marks: Sequence[float], begin: float, end: float) -> Sequence[float]:
    return marks[bisect_left(marks, begin) : bisect_right(marks, end)]
