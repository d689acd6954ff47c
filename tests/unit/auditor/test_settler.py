"""The settler against a scripted SQS: which calls it makes, when, and what it does with what comes back."""

from __future__ import annotations

import asyncio

from courier.lease import MAX_HIDDEN_SECONDS, boottime
from courier.process import scoreboard
from tests.unit.auditor.settler_stage import THROTTLED, Stage
from tests.waiting import until


async def test_deletes_go_in_full_batches_and_the_rest_after_a_while() -> None:
    stage = Stage()
    for n in range(23):
        stage.settler.delete(stage.deliver(f"m{n}"))
    await until(lambda: not stage.held)
    assert [len(batch) for batch in stage.sqs.deletes] == [10, 10, 3]
    assert stage.count(scoreboard.DELETED) == 23


async def test_only_the_failed_entries_of_a_batch_are_deleted_again() -> None:
    stage = Stage()
    stage.sqs.fail = {"m3": [THROTTLED, THROTTLED], "m7": [THROTTLED]}
    for n in range(10):
        stage.settler.delete(stage.deliver(f"m{n}"))
    await until(lambda: not stage.held)
    assert stage.sqs.deleted().count("m3") == 3
    assert stage.sqs.deleted().count("m7") == 2
    assert stage.sqs.deleted().count("m0") == 1
    assert stage.count(scoreboard.DELETED) == 10


async def test_a_retry_asks_for_its_delay_in_whole_seconds_and_a_release_for_none() -> None:
    stage = Stage()
    stage.settler.change(stage.hold("retry"), 2.3)
    stage.settler.change(stage.hold("release"), 0.0)
    await until(lambda: not stage.held)
    assert sorted(entry for batch in stage.sqs.changes for entry in batch) == [("release", 0), ("retry", 3)]


async def test_a_delivery_is_deleted_even_past_its_lease() -> None:
    stage = Stage()
    stage.settler.delete(stage.deliver("late", lease=-5.0))
    await until(lambda: not stage.held)
    assert stage.sqs.deleted() == ["late"]


async def test_an_outcome_cancels_an_extension_that_was_not_sent() -> None:
    stage = Stage()
    stage.settler.extend(stage.hold("m"))
    stage.settler.change(stage.hold("m"), 5.0)
    await until(lambda: not stage.held)
    assert stage.sqs.changes == [[("m", 5)]]


async def test_an_outcome_waits_for_the_extension_that_is_under_way() -> None:
    stage = Stage()
    stage.sqs.gate.clear()
    stage.settler.extend(stage.hold("m"))
    await until(lambda: stage.sqs.changes)
    stage.settler.change(stage.hold("m"), 5.0)
    await asyncio.sleep(0.05)
    assert stage.sqs.changes == [[("m", 30)]]
    stage.sqs.gate.set()
    await until(lambda: not stage.held)
    assert stage.sqs.changes == [[("m", 30)], [("m", 5)]]
    assert stage.sqs.most_open == 1


async def test_what_waits_for_its_record_is_extended_past_half_of_its_lease() -> None:
    stage = Stage()
    waiting = stage.deliver("waiting", lease=14.0)
    stage.deliver("fresh", lease=29.0)
    stage.settler.extend_waiting()
    await until(lambda: waiting.lease > boottime() + 20)
    assert stage.sqs.changes == [[("waiting", 30)]]
    assert set(stage.held) == {"waiting", "fresh"}


async def test_an_extension_that_failed_is_tried_again_while_the_lease_holds() -> None:
    stage = Stage()
    stage.sqs.fail = {"m": [THROTTLED]}
    held = stage.hold("m", lease=10.0)
    stage.settler.extend(held)
    await until(lambda: held.lease > boottime() + 20)
    assert len(stage.sqs.changes) == 2


async def test_nothing_hides_a_message_for_longer_than_its_twelve_hours() -> None:
    stage = Stage()
    stage.settler.change(stage.hold("m", age=43_190.0), 900.0)
    await until(lambda: not stage.held)
    ((_, seconds),) = stage.sqs.changes[0]
    assert 0 < seconds <= 10


async def test_a_stopping_program_waits_for_no_fuller_batch() -> None:
    stage = Stage()
    stage.settler.stop_gathering()
    stage.settler.delete(stage.deliver("m"))
    assert stage.held.unsettled() == 1
    await until(lambda: not stage.held)
    assert stage.held.unsettled() == 0


async def test_a_delivered_message_is_extended_while_its_delete_fails() -> None:
    stage = Stage(4)
    stage.sqs.refuse_deletes = True
    held = stage.deliver("m", lease=2.0)
    stage.settler.delete(held)
    ends = boottime() + 5.0
    while boottime() < ends:
        stage.settler.extend_waiting()
        await asyncio.sleep(0.05)
    assert held.lease > boottime()
    assert len(stage.sqs.deletes) > 1


async def test_no_extension_in_the_last_second_of_the_twelve_hours_shows_the_message_at_once() -> None:
    stage = Stage()
    stage.deliver("a", lease=0.4, age=MAX_HIDDEN_SECONDS - 0.9)
    stage.deliver("b", lease=5.0, age=MAX_HIDDEN_SECONDS - 9.9)
    stage.settler.extend_waiting()
    await until(lambda: stage.sqs.changes)
    assert stage.sqs.changes == [[("b", 9)]]
