"""The settler against a scripted SQS: which calls it makes, when, and what it does with what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from structlog.testing import capture_logs

from courier.errors import SqsError
from courier.policy import MAX_HIDDEN_SECONDS
from courier.sqs.batch import EntryFailure
from courier.sqs.settler import Held, Settler, boottime

Scenario = Callable[[], Coroutine[Any, Any, None]]

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

    async def delete(self, receipts: list[str], /) -> list[EntryFailure | None]:
        self.deletes.append(list(receipts))
        if self.refuse_deletes:
            return [THROTTLED] * len(receipts)
        return await self._answer("DeleteMessageBatch", list(receipts))

    async def change_visibility(self, entries: list[tuple[str, int]], /) -> list[EntryFailure | None]:
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


def hold(settler: Settler, name: str, *, lease: float = 30.0, group: str = "", age: float = 0.0) -> Held:
    now = boottime()
    held = settler.hold(name, name, now + lease, now - age, group)
    assert held is not None
    return held


def deliver(settler: Settler, name: str, *, lease: float = 30.0, group: str = "", age: float = 0.0) -> Held:
    now = boottime()
    return settler.hold_delivered(name, name, now + lease, now - age, group)


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition never came true"
        await asyncio.sleep(0.002)


def run(scenario: Scenario) -> None:
    asyncio.run(scenario())


def test_deletes_go_in_full_batches_and_the_rest_after_a_while() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        for n in range(23):
            settler.delete(deliver(settler, f"m{n}"))
        await until(lambda: not settler.held)
        assert [len(batch) for batch in sqs.deletes] == [10, 10, 3]
        assert settler.counts.deleted == 23

    run(scenario)


def test_only_the_failed_entries_of_a_batch_are_deleted_again() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        sqs.fail = {"m3": [THROTTLED, THROTTLED], "m7": [THROTTLED]}
        for n in range(10):
            settler.delete(deliver(settler, f"m{n}"))
        await until(lambda: not settler.held)
        assert sqs.deleted().count("m3") == 3
        assert sqs.deleted().count("m7") == 2
        assert sqs.deleted().count("m0") == 1
        assert settler.counts.deleted == 10

    run(scenario)


def test_a_receipt_that_is_no_longer_valid_is_counted_and_forgotten() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        sqs.fail = {"old": [INVALID]}
        settler.delete(deliver(settler, "old"))
        await until(lambda: not settler.held)
        assert (settler.counts.stale, settler.counts.deleted) == (1, 0)

    run(scenario)


def test_a_call_that_fails_as_a_whole_is_made_again() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        sqs.broken = 2
        settler.delete(deliver(settler, "m"))
        await until(lambda: not settler.held)
        assert sqs.deleted() == ["m", "m", "m"]

    run(scenario)


def test_a_retry_asks_for_its_delay_in_whole_seconds_and_a_release_for_none() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        settler.change(hold(settler, "retry"), 2.3)
        settler.change(hold(settler, "release"), 0.0)
        await until(lambda: not settler.held)
        assert sorted(entry for batch in sqs.changes for entry in batch) == [("release", 0), ("retry", 3)]

    run(scenario)


def test_what_comes_past_its_lease_is_dropped_and_counted() -> None:
    async def scenario() -> None:
        settler = Settler(ScriptedSqs(), 30, fifo=False)
        now = boottime()
        assert settler.hold("late", "late", now - 0.1, now - 30, "") is None
        assert settler.counts.lapsed == 1
        assert not settler.held

    run(scenario)


def test_a_delivery_is_deleted_even_past_its_lease() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        settler.delete(deliver(settler, "late", lease=-5.0))
        await until(lambda: not settler.held)
        assert sqs.deleted() == ["late"]

    run(scenario)


def test_an_outcome_cancels_an_extension_that_was_not_sent() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        settler.extend(hold(settler, "m"))
        settler.change(hold(settler, "m"), 5.0)
        await until(lambda: not settler.held)
        assert sqs.changes == [[("m", 5)]]

    run(scenario)


def test_an_outcome_waits_for_the_extension_that_is_under_way() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        sqs.gate.clear()
        settler.extend(hold(settler, "m"))
        await until(lambda: sqs.changes)
        settler.change(hold(settler, "m"), 5.0)
        await asyncio.sleep(0.05)
        assert sqs.changes == [[("m", 30)]]
        sqs.gate.set()
        await until(lambda: not settler.held)
        assert sqs.changes == [[("m", 30)], [("m", 5)]]
        assert sqs.most_open == 1

    run(scenario)


def test_what_waits_for_its_record_is_extended_past_half_of_its_lease() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        waiting = deliver(settler, "waiting", lease=14.0)
        deliver(settler, "fresh", lease=29.0)
        settler.extend_waiting()
        await until(lambda: waiting.lease > boottime() + 20)
        assert sqs.changes == [[("waiting", 30)]]
        assert set(settler.held) == {"waiting", "fresh"}

    run(scenario)


def test_an_extension_that_failed_is_tried_again_while_the_lease_holds() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        sqs.fail = {"m": [THROTTLED]}
        held = hold(settler, "m", lease=10.0)
        settler.extend(held)
        await until(lambda: held.lease > boottime() + 20)
        assert len(sqs.changes) == 2

    run(scenario)


def test_nothing_hides_a_message_for_longer_than_its_twelve_hours() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        settler.change(hold(settler, "m", age=43_190.0), 900.0)
        await until(lambda: not settler.held)
        ((_, seconds),) = sqs.changes[0]
        assert 0 < seconds <= 10

    run(scenario)


def test_a_failed_fifo_delete_holds_back_the_rest_of_its_group_and_no_other() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=True)
        sqs.fail = {"a1": [THROTTLED]}
        settler.delete(deliver(settler, "a1", group="a"))
        await until(lambda: sqs.deletes)
        settler.delete(deliver(settler, "a2", group="a"))
        settler.delete(deliver(settler, "b1", group="b"))
        await until(lambda: not settler.held)
        order = sqs.deleted()
        assert order.index("a2") > max(i for i, receipt in enumerate(order) if receipt == "a1")
        assert order.count("b1") == 1

    run(scenario)


def test_deletes_of_one_fifo_group_are_never_in_two_calls_at_once() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=True)
        sqs.gate.clear()
        settler.delete(deliver(settler, "a1", group="a"))
        await until(lambda: sqs.deletes)
        settler.delete(deliver(settler, "a2", group="a"))
        settler.delete(deliver(settler, "b1", group="b"))
        await until(lambda: "b1" in sqs.deleted())
        assert sqs.deleted() == ["a1", "b1"]
        sqs.gate.set()
        await until(lambda: not settler.held)
        assert sqs.deleted() == ["a1", "b1", "a2"]

    run(scenario)


def test_a_stopping_program_waits_for_no_fuller_batch() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        settler.hurry()
        settler.delete(deliver(settler, "m"))
        assert settler.unsettled() == 1
        await until(lambda: not settler.held)
        assert settler.unsettled() == 0

    run(scenario)


def test_a_delivered_message_is_extended_while_its_delete_fails() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 2, fifo=False)
        sqs.refuse_deletes = True
        held = deliver(settler, "m", lease=1.0)
        settler.delete(held)
        ends = boottime() + 3.0
        while boottime() < ends:
            settler.extend_waiting()
            await asyncio.sleep(0.05)
        assert held.lease > boottime()
        assert len(sqs.deletes) > 1

    run(scenario)


def test_failed_deletes_of_a_fifo_group_are_made_again_in_order_before_later_ones() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=True)
        sqs.fail = {"a1": [THROTTLED, THROTTLED], "a2": [THROTTLED]}
        for name in ("a1", "a2", "a3"):
            settler.delete(deliver(settler, name, group="a"))
        await until(lambda: len(sqs.deletes) >= 1)
        settler.delete(deliver(settler, "a4", group="a"))
        await until(lambda: not settler.held)
        order = sqs.deleted()
        last = {name: max(i for i, receipt in enumerate(order) if receipt == name) for name in ("a1", "a2", "a4")}
        assert last["a1"] < last["a2"] < last["a4"]

    run(scenario)


def test_while_sqs_is_away_one_call_at_a_time_asks_for_it() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        sqs.broken = 34
        for n in range(500):
            settler.delete(deliver(settler, f"m{n}"))
        await until(lambda: sqs.broken == 0, 20.0)
        # What was under way when the first one failed, and then one after another.
        assert len(sqs.deletes) <= 35
        await until(lambda: not settler.held)
        assert settler.counts.deleted == 500

    run(scenario)


def test_an_outcome_that_comes_after_a_failed_extension_and_the_lease_is_dropped() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 1, fifo=False)
        sqs.fail = {"m": [THROTTLED] * 1000}
        settler.extend(hold(settler, "m", lease=0.3))
        await asyncio.sleep(0.5)
        settler.extend_waiting()
        now = boottime()
        # Its sender took the extension for granted.
        lapsed = settler.counts.lapsed
        assert settler.hold("m", "m", now + 0.5, now - 0.5, "", extends=True) is None
        assert settler.held, "its sender holds it still"
        assert settler.hold("m", "m", now + 0.5, now - 0.5, "") is None
        assert not settler.held, "nothing more comes of it"
        assert settler.counts.lapsed == lapsed + 2

    run(scenario)


def test_a_delivered_message_whose_twelve_hours_are_over_is_told_once_and_deleted_all_the_same() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        sqs.refuse_deletes = True
        deliver(settler, "recording", lease=0.0, age=MAX_HIDDEN_SECONDS)
        settler.delete(deliver(settler, "deleting", lease=0.0, age=MAX_HIDDEN_SECONDS))
        with capture_logs() as logs:
            await until(lambda: len(sqs.deletes) > 1)
            for _ in range(3):
                settler.extend_waiting()
        told = [
            (line["log_level"], line["message_id"], line["waits_for"]) for line in logs if "12 hours" in line["event"]
        ]
        assert told == [("warning", "recording", "its record"), ("warning", "deleting", "its delete")]
        assert settler.counts.expired == 2
        assert not sqs.changes
        sqs.refuse_deletes = False
        settler.delete(settler.held["recording"])
        await until(lambda: not settler.held)
        assert settler.counts.deleted == 2

    run(scenario)


def test_what_its_sender_has_told_of_the_twelve_hours_is_not_told_again() -> None:
    async def scenario() -> None:
        settler = Settler(ScriptedSqs(), 30, fifo=False)
        received_at = boottime() - MAX_HIDDEN_SECONDS
        settler.hold("held before", "held before", boottime() + 5.0, received_at, "", extends=True)
        with capture_logs() as logs:
            for name in ("held before", "new"):
                settler.hold_delivered(name, name, 0.0, received_at, "")
            settler.extend_waiting()
        assert (logs, settler.counts.expired) == ([], 0)

    run(scenario)


def test_no_extension_in_the_last_second_of_the_twelve_hours_shows_the_message_at_once() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        deliver(settler, "a", lease=0.4, age=MAX_HIDDEN_SECONDS - 0.9)
        deliver(settler, "b", lease=5.0, age=MAX_HIDDEN_SECONDS - 9.9)
        settler.extend_waiting()
        await until(lambda: sqs.changes)
        assert sqs.changes == [[("b", 9)]]

    run(scenario)


def test_what_comes_after_a_delivery_changes_nothing_for_it() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=False)
        held = deliver(settler, "m", lease=-1.0)
        now = boottime()
        assert settler.hold("m", "m", now + 5.0, now, "") is None
        settler.delete(held)
        await until(lambda: not settler.held)
        assert (settler.counts.deleted, settler.counts.lapsed) == (1, 0)

    run(scenario)


def test_a_lease_that_lapsed_stays_so_however_often_its_sender_counts_on_extensions_that_failed() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 1, fifo=False)
        sqs.fail = {"m": [THROTTLED] * 1000}
        settler.extend(hold(settler, "m", lease=0.3))
        await asyncio.sleep(0.4)
        asked = len(sqs.changes)
        now = boottime()
        for _ in range(3):
            assert settler.hold("m", "m", now + 0.5, now - 0.5, "", extends=True) is None
        settler.hold_delivered("m", "m", now + 0.5, now - 0.5, "")
        settler.extend_waiting()
        await asyncio.sleep(0.1)
        assert len(sqs.changes) == asked
        settler.delete(settler.held["m"])
        await until(lambda: sqs.deleted() == ["m"])

    run(scenario)


def test_what_comes_in_while_a_fifo_group_waits_for_its_first_delete_does_not_join_it() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=True)
        sqs.broken = 1
        names = [f"m{n}" for n in range(11)]
        settler.delete(*(deliver(settler, name, group="a") for name in names))
        await until(lambda: not settler.held)
        assert sqs.deletes == [names[:10], names[:1], names[1:]]

    run(scenario)


def test_a_fifo_group_waits_for_the_one_whose_extension_is_under_way() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=True)
        sqs.gate.clear()
        names = ["a1", "a2", "a3"]
        a1, a2, a3 = (deliver(settler, name, lease=10.0, group="a") for name in names)
        settler.extend(a2)
        await until(lambda: sqs.changes)
        settler.delete(a2, a3)
        await asyncio.sleep(0.05)
        assert not sqs.deletes
        sqs.gate.set()
        await until(lambda: len(settler.held) == 1)
        assert sqs.deleted() == ["a2", "a3"]
        sqs.gate.clear()
        settler.extend(a1)
        await until(lambda: len(sqs.changes) == 2)
        b1 = deliver(settler, "b1", group="b")
        settler.delete(a1, b1)
        await until(lambda: sqs.deleted()[2:] == ["b1"])
        sqs.gate.set()
        await until(lambda: not settler.held)

    run(scenario)


def test_a_change_that_lapses_lets_no_delete_of_its_fifo_group_overtake_another() -> None:
    async def scenario() -> None:
        sqs = ScriptedSqs()
        settler = Settler(sqs, 30, fifo=True)
        sqs.fail = {"a1": [THROTTLED] * 5, "given back": [THROTTLED] * 1000}
        settler.change(hold(settler, "given back", lease=0.2, group="a"), 0.0)
        for name in ("a1", "a2"):
            settler.delete(deliver(settler, name, group="a"))
            await until(lambda: sqs.deletes)
        ends = boottime() + 20.0
        while settler.held and boottime() < ends:
            settler.extend_waiting()
            await asyncio.sleep(0.02)
        order = sqs.deleted()
        assert order == ["a1"] * 6 + ["a2"]

    run(scenario)
