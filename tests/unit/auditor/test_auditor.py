"""An auditor on its loop: what is recorded, sent to the failure queue, deleted and shown again, and in which order."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from courier.auditor import committer
from courier.auditor.auditor import Auditor, AuditorOptions
from courier.auditor.held_receipts import HeldReceipt, Removal
from courier.auditor.log_thread import AuditLog
from courier.consumer.backlog import HELD_CAP
from courier.errors import AuditError, SqsError
from courier.message import (
    DELIVERED,
    DUPLICATE,
    EXTEND,
    FETCHED,
    REJECTED,
    RELEASE,
    RETRY,
    Attribute,
    Handle,
    Letter,
    Settlement,
    pack_letter,
    pack_settlements,
)
from courier.process import scoreboard
from courier.recipient.policy import Backoff
from courier.sqs.batch import EntryFailure, Outgoing
from tests.unit.stage import Surroundings, boottime, ended, no_descriptor_left
from tests.waiting import stays, until

TOO_LONG = EntryFailure("InvalidMessageContents", "too long", sender_fault=True)
GONE = EntryFailure("ReceiptHandleIsInvalid", "", sender_fault=True)
BUSY = EntryFailure("InternalFailure", "later", sender_fault=False)


class Events:
    """What reached the outside, in order: ``("record", line)``, ``("delete", receipt)`` and so on."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []
        self.seconds: dict[str, int] = {}

    def note(self, what: str, *names: str) -> None:
        self.all += [(what, name) for name in names]

    def of(self, *kinds: str) -> list[str]:
        return [name for kind, name in self.all if kind in kinds]


class FakeLog(AuditLog):
    """An audit log in memory; it waits for ``gate`` and fails while it is told to."""

    def __init__(self, events: Events) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.full = False
        self._events = events

    def finish(self, seconds: float, /) -> None: ...

    def append(self, lines: Sequence[bytes], /) -> None:
        self.gate.wait(10)
        if self.full:
            raise AuditError("no space left")
        self._events.note("record", *(line.decode().strip() for line in lines))

    def rotate(self) -> None:
        self._events.note("rotate", "")

    def probe(self) -> None:
        if self.full:
            raise AuditError("no space left")

    def close(self) -> None:
        self._events.note("close", "")


class FakeSqs:
    """The queue or the failure queue; ``refuse`` gives the failures that the entries of the next calls get."""

    def __init__(self, events: Events) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.refuse: list[EntryFailure | None] = []
        self.undeletable: set[str] = set()
        self.deletes = self.broken = 0
        self.closed = False
        self._events = events

    async def delete(self, receipts: Sequence[str]) -> list[EntryFailure | None]:
        self.deletes += 1
        await self.gate.wait()
        self._events.note("delete", *receipts)
        return [GONE if receipt in self.undeletable else None for receipt in receipts]

    async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> list[EntryFailure | None]:
        self._events.note("change", *(receipt for receipt, _ in entries))
        self._events.seconds.update(entries)
        return [None] * len(entries)

    async def send(self, entries: Sequence[Outgoing]) -> list[EntryFailure | None]:
        await self.gate.wait()
        if self.broken:
            self.broken -= 1
            raise SqsError("SendMessageBatch", "network", "connection refused", retriable=True)
        self._events.note("send", *(entry.body.decode() for entry in entries))
        return [self.refuse.pop(0) if self.refuse else None for _ in entries]

    def close(self) -> None:
        self.closed = True


