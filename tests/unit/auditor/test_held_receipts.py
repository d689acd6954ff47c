"""The receipts that are held: what is known of their leases, and which are forgotten."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from courier.lease import MAX_HIDDEN_SECONDS, boottime
from courier.message import Handle
from courier.process import scoreboard
from tests.unit.auditor.settler_stage import INVALID, THROTTLED, Stage
from tests.waiting import until


async def test_a_receipt_that_is_no_longer_valid_is_counted_and_forgotten() -> None:
    stage = Stage()
    stage.sqs.fail = {"old": [INVALID]}
    stage.settler.delete(stage.deliver("old"))
    await until(lambda: not stage.held)
    assert (stage.count(scoreboard.STALE), stage.count(scoreboard.DELETED)) == (1, 0)


async def test_what_comes_past_its_lease_is_dropped_and_counted() -> None:
    stage = Stage()
    now = boottime()
    assert stage.held.hold(Handle("late", "late", now - 0.1, now - 30, "")) is None
    assert stage.count(scoreboard.LAPSED) == 1
    assert not stage.held


async def test_an_outcome_that_comes_after_a_failed_extension_and_the_lease_is_dropped() -> None:
    stage = Stage(1)
    stage.sqs.fail = {"m": [THROTTLED] * 1000}
    stage.settler.extend(stage.hold("m", lease=0.3))
    await asyncio.sleep(0.5)
    stage.settler.extend_waiting()
    now = boottime()
    # Its sender took the extension for granted.
    lapsed = stage.count(scoreboard.LAPSED)
    assert stage.held.hold(Handle("m", "m", now + 0.5, now - 0.5, ""), extends=True) is None
    assert stage.held, "its sender holds it still"
    assert stage.held.hold(Handle("m", "m", now + 0.5, now - 0.5, "")) is None
    assert not stage.held, "nothing more comes of it"
    assert stage.count(scoreboard.LAPSED) == lapsed + 2


async def test_a_delivered_message_whose_twelve_hours_are_over_is_told_once_and_deleted_all_the_same() -> None:
    stage = Stage()
    stage.sqs.refuse_deletes = True
    stage.deliver("recording", lease=0.0, age=MAX_HIDDEN_SECONDS)
    stage.settler.delete(stage.deliver("deleting", lease=0.0, age=MAX_HIDDEN_SECONDS))
    with capture_logs() as logs:
        await until(lambda: len(stage.sqs.deletes) > 1)
        for _ in range(3):
            stage.settler.extend_waiting()
    told = [(line["log_level"], line["message_id"], line["waits_for"]) for line in logs if "12 hours" in line["event"]]
    assert told == [("warning", "recording", "its record"), ("warning", "deleting", "its delete")]
    assert stage.count(scoreboard.EXPIRED) == 2
    assert not stage.sqs.changes
    stage.sqs.refuse_deletes = False
    stage.settler.delete(stage.held["recording"])
    await until(lambda: not stage.held)
    assert stage.count(scoreboard.DELETED) == 2


async def test_what_its_sender_has_told_of_the_twelve_hours_is_not_told_again() -> None:
    stage = Stage()
    received_at = boottime() - MAX_HIDDEN_SECONDS
    stage.held.hold(Handle("held before", "held before", boottime() + 5.0, received_at, ""), extends=True)
    with capture_logs() as logs:
        for name in ("held before", "new"):
            stage.held.hold_delivered(Handle(name, name, 0.0, received_at, ""))
        stage.settler.extend_waiting()
    assert (logs, stage.count(scoreboard.EXPIRED)) == ([], 0)


async def test_what_comes_after_a_delivery_changes_nothing_for_it() -> None:
    stage = Stage()
    held = stage.deliver("m", lease=-1.0)
    now = boottime()
    assert stage.held.hold(Handle("m", "m", now + 5.0, now, "")) is None
    stage.settler.delete(held)
    await until(lambda: not stage.held)
    assert (stage.count(scoreboard.DELETED), stage.count(scoreboard.LAPSED)) == (1, 0)


async def test_a_lease_that_lapsed_stays_so_however_often_its_sender_counts_on_extensions_that_failed() -> None:
    stage = Stage(1)
    stage.sqs.fail = {"m": [THROTTLED] * 1000}
    stage.settler.extend(stage.hold("m", lease=0.3))
    await asyncio.sleep(0.4)
    asked = len(stage.sqs.changes)
    now = boottime()
    for _ in range(3):
        assert stage.held.hold(Handle("m", "m", now + 0.5, now - 0.5, ""), extends=True) is None
    stage.held.hold_delivered(Handle("m", "m", now + 0.5, now - 0.5, ""))
    stage.settler.extend_waiting()
    await asyncio.sleep(0.1)
    assert len(stage.sqs.changes) == asked
    stage.settler.delete(stage.held["m"])
    await until(lambda: stage.sqs.deleted() == ["m"])
