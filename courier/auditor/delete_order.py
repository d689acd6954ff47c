"""The order of deletes: oldest first, and on a FIFO queue never a later one of a group before an earlier one. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from courier.auditor.held_receipts import DELETE, HeldReceipt, HeldReceipts
from courier.auditor.sqs_calls import BATCH


class DeleteOrder:
    """The deletes that wait for their call. ``now`` is in monotonic seconds.

    ``linger`` is the time that a delete may wait for a fuller batch, in seconds.
    """

    def __init__(self, held: HeldReceipts, *, fifo: bool) -> None:
        """``held`` shows which receipts have been settled in the meantime."""
        # A group stays locked until its delete, so a FIFO queue waits less for a full batch.
        self.linger = 0.005 if fifo else 0.1
        self._held = held
        self._fifo = fifo
        self._waiting: deque[HeldReceipt] = deque()
        self._partial_from = 0.0
        # For each FIFO group with a running or postponed delete: its later deletes, in order.
        self._parked: dict[str, deque[HeldReceipt]] = {}

    def stop_gathering(self) -> None:
        """Stop waiting for fuller batches."""
        self.linger = self._partial_from = 0.0

    def add(self, those: Iterable[HeldReceipt], now: float) -> bool:
        """Add the newest deletes. Return whether a call is due now."""
        if not self._waiting:
            self._partial_from = now + self.linger
        self._waiting.extend(those)
        return len(self._waiting) >= BATCH or not self.linger

    def add_first(self, held: HeldReceipt) -> None:
        """Add a delete that goes before all others, because it has waited already."""
        self._waiting.appendleft(held)

    def seconds_to_call(self, now: float) -> float | None:
        """Return the seconds until a call is due, because a batch is full or has waited; ``None`` if nothing waits."""
        if not self._waiting:
            return None
        return 0.0 if len(self._waiting) >= BATCH else max(0.0, self._partial_from - now)

    def take(self, most: int, now: float) -> list[HeldReceipt]:
        """Take up to ``most`` deletes in order. On a FIFO queue a delete that must wait holds back its group.

        A delete waits for a running call for its message. On a FIFO queue it also waits for a running delete of its
        group, and for the failure queue to accept its letter; on other queues it is added only after that.
        """
        batch: list[HeldReceipt] = []
        groups: set[str] = set()
        waiting, all_held, fifo = self._waiting, self._held, self._fifo
        while waiting and len(batch) < most:
            held = waiting.popleft()
            handle = held.handle
            if all_held.get(handle.receipt) is not held or held.goal != DELETE:
                if held.heads_group:
                    held.heads_group = False
                    self.unpark(handle.group)
                continue
            parked = self._parked.get(handle.group) if fifo and not held.heads_group else None
            must_wait = held.calling or (fifo and held.letter)
            if parked is not None and (parked or must_wait or handle.group not in groups):
                parked.append(held)
            elif must_wait:
                held.delete_parked = True
                if fifo:
                    held.heads_group = True
                    self._parked.setdefault(handle.group, deque())
            else:
                held.calling = True
                batch.append(held)
                if fifo:
                    held.heads_group = False
                    groups.add(handle.group)
                    self._parked.setdefault(handle.group, deque())
        if batch:
            self._partial_from = now + self.linger
        return batch

    def unpark(self, group: str) -> None:
        """Release the deletes that wait for an earlier one of their group."""
        waiting = self._parked.pop(group, None)
        if waiting:
            self._waiting.extendleft(reversed(waiting))

    def end_call(self, batch: list[HeldReceipt], failed: list[HeldReceipt]) -> list[HeldReceipt]:
        """Record the end of the call for a batch; return the failed deletes to postpone.

        On a FIFO queue that is the first failed delete of each group; the later ones of the group wait for it.
        """
        if not self._fifo:
            return failed
        heads: dict[str, HeldReceipt] = {}
        for held in reversed(failed):
            if (later := heads.get(held.handle.group)) is not None:
                self._parked[held.handle.group].appendleft(later)
            heads[held.handle.group] = held
        for group in {held.handle.group for held in batch} - heads.keys():
            self.unpark(group)
        return list(heads.values())