class Stage(Surroundings):
    """An auditor that runs."""

    def __init__(
        self, *, audited: bool = True, failure_queue: bool = False, removal: Removal | None = None, **settings: Any
    ) -> None:
        super().__init__("auditor")
        self.events = Events()
        self.log = FakeLog(self.events)
        self.sqs = FakeSqs(self.events)
        self.failures = FakeSqs(self.events)
        clients = (self.sqs, self.failures if failure_queue else None)
        auditing = AuditorOptions(**({"visibility": 30, "fifo": False} | settings))
        self.auditor = Auditor(
            self.life,
            self.acks,
            self.log if audited else None,
            clients,
            auditing,
            removal=removal,
        )
        self.role = self.run(self.auditor)

    def report(self, kind: int, *names: str, lease: float = 30.0, **fields: Any) -> None:
        """Report outcomes as a sender does, in one packet; a record names its message."""
        now = boottime()
        recorded = kind in (DELIVERED, REJECTED, FETCHED)
        settlements = [
            Settlement(
                kind,
                name,
                name,
                now + lease,
                now,
                **({"group": "", "record": f"{name}\n".encode() if recorded else b""} | fields),
            )
            for name in names
        ]
        assert self.acks.send(*pack_settlements(settlements))

    def senders_hold(self, messages: int) -> None:
        """Let a sender have so many messages in flight, for the rest of the test."""
        sender = self.board.slots("sender")[0]
        sender.words[scoreboard.STATE] = scoreboard.READY
        sender.reals[scoreboard.BEAT] = time.monotonic() + 3600.0
        sender.words[scoreboard.IN_FLIGHT] = messages

    def end_of_outcomes(self) -> None:
        """Close the last write end, as the deaths of all senders do."""
        self.acks.keep(reading=True, writing=False)

    async def comes(self, what: str, *names: str) -> None:
        await until(lambda: set(names) <= set(self.events.of(what)), explain=lambda: self.events.all)


def letter(text: str) -> bytes:
    return pack_letter(Letter(text.encode(), (), ""))


async def test_what_is_delivered_is_recorded_in_the_order_of_the_outcomes_and_only_then_deleted() -> None:
    stage = Stage()
    names = [f"m{n}" for n in range(25)]
    for start in range(0, 25, 5):
        stage.report(DELIVERED, *names[start : start + 5])
    await stage.comes("delete", *names)
    assert stage.events.of("record") == stage.events.of("delete") == names
    for name in names:
        assert stage.events.all.index(("record", name)) < stage.events.all.index(("delete", name))
    await until(lambda: stage.word(scoreboard.DELETED) == 25)
    assert (stage.word(scoreboard.RECORDED), stage.word(scoreboard.HELD)) == (25, 0)


async def test_outcomes_are_read_while_the_disk_is_slow_and_nothing_is_deleted_before_it_is_done() -> None:
    stage = Stage()
    stage.log.gate.clear()
    stage.report(DELIVERED, "a")
    await until(lambda: stage.word(scoreboard.HELD) == 1)
    stage.report(DELIVERED, "b")
    stage.report(RETRY, "c", delay=7.0)
    await until(lambda: stage.word(scoreboard.SETTLE_TAKEN) == 3)
    await stage.comes("change", "c")
    await stays(lambda: not stage.events.of("delete"), 0.2)
    assert stage.word(scoreboard.HELD_BYTES) == 4
    stage.log.gate.set()
    await stage.comes("delete", "a", "b")
    assert stage.events.seconds["c"] == 7


async def test_what_is_fresh_waits_for_others_and_what_is_urgent_takes_them_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committer, "IDLE_GATHER_SECONDS", 3600.0)
    stage = Stage(failure_queue=True, visibility=43_200)
    stage.report(DELIVERED, "fresh", lease=43_000.0)
    await stays(lambda: not stage.events.of("record"))
    stage.report(DELIVERED, "old", lease=30_000.0)
    await stage.comes("delete", "fresh", "old")
    stage.report(DELIVERED, "again fresh", lease=43_000.0)
    await stays(lambda: len(stage.events.of("record")) == 2)
    stage.report(REJECTED, "bad", lease=43_000.0, letter=letter("bad letter"))
    await stage.comes("delete", "again fresh", "bad")
    large = "x" * committer.MANY_BYTES
    stage.report(DELIVERED, "large", lease=43_000.0, record=large.encode())
    await stage.comes("delete", "large")
    stage.report(DELIVERED, "last", lease=43_000.0)
    await stays(lambda: len(stage.events.of("record")) == 5)
    stage.drain_all()
    await stage.comes("delete", "last")


