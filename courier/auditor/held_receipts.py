"""The receipts that aren't settled: what each waits for, and the counts of how the others ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog

from courier.http.secret_mask import Mask
from courier.lease import boottime
from courier.log.recurring import RecurringLine
from courier.message import Handle, Stamp
from courier.process import scoreboard
from courier.sqs.advice import advice_on
from courier.sqs.batch import EntryFailure

NOTHING: Final = 0
RECORD: Final = 1
DELETE: Final = 2
CHANGE: Final = 3

REMEMBERED: Final = 10
"""Visibility timeouts for which a receipt is remembered after its lease has ended."""

GONE: Final = frozenset({"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"})
"""Error codes of an entry whose receipt handle is no longer valid, so that nothing is left to settle."""

log = structlog.get_logger("courier.settler")


class Removal(Protocol):
    """What removes the objects that the bodies of deleted messages were fetched from."""

    @property
    def is_idle(self) -> bool:
        """Whether no object waits to be removed, or is being removed."""

    @property
    def is_failing(self) -> bool:
        """Whether the last call failed."""

    def add(self, packed: bytes) -> None:
        """Remove the object of a packed :class:`courier.request.content.Pointer` soon."""

    def leave(self, count: int = 1) -> None:
        """Count objects that stay because it isn't certain that their messages are gone."""

    def hurry(self) -> None:
        """Wait for no others, because the program is stopping."""

    def close(self) -> None:
        """Remove nothing more."""


class HeldReceipt:
    """A receipt that isn't settled.

    ``goal`` is NOTHING, RECORD, DELETE or CHANGE; ``extend`` asks for an extension as well. ``letter`` is the packed
    letter of a rejected message. It is empty for all others, and after the failure queue has it. ``stamp`` is that of a
    message with a record.
    """

    __slots__ = (
        "calling",
        "change_parked",
        "delay",
        "delete_parked",
        "expired",
        "extend",
        "extend_after",
        "goal",
        "handle",
        "heads_group",
        "lease",
        "letter",
        "stamp",
        "tries",
    )

    def __init__(self, handle: Handle, goal: int) -> None:
        """``lease`` is first that of the handle; each extension moves it."""
        self.handle = handle
        self.lease = handle.lease
        self.letter = b""
        self.stamp: Stamp = ()
        self.goal = goal
        self.extend = False
        self.calling = False
        self.delay = 0.0
        self.tries = 0
        self.extend_after = 0.0
        self.heads_group = False
        self.delete_parked = False
        self.change_parked = False
        self.expired = not handle.lease


