"""A queue in memory on a test's clock: standard or FIFO, late, forgetful and unreliable as the test says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from courier.errors import SqsError
from courier.message import Attribute, Message
from courier.sqs.batch import EntryFailure, Outgoing
from courier.sqs.queue import QueueDepth
from courier.sqs.received import Received
from tests.unit.virtual_time import Clock

GONE = EntryFailure("MessageNotInflight", "it isn't hidden", True)


@dataclass
class Stored:
    message_id: str
    body: bytes
    group: str = ""
    attributes: tuple[Attribute, ...] = ()
    sent_ms: int = 0
    visible_at: float = 0.0
    receipt: str = ""
    receives: int = 0
    received_at: float = 0.0


@dataclass
class DeadQueue:
    """What a scan calls. ``fails`` is the share of calls that fail, ``empties`` that of receives that find nothing."""

    clock: Clock
    fifo: bool = False
    fails: float = 0.0
    empties: float = 0.0
    seed: int = 0
    count_is_late: bool = False
    stored: dict[str, Stored] = field(default_factory=dict)
    calls: int = 0
    refuses: frozenset[bytes] = frozenset()
    taken: list[Outgoing] = field(default_factory=list)
    deduplication_ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def put(self, *ids: str, group: str = "") -> None:
        for each in ids:
            self.stored[each] = Stored(each, each.encode(), group)

    def hidden(self) -> list[str]:
        return [each.message_id for each in self.stored.values() if each.visible_at > self.clock.now]

    async def receive(self, count: int, wait_time_seconds: int, visibility_timeout: int, /) -> Received:
        assert 1 <= count <= 10
        await self._call("ReceiveMessage")
        now = self.clock.now
        waiting = [each for each in self.stored.values() if each.visible_at <= now]
        if self.fifo:
            locked = {each.group for each in self.stored.values() if each.visible_at > now}
            waiting = [each for each in waiting if each.group not in locked]
        else:
            self.random.shuffle(waiting)
        if not waiting or self.random.random() < self.empties:
            await asyncio.sleep(wait_time_seconds)
            return Received([], 0, [])
        taken = waiting[:count]
        for each in taken:
            each.receives += 1
            each.receipt = f"{each.message_id}/{each.receives}"
            each.received_at, each.visible_at = now, now + visibility_timeout
        return Received([self._message(each, now + visibility_timeout) for each in taken], 0, [])

    def _message(self, each: Stored, lease: float) -> Message:
        return Message(
            each.message_id,
            each.receipt,
            lease,
            self.clock.now,
            each.receives,
            each.sent_ms,
            0,
            "",
            each.group,
            "",
            each.attributes,
            each.body,
        )

    async def send(self, messages: Sequence[Outgoing], /) -> list[EntryFailure | None]:
        """Take messages; a call that fails may have been taken all the same."""
        assert 1 <= len(messages) <= 10
        assert not self.fifo or len({message.group for message in messages}) == len(messages)
        is_lost = self.random.random() < self.fails
        await asyncio.sleep(self.random.random() * 0.05)
        results = [self._take(message) for message in messages] if self.random.random() < 0.5 or not is_lost else []
        if is_lost:
            raise SqsError("SendMessageBatch", "network", "reset", retriable=True)
        return results

    def _take(self, message: Outgoing) -> EntryFailure | None:
        if message.body in self.refuses:
            return EntryFailure("InvalidMessageContents", "characters", True)
        if self.random.random() < self.fails:
            return EntryFailure("InternalError", "try again", False)
        if message.deduplication_id and message.deduplication_id in self.deduplication_ids:
            return None
        self.deduplication_ids.add(message.deduplication_id)
        self.taken.append(message)
        return None

    async def delete(self, receipts: Sequence[str], /) -> list[EntryFailure | None]:
        await self._call("DeleteMessageBatch")
        return [self._delete(receipt) for receipt in receipts]

    def _delete(self, receipt: str) -> EntryFailure | None:
        each = self.stored.get(receipt.rpartition("/")[0])
        if each is None:
            return None
        if each.receipt != receipt or (self.fifo and each.visible_at <= self.clock.now):
            return GONE
        if self.random.random() < self.fails:
            return EntryFailure("InternalError", "try again", False)
        del self.stored[each.message_id]
        return None

    async def change_visibility(self, entries: Sequence[tuple[str, int]], /) -> list[EntryFailure | None]:
        assert 1 <= len(entries) <= 10
        await self._call("ChangeMessageVisibilityBatch")
        return [self._change(receipt, seconds) for receipt, seconds in entries]

    def _change(self, receipt: str, seconds: int) -> EntryFailure | None:
        each = self.stored.get(receipt.rpartition("/")[0])
        if each is None or each.receipt != receipt or each.visible_at <= self.clock.now:
            return GONE
        assert self.clock.now - each.received_at + seconds <= 43_200, "beyond 12 hours SQS refuses it"
        each.visible_at = self.clock.now + seconds
        return None

    async def depth(self) -> QueueDepth:
        await self._call("GetQueueAttributes")
        hidden = len(self.hidden())
        if self.count_is_late:
            return QueueDepth(len(self.stored), 0, 0)
        return QueueDepth(len(self.stored) - hidden, 0, hidden)

    def close(self) -> None:
        """Do nothing."""

    async def _call(self, action: str) -> None:
        self.calls += 1
        await asyncio.sleep(self.random.random() * 0.05)
        if self.random.random() < self.fails:
            raise SqsError(action, "ServiceUnavailable", "for a while", retriable=True, status=503)