async def test_on_a_fifo_queue_no_record_waits_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "IDLE_GATHER_SECONDS", 3600.0)
    stage = Stage(fifo=True, visibility=43_200)
    stage.report(DELIVERED, "a", group="g", lease=43_000.0)
    await stage.comes("delete", "a")


async def test_a_failing_log_deletes_nothing_says_so_on_the_board_and_goes_on_by_itself() -> None:
    stage = Stage()
    stage.log.full = True
    stage.report(DELIVERED, "a", "b")
    await until(lambda: stage.word(scoreboard.AUDIT_FAILING))
    await stays(lambda: not stage.events.of("delete"))
    stage.log.full = False
    await stage.comes("delete", "a", "b")
    assert stage.events.of("record") == ["a", "b"]
    assert not stage.word(scoreboard.AUDIT_FAILING)
    assert stage.word(scoreboard.AUDIT_FAILURES) > 0


async def test_what_waits_for_a_failing_log_is_kept_alive() -> None:
    stage = Stage(visibility=2)
    stage.log.full = True
    stage.report(DELIVERED, "a", lease=0.8)
    await until(lambda: stage.word(scoreboard.EXTENDED) >= 2, explain=lambda: stage.events.all)
    assert stage.events.seconds["a"] == 2
    assert not stage.events.of("delete")


async def test_a_delivery_whose_record_was_lost_on_the_way_is_released_and_not_deleted() -> None:
    stage = Stage()
    await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
    stage.report(DELIVERED, "lost", record=b"x" * 100_000)
    with no_descriptor_left():
        await stage.comes("change", "lost")
    assert 1 <= stage.events.seconds["lost"] <= 4
    assert stage.word(scoreboard.BULK_LOST) == 1
    assert not stage.events.of("delete", "record")
    stage.report(DELIVERED, "next")
    await stage.comes("delete", "next")


async def test_a_record_that_is_lost_again_and_again_comes_back_after_the_delay_that_its_sender_wrote_down() -> None:
    stage = Stage(backoff=Backoff(1.0, 900.0, 0.0))
    await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
    stage.report(DELIVERED, "fifth", record=b"x" * 100_000, delay=16.0)
    stage.report(DELIVERED, "no delay", record=b"x" * 100_000)
    with no_descriptor_left():
        await stage.comes("change", "fifth", "no delay")
    assert stage.events.seconds == {"fifth": 16, "no delay": 1}


async def test_an_extension_that_was_not_sent_gives_way_to_the_outcome_that_follows() -> None:
    stage = Stage()
    stage.report(EXTEND, "a", "b", "c")
    stage.report(DELIVERED, "a")
    stage.report(RETRY, "b", delay=5.0)
    stage.report(RELEASE, "c")
    await stage.comes("delete", "a")
    await stage.comes("change", "b", "c")
    assert sorted(stage.events.of("change")) == ["b", "c"]
    assert stage.events.seconds == {"b": 5, "c": 0}


async def test_a_late_delivery_is_recorded_and_deleted_and_a_late_retry_or_release_is_dropped() -> None:
    stage = Stage()
    stage.report(RETRY, "retry", lease=-1.0, delay=5.0)
    stage.report(RELEASE, "release", lease=-1.0)
    stage.report(DELIVERED, "delivered", lease=-1.0)
    await stage.comes("delete", "delivered")
    assert stage.events.of("change") == []
    await until(lambda: stage.word(scoreboard.LAPSED) == 2)


async def test_a_message_that_lapsed_is_remembered_while_its_sender_asks_for_more_and_not_past_its_last_word() -> None:
    stage = Stage(visibility=1)
    stage.senders_hold(1)
    stage.report(EXTEND, "a")
    await until(lambda: stage.word(scoreboard.EXTENDED) == 1)
    over = boottime() + 1.0
    await until(lambda: boottime() > over)
    stage.report(EXTEND, "a")
    await until(lambda: stage.word(scoreboard.LAPSED) == 1)
    stage.report(RELEASE, "a")
    await until(lambda: stage.word(scoreboard.LAPSED) == 2)
    assert stage.word(scoreboard.HELD) == 0


