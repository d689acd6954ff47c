"""The calls that settle while SQS is away: how many are made, and when."""

from __future__ import annotations

from courier.process import scoreboard
from tests.unit.auditor.settler_stage import Stage
from tests.waiting import until


async def test_a_call_that_fails_as_a_whole_is_made_again() -> None:
    stage = Stage()
    stage.sqs.broken = 2
    stage.settler.delete(stage.deliver("m"))
    await until(lambda: not stage.held)
    assert stage.sqs.deleted() == ["m", "m", "m"]


async def test_while_sqs_is_away_one_call_at_a_time_asks_for_it() -> None:
    stage = Stage()
    stage.sqs.broken = 34
    for n in range(500):
        stage.settler.delete(stage.deliver(f"m{n}"))
    await until(lambda: stage.sqs.broken == 0, 20.0)
    # What was under way when the first one failed, and then one after another.
    assert len(stage.sqs.deletes) <= 35
    await until(lambda: not stage.held)
    assert stage.count(scoreboard.DELETED) == 500
