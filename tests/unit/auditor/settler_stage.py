"""A settler in the test's own loop, and the scripted SQS that it settles with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from courier.auditor.held_receipts import HeldReceipt, HeldReceipts
from courier.auditor.settler import Settler
from courier.errors import SqsError
from courier.lease import boottime
from courier.message import Handle
from courier.process.scoreboard import Scoreboard
from courier.sqs.batch import EntryFailure
from courier.sqs.calls import SettleCalls

THROTTLED = EntryFailure("InternalError", "try later", sender_fault=False)
INVALID = EntryFailure("ReceiptHandleIsInvalid", "expired", sender_fault=True)


class ScriptedSqs:
    """Answers as told: ``fail`` maps a receipt to the failures that its next calls get, in order."""

    def __init__(self) -> None:
        self.fail: dict[str, list[EntryFailure]] = {}
        self.refuse_deletes = False
        self.broken = 0
        self.deletes: list[list[str]] = []
        self.changes: list[list[tuple[str, int]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.open: dict[str, int] = {}
        self.most_open = 0

    async def delete(self, receipts: Sequence[str], /) -> list[EntryFailure | None]:
        self.deletes.append(list(receipts))
        if self.refuse_deletes:
            return [THROTTLED] * len(receipts)
        return await self._answer("DeleteMessageBatch", list(receipts))

    async def change_visibility(self, entries: Sequence[tuple[str, int]], /) -> list[EntryFailure | None]:
        self.changes.append(list(entries))
        return await self._answer("ChangeMessageVisibilityBatch", [receipt for receipt, _ in entries])

    async def _answer(self, action: str, receipts: list[str]) -> list[EntryFailure | None]:
        for receipt in receipts:
            self.open[receipt] = self.open.get(receipt, 0) + 1
            self.most_open = max(self.most_open, self.open[receipt])
        await self.gate.wait()
        await asyncio.sleep(0)
        for receipt in receipts:
            self.open[receipt] -= 1
        if self.broken:
            self.broken -= 1
            raise SqsError(action, "network", "connection refused", retriable=True)
        return [self.fail[r].pop(0) if self.fail.get(r) else None for r in receipts]

    def deleted(self) -> list[str]:
        return [receipt for batch in self.deletes for receipt in batch]


class Stage:
    """A settler and what it settles; all that it counts stays in ``words``. Make it within the loop."""

    def __init__(self, visibility: float = 30, *, fifo: bool = False, calls: SettleCalls | None = None) -> None:
        """``calls`` stands in for the scripted SQS."""
        self.sqs = ScriptedSqs()
        self.words = Scoreboard.create({"auditor": 1}).slots("auditor")[0].words
        self.held = HeldReceipts(self.words)
        self.settler = Settler(calls or self.sqs, self.held, visibility, fifo=fifo, on_change=lambda: None)

    def count(self, index: int) -> int:
        return self.words[index]

    def hold(self, name: str, *, lease: float = 30.0, group: str = "", age: float = 0.0) -> HeldReceipt:
        held = self.held.hold(handle(name, lease, group, age))
        assert held is not None
        return held

    def deliver(self, name: str, *, lease: float = 30.0, group: str = "", age: float = 0.0) -> HeldReceipt:
        return self.held.hold_delivered(handle(name, lease, group, age))


def handle(name: str, lease: float = 30.0, group: str = "", age: float = 0.0) -> Handle:
    """Make a handle whose receipt is its name; ``lease`` and ``age`` are seconds from now."""
    now = boottime()
    return Handle(name, name, now + lease, now - age, group)