async def test_deliveries_under_way_are_not_held_against_intake_however_many_they_are() -> None:
    stage = Stage(visibility=2)
    names = [f"m{n}" for n in range(HELD_CAP + 1000)]
    stage.senders_hold(len(names))
    for start in range(0, len(names), 100):
        stage.report(EXTEND, *names[start : start + 100])
        await until(lambda start=start: stage.word(scoreboard.SETTLE_TAKEN) >= start + 100)  # type: ignore[misc]
        assert stage.word(scoreboard.HELD) == 0
    await until(lambda: stage.word(scoreboard.EXTENDED) == len(names))
    stage.log.gate.clear()
    stage.report(DELIVERED, *names[:100])
    stage.report(RETRY, *names[100:150])
    await until(lambda: stage.word(scoreboard.HELD) == 100)
    stage.log.gate.set()
    await until(lambda: stage.word(scoreboard.HELD) == 0 and stage.word(scoreboard.DELETED) == 100)
    # All senders die: no word of the others comes any more, and none of them is remembered.
    stage.senders_hold(0)
    await until(lambda: not stage.auditor._held)
    assert stage.word(scoreboard.HELD) == 0


async def test_a_rejected_message_is_recorded_then_sent_to_the_failure_queue_then_deleted() -> None:
    stage = Stage(failure_queue=True)
    stage.failures.gate.clear()
    stage.report(REJECTED, "bad", letter=letter("bad letter"))
    await stage.comes("record", "bad")
    await stays(lambda: not stage.events.of("delete"), 0.25)
    stage.failures.gate.set()
    await stage.comes("delete", "bad")
    assert stage.events.all == [("record", "bad"), ("send", "bad letter"), ("delete", "bad")]


async def test_a_rejected_message_that_the_failure_queue_refuses_for_good_stays_in_its_queue() -> None:
    stage = Stage(failure_queue=True, visibility=17)
    stage.failures.refuse = [TOO_LONG]
    with capture_logs() as logs:
        stage.report(REJECTED, "bad", letter=letter("bad letter"))
        await stage.comes("change", "bad")
    assert stage.events.seconds["bad"] == 17
    assert not stage.events.of("delete")
    assert [line["message_id"] for line in logs if "failure queue refuses" in line["event"]] == ["bad"]


async def test_a_rejected_message_waits_for_a_failure_queue_that_is_away() -> None:
    stage = Stage(failure_queue=True)
    stage.failures.broken = 2
    stage.failures.refuse = [BUSY]
    stage.report(REJECTED, "bad", letter=letter("bad letter"))
    await stage.comes("delete", "bad")
    assert stage.events.all == [
        ("record", "bad"),
        ("send", "bad letter"),
        ("send", "bad letter"),
        ("delete", "bad"),
    ]


async def test_on_a_fifo_queue_the_deletes_behind_a_rejected_message_wait_until_the_failure_queue_has_it() -> None:
    stage = Stage(fifo=True, failure_queue=True)
    stage.failures.gate.clear()
    stage.report(DELIVERED, "a1", group="a")
    stage.report(REJECTED, "a2", letter=letter("a2 letter"), group="a")
    stage.report(DELIVERED, "a3", "a4", group="a")
    stage.report(DELIVERED, "b1", group="b")
    await stage.comes("delete", "a1", "b1")
    await stays(lambda: len(stage.events.of("delete")) == 2)
    stage.failures.gate.set()
    await stage.comes("delete", "a2", "a3", "a4")
    assert stage.events.of("delete")[2:] == ["a2", "a3", "a4"]
    assert stage.events.all.index(("send", "a2 letter")) < stage.events.all.index(("delete", "a2"))