class HeldReceipts(dict[str, HeldReceipt]):
    """The entries of the receipts that aren't settled, by receipt. ``words`` count how they end.

    ``objects`` are the packed pointers to the objects that go with some of them, by receipt.
    """

    def __init__(self, words: memoryview[int], on_lapse: Callable[[Handle, bytes], None] = lambda *_: None) -> None:
        """``words`` are those of the auditor's slot on the scoreboard.

        ``on_lapse`` is called with each lapsed message, and with the event line of the outcome that came too late.
        """
        super().__init__()
        self.words = words
        self.objects: dict[str, bytes] = {}
        self.removal: Removal | None = None
        self._on_lapse = on_lapse
        # The number of those that only need extensions: their deliveries are in flight, or lost.
        self._extended_only = 0
        self._expired_line = RecurringLine(
            log,
            "warning",
            "SQS shows a message again after 12 hours although Courier still holds it: it may be delivered twice",
        )
        self._refused_line = RecurringLine(
            log, "error", "SQS refuses to settle a message; it is shown again when its lease ends"
        )

    def lapsed(self, handle: Handle, line: bytes = b"") -> None:
        """Count an outcome that isn't carried out, because the lease of its message has ended."""
        self.words[scoreboard.LAPSED] += 1
        self._on_lapse(handle, line)

    def hold(self, handle: Handle, line: bytes = b"", *, extends: bool = False) -> HeldReceipt | None:
        """Return the entry of a receipt, a new one if necessary; ``None``, counted as lapsed, if its lease has ended.

        Return ``None`` for a delivered message too, because only its delete is left. With ``extends`` its sender keeps
        the message and may report again; otherwise this is the last report. ``line`` is the event line of the outcome.
        """
        held, now = self.get(handle.receipt), boottime()
        if held is None:
            if handle.lease <= now:
                self.lapsed(handle, line)
                return None
            held = self[handle.receipt] = HeldReceipt(handle, NOTHING)
            self._extended_only += 1
        elif held.goal in (RECORD, DELETE):
            return None
        elif held.lease <= now and not held.calling:
            self.lapsed(handle, line)
            if extends:
                # Its sender doesn't know that the extensions failed, and continues. Remember the end of the lease.
                held.lease = now
            else:
                self.settled(held)
            return None
        return held

    def hold_delivered(self, handle: Handle) -> HeldReceipt:
        """Return the entry of a receipt even if its lease has ended: a delivery is recorded and deleted in any case.

        A lease of 0 means that the sender has already logged the end of the message's 12 hours.
        """
        held = self.get(handle.receipt)
        if held is None:
            held = self[handle.receipt] = HeldReceipt(handle, RECORD)
            return held
        if held.goal == NOTHING:
            self._extended_only -= 1
        held.goal = RECORD
        held.extend = False
        held.expired = not handle.lease
        return held

    def want_change(self, held: HeldReceipt, delay: float) -> None:
        """Set the goal to show the message again after ``delay`` seconds."""
        if held.goal == NOTHING:
            self._extended_only -= 1
        held.goal = CHANGE
        held.delay = delay
        held.extend = False

    def settled(self, held: HeldReceipt) -> None:
        """Forget a receipt that is settled."""
        if self.pop(held.handle.receipt, None) is not None and held.goal == NOTHING:
            self._extended_only -= 1

    def deleted(self, those: Iterable[HeldReceipt]) -> None:
        """Let the objects of deleted messages be removed.

        If a lease had ended, SQS may have shown the message again, and then it accepts a delete without deleting.
        """
        now = boottime()
        for held in those:
            packed = self.objects.pop(held.handle.receipt, None)
            if packed is not None and self.removal is not None:
                if held.lease > now:
                    self.removal.add(packed)
                else:
                    self.removal.leave()

    def unsettled(self) -> int:
        """Return the number of receipts that wait for their record, their delete or their change."""
        return len(self) - self._extended_only

    def sweep(self, now: float, visibility: float, under_way: float) -> list[HeldReceipt]:
        """Forget the receipts whose lease has ended, and return those that wait for their record or their delete.

        ``under_way`` is the number of messages that live senders hold. No more lapsed receipts than that are
        remembered: the others belonged to dead senders, which report nothing more.
        """
        waiting: list[HeldReceipt] = []
        remembered: list[HeldReceipt] = []
        if self.objects:
            self._leave_objects()
        for held in list(self.values()):
            if held.goal in (RECORD, DELETE):
                waiting.append(held)
            elif held.lease <= now and not held.calling:
                if held.goal == CHANGE:
                    self.lapsed(held.handle)
                    self.settled(held)
                # Remembered as lapsed, because the sender of a late outcome may believe that its lease still holds.
                elif held.lease + REMEMBERED * visibility <= now:
                    self.settled(held)
                else:
                    remembered.append(held)
        if len(remembered) > under_way:
            remembered.sort(key=lambda held: held.lease)
            for held in remembered[: len(remembered) - int(under_way)]:
                self.settled(held)
        return waiting

    def _leave_objects(self) -> None:
        """Leave the objects of messages whose deletes SQS refused: they may come again."""
        gone = self.objects.keys() - self.keys()
        for receipt in gone:
            del self.objects[receipt]
        if gone and self.removal is not None:
            self.removal.leave(len(gone))

    def expire(self, held: HeldReceipt) -> None:
        """Log once that the 12 hours of a delivered message are over. Its delete is still tried."""
        if held.expired:
            return
        held.expired = True
        self.words[scoreboard.EXPIRED] += 1
        self._expired_line(
            held.goal,
            message_id=held.handle.message_id,
            waits_for="its record" if held.goal == RECORD else "its delete",
            advice="fix the cause, see the earlier lines about the audit log or SQS; Courier recovers by itself",
        )

    def is_final(self, held: HeldReceipt, failure: EntryFailure) -> bool:
        """Count and forget a receipt that SQS will never settle. Return ``False`` if SQS may still settle it."""
        if failure.code in GONE:
            self.words[scoreboard.STALE] += 1
        elif failure.sender_fault:
            self.words[scoreboard.SETTLE_REFUSED] += 1
            action = "DeleteMessageBatch" if held.goal == DELETE else "ChangeMessageVisibilityBatch"
            self._refused_line(
                (action, failure.code),
                message_id=held.handle.message_id,
                wanted="its delete: it will be delivered twice" if held.goal == DELETE else "a change of visibility",
                code=failure.code,
                detail=Mask((held.handle.receipt,)).text(failure.detail),
                advice=advice_on(failure.code, action),
            )
        else:
            return False
        self.settled(held)
        return True
