"""Keep-alive: what a sender holds is extended in time, and what was held for 12 hours is told of."""

from __future__ import annotations

from structlog.testing import capture_logs

from courier.lease import MAX_HIDDEN_SECONDS
from courier.message import DELIVERED, EXTEND
from courier.process import scoreboard
from courier.sender.deliveries import LATE_SECONDS
from tests.unit.sender.stage import Stage, named
from tests.unit.stage import (
    Outcome,
    boottime,
)
from tests.waiting import stays, until


async def test_what_is_past_half_of_its_lease_is_extended_and_its_outcome_carries_the_new_end() -> None:
    stage = Stage(visibility=2)
    stage.put(*named("slow", lease=0.8))
    await until(lambda: Outcome(EXTEND, "slow") in stage.outcomes())
    stage.transport.posts[0].answer()
    await until(lambda: Outcome(DELIVERED, "slow") in stage.outcomes())
    assert stage.settlements[-1].lease > stage.settlements[0].lease


async def test_what_is_taken_at_the_very_end_of_its_lease_is_extended_as_it_is_sent() -> None:
    stage = Stage(visibility=30)
    await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
    stage.put(*named("late", lease=0.9 * LATE_SECONDS))
    await stage.sends(1)
    await stage.reports(Outcome(EXTEND, "late"))
    await stays(lambda: stage.outcomes() == [Outcome(EXTEND, "late")])
    stage.transport.posts[0].answer(200)
    await stage.reports(Outcome(EXTEND, "late"), Outcome(DELIVERED, "late"))


async def test_what_is_held_as_its_twelve_hours_end_is_told_of_and_only_what_is_under_way_goes_on() -> None:
    stage = Stage(limits={"concurrency": 1})
    received = boottime() - MAX_HIDDEN_SECONDS + 1.0
    end = received + MAX_HIDDEN_SECONDS
    old = [m._replace(received_at=received, lease=end) for m in named("old", "waiting")]
    with capture_logs() as logs:
        stage.put(*old)
        await stage.sends(1)
        await until(lambda: stage.word(scoreboard.EXPIRED) == 2)
        await stays(lambda: stage.word(scoreboard.EXPIRED) == 2)
    told = {line["message_id"]: line["waits_for"] for line in logs if "12 hours" in line["event"]}
    assert told == {"old": "its answer", "waiting": "its turn"}
    assert {line["log_level"] for line in logs if "12 hours" in line["event"]} == {"warning"}
    stage.transport.posts[0].answer(200)
    await stage.reports(Outcome(DELIVERED, "old"))
    assert stage.settlements[0].record
    assert stage.settlements[0].lease == 0.0
    assert stage.sent() == ["old"]
    assert stage.word(scoreboard.LAPSED) == 1


async def test_what_is_taken_without_being_woken_by_it_is_extended_too() -> None:
    stage = Stage(visibility=2, limits={"rate": 2.0})
    stage.put(*named("quick"))
    stage.put(*named("slow", lease=1.3))
    await stage.sends(1)
    stage.transport.posts[0].answer()
    # Nothing is held until the next token comes, half a second later, and that is a timer's word.
    await until(lambda: Outcome(EXTEND, "slow") in stage.outcomes())