async def test_on_a_fifo_queue_the_deletes_behind_a_rejected_message_that_is_refused_are_made_without_it() -> None:
    stage = Stage(fifo=True, failure_queue=True, visibility=17)
    stage.failures.gate.clear()
    stage.failures.refuse = [TOO_LONG]
    stage.report(REJECTED, "a1", letter=letter("a1 letter"), group="a")
    stage.report(DELIVERED, "a2", group="a")
    await stage.comes("record", "a2")
    await stays(lambda: not stage.events.of("delete"))
    stage.failures.gate.set()
    await stage.comes("delete", "a2")
    await stage.comes("change", "a1")
    assert stage.events.seconds["a1"] == 17
    assert stage.events.of("delete") == ["a2"]
    await until(lambda: stage.word(scoreboard.HELD) == 0)
    assert stage.word(scoreboard.LETTERS_REFUSED) == 1


async def test_letters_that_wait_count_in_the_bytes_that_are_held_until_they_are_taken_or_refused() -> None:
    stage = Stage(failure_queue=True)
    stage.log.gate.clear()
    stage.failures.gate.clear()
    stage.failures.refuse = [BUSY, TOO_LONG, None]
    letters = [letter("x" * 1000), letter("y" * 2000)]
    for name, packed in zip("ab", letters, strict=True):
        stage.report(REJECTED, name, letter=packed)
    waiting = sum(map(len, letters))
    # Their records are two bytes each.
    await until(lambda: stage.word(scoreboard.HELD_BYTES) == waiting + 4)
    stage.log.gate.set()
    await stage.comes("record", "a", "b")
    await until(lambda: stage.word(scoreboard.HELD_BYTES) == waiting)
    stage.failures.gate.set()
    await stage.comes("change", "b")
    await stage.comes("delete", "a")
    await until(lambda: stage.word(scoreboard.HELD_BYTES) == 0)


async def test_a_letter_that_nobody_takes_is_no_longer_held() -> None:
    stage = Stage()
    stage.report(REJECTED, "bad", letter=letter("x" * 1000))
    await stage.comes("change", "bad")
    await until(lambda: stage.word(scoreboard.SETTLE_TAKEN) == 1 and stage.word(scoreboard.HELD) == 0)
    assert stage.word(scoreboard.HELD_BYTES) == 0


async def test_a_rejected_message_whose_letter_was_lost_on_the_way_is_released() -> None:
    stage = Stage(failure_queue=True)
    await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
    stage.report(REJECTED, "bad", letter=letter("x" * 100_000))
    with no_descriptor_left():
        await stage.comes("change", "bad")
    assert not stage.events.of("delete", "send")


async def test_a_rejected_message_whose_letter_was_lost_is_not_deleted_where_nothing_is_recorded_either() -> None:
    stage = Stage(audited=False, failure_queue=True)
    await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
    stage.report(REJECTED, "bad", letter=letter("x" * 100_000), record=b"")
    with no_descriptor_left():
        await stage.comes("change", "bad")
    assert not stage.events.of("delete", "send")


async def test_without_an_audit_a_delivery_is_deleted_at_once() -> None:
    stage = Stage(audited=False)
    stage.report(DELIVERED, "a", record=b"")
    await stage.comes("delete", "a")


async def test_at_the_end_of_the_outcomes_it_returns_when_all_is_settled() -> None:
    stage = Stage(failure_queue=True)
    stage.sqs.gate.clear()
    stage.report(DELIVERED, *[f"m{n}" for n in range(12)])
    stage.report(RETRY, "again", delay=3.0)
    stage.report(REJECTED, "bad", letter=letter("bad letter"))
    stage.end_of_outcomes()
    stage.drain_all()
    await stage.comes("change", "again")
    await stays(lambda: not stage.role.done(), 0.2)
    stage.sqs.gate.set()
    await ended(stage.role)
    assert len(stage.events.of("delete")) == 13
    assert stage.word(scoreboard.UNSETTLED) == stage.word(scoreboard.HELD) == 0
    assert stage.sqs.closed
    assert stage.failures.closed
    assert stage.events.all[-1] == ("close", "")


async def test_told_to_drain_it_goes_on_until_the_last_writer_of_outcomes_is_gone() -> None:
    stage = Stage()
    stage.drain_all()
    await stays(lambda: not stage.role.done(), 0.2)
    stage.report(DELIVERED, "late")
    await stage.comes("delete", "late")
    stage.end_of_outcomes()
    await ended(stage.role)


async def test_at_the_deadline_what_is_unsettled_is_counted_and_told() -> None:
    stage = Stage()
    stage.sqs.gate.clear()
    stage.report(DELIVERED, "a", "b")
    stage.end_of_outcomes()
    await stage.comes("record", "a", "b")
    with capture_logs() as logs:
        stage.drain_all(0.3)
        await ended(stage.role)
    assert stage.word(scoreboard.UNSETTLED) == 2
    assert [line["unsettled"] for line in logs if "unsettled" in line["event"]] == [2]


async def test_on_a_fifo_queue_a_record_that_fails_holds_back_the_later_ones_of_its_group_only() -> None:
    stage = Stage(fifo=True)

    def append(lines: Sequence[bytes], /) -> None:
        failed = [n for n, line in enumerate(lines) if line == b"a1\n" and not stage.events.of("delete")]
        stage.events.note("record", *(line.decode().strip() for n, line in enumerate(lines) if n not in failed))
        if failed:
            raise AuditError("one record wasn't taken", failed)

    stage.log.append = append  # type: ignore[method-assign]
    stage.report(DELIVERED, "a1", "a2", group="a")
    stage.report(DELIVERED, "b1", group="b")
    await stage.comes("delete", "b1")
    await stage.comes("delete", "a1", "a2")
    assert stage.events.of("delete") == ["b1", "a1", "a2"]
    assert sorted(stage.events.of("record")) == ["a1", "a2", "b1"]


async def test_an_outcome_that_raises_loses_none_of_the_others_of_its_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    held = stage.auditor._held
    hold = held.hold_delivered

    def hold_delivered(handle: Handle) -> HeldReceipt:
        if handle.message_id == "bad":
            raise ZeroDivisionError("a bug met one message")
        return hold(handle)

    monkeypatch.setattr(held, "hold_delivered", hold_delivered)
    with capture_logs() as logs:
        stage.report(DELIVERED, "a", "bad", "b", "bad", "c")
        await stage.comes("delete", "a", "b", "c")
    assert stage.events.of("record") == ["a", "b", "c"]
    assert stage.word(scoreboard.INTERNAL_ERRORS) == 2
    assert len([line for line in logs if "a bug in Courier" in line["event"]]) == 1
    stage.report(RETRY, "d")
    await stage.comes("change", "d")


async def test_a_letter_that_cannot_be_made_stays_in_its_queue_and_lets_the_others_through() -> None:
    stage = Stage(failure_queue=True)
    unsendable = pack_letter(Letter(b"bad", (Attribute("a", "String", "\ud800"),), ""))
    stage.report(REJECTED, "a", letter=letter("a"))
    stage.report(REJECTED, "bad", letter=unsendable)
    stage.report(REJECTED, "b", letter=letter("b"))
    await stage.comes("delete", "a", "b")
    await stage.comes("change", "bad")
    assert stage.events.of("send") == ["a", "b"]
    assert stage.word(scoreboard.INTERNAL_ERRORS) == 1


async def test_an_outcome_that_was_lost_with_its_name_is_passed_over() -> None:
    stage = Stage()
    now = boottime()
    long = Settlement(DELIVERED, "long", "r" * 70_000, now + 30, now, "", 0.0, b"record")
    assert stage.acks.send(*pack_settlements([long]))
    with no_descriptor_left():
        await until(lambda: stage.word(scoreboard.SETTLE_TAKEN) == 1)
    stage.report(DELIVERED, "next")
    await stage.comes("delete", "next")
    assert stage.events.of("record") == ["next"]


async def test_a_duplicate_is_deleted_without_a_record_even_while_the_log_fails() -> None:
    stage = Stage()
    stage.log.full = True
    stage.report(DELIVERED, "new")
    stage.report(DUPLICATE, "again", "late", lease=-1.0)
    await stage.comes("delete", "again", "late")
    assert stage.events.of("record") == []
    assert stage.word(scoreboard.DUPLICATES) == 2
    await stays(lambda: "new" not in stage.events.of("delete"))


async def test_on_a_fifo_queue_a_duplicate_keeps_its_place_in_the_order_of_its_group() -> None:
    stage = Stage(fifo=True)
    stage.sqs.gate.clear()
    stage.report(DELIVERED, "a1", group="a")
    await until(lambda: stage.word(scoreboard.RECORDED) == 1)
    stage.report(DUPLICATE, "a2", group="a")
    stage.report(DELIVERED, "a3", group="a")
    await until(lambda: stage.word(scoreboard.RECORDED) == 2)
    stage.sqs.gate.set()
    await stage.comes("delete", "a1", "a2", "a3")
    assert stage.events.of("delete") == ["a1", "a2", "a3"]


async def test_a_receipt_reported_twice_as_a_duplicate_is_deleted_once() -> None:
    stage = Stage()
    stage.sqs.gate.clear()
    stage.report(DUPLICATE, "a")
    stage.report(DUPLICATE, "a")
    await until(lambda: stage.word(scoreboard.DUPLICATES) == 2)
    stage.sqs.gate.set()
    await until(lambda: stage.word(scoreboard.HELD) == 0)
    assert stage.events.of("delete") == ["a"]


class Removed:
    """What was asked of the removal of objects, among the other events."""

    is_idle = True
    is_failing = False

    def __init__(self) -> None:
        self.events = Events()
        self.left = 0

    def add(self, packed: bytes) -> None:
        self.events.note("remove", packed.decode())

    def leave(self, count: int = 1) -> None:
        self.left += count

    def hurry(self) -> None:
        self.events.note("hurry", "")

    def close(self) -> None:
        self.events.note("end", "")


@pytest.mark.parametrize("audited", [True, False])
async def test_an_object_is_removed_after_its_message_was_deleted_and_not_before(audited: bool) -> None:
    removed = Removed()
    stage = Stage(audited=audited, removal=removed)
    removed.events = stage.events
    stage.sqs.gate.clear()
    stage.report(FETCHED, "a", letter=b"object of a")
    stage.report(DELIVERED, "b")
    stage.report(FETCHED, "c", letter=b"object of c")
    await until(lambda: stage.sqs.deletes)
    assert not stage.events.of("remove")
    stage.sqs.gate.set()
    await stage.comes("remove", "object of a", "object of c")
    order = stage.events.of("record", "delete", "remove")
    assert order.index("a") < order.index("object of a")
    assert sorted(stage.events.of("delete")) == ["a", "b", "c"]
    stage.life.drain()
    stage.end_of_outcomes()
    await ended(stage.role)
    assert (removed.left, stage.events.of("hurry", "end")) == (0, ["", ""])


async def test_the_object_of_a_message_that_may_come_again_stays() -> None:
    removed = Removed()
    stage = Stage(removal=removed)
    removed.events = stage.events
    stage.sqs.undeletable = {"refused"}
    stage.report(FETCHED, "lapsed", lease=-1.0, letter=b"object of lapsed")
    stage.report(FETCHED, "refused", letter=b"object of refused")
    await until(lambda: removed.left == 2)
    assert not stage.events.of("remove")
    stage.report(RETRY, "retried", letter=b"")
    stage.report(FETCHED, "well", letter=b"object of well")
    await stage.comes("remove", "object of well")
    assert stage.events.of("remove") == ["object of well"]
