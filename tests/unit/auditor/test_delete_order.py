"""The order of deletes on a FIFO queue, against a scripted SQS: which calls are made, one after another."""

from __future__ import annotations

import asyncio

from courier.lease import boottime
from tests.unit.auditor.settler_stage import THROTTLED, Stage
from tests.waiting import until


async def test_a_failed_fifo_delete_holds_back_the_rest_of_its_group_and_no_other() -> None:
    stage = Stage(fifo=True)
    stage.sqs.fail = {"a1": [THROTTLED]}
    stage.settler.delete(stage.deliver("a1", group="a"))
    await until(lambda: stage.sqs.deletes)
    stage.settler.delete(stage.deliver("a2", group="a"))
    stage.settler.delete(stage.deliver("b1", group="b"))
    await until(lambda: not stage.held)
    order = stage.sqs.deleted()
    assert order.index("a2") > max(i for i, receipt in enumerate(order) if receipt == "a1")
    assert order.count("b1") == 1


async def test_deletes_of_one_fifo_group_are_never_in_two_calls_at_once() -> None:
    stage = Stage(fifo=True)
    stage.sqs.gate.clear()
    stage.settler.delete(stage.deliver("a1", group="a"))
    await until(lambda: stage.sqs.deletes)
    stage.settler.delete(stage.deliver("a2", group="a"))
    stage.settler.delete(stage.deliver("b1", group="b"))
    await until(lambda: "b1" in stage.sqs.deleted())
    assert stage.sqs.deleted() == ["a1", "b1"]
    stage.sqs.gate.set()
    await until(lambda: not stage.held)
    assert stage.sqs.deleted() == ["a1", "b1", "a2"]


async def test_failed_deletes_of_a_fifo_group_are_made_again_in_order_before_later_ones() -> None:
    stage = Stage(fifo=True)
    stage.sqs.fail = {"a1": [THROTTLED, THROTTLED], "a2": [THROTTLED]}
    for name in ("a1", "a2", "a3"):
        stage.settler.delete(stage.deliver(name, group="a"))
    await until(lambda: len(stage.sqs.deletes) >= 1)
    stage.settler.delete(stage.deliver("a4", group="a"))
    await until(lambda: not stage.held)
    order = stage.sqs.deleted()
    last = {name: max(i for i, receipt in enumerate(order) if receipt == name) for name in ("a1", "a2", "a4")}
    assert last["a1"] < last["a2"] < last["a4"]


async def test_what_comes_in_while_a_fifo_group_waits_for_its_first_delete_does_not_join_it() -> None:
    stage = Stage(fifo=True)
    stage.sqs.broken = 1
    names = [f"m{n}" for n in range(11)]
    stage.settler.delete(*(stage.deliver(name, group="a") for name in names))
    await until(lambda: not stage.held)
    assert stage.sqs.deletes == [names[:10], names[:1], names[1:]]


async def test_a_fifo_group_waits_for_the_one_whose_extension_is_under_way() -> None:
    stage = Stage(fifo=True)
    stage.sqs.gate.clear()
    names = ["a1", "a2", "a3"]
    a1, a2, a3 = (stage.deliver(name, lease=10.0, group="a") for name in names)
    stage.settler.extend(a2)
    await until(lambda: stage.sqs.changes)
    stage.settler.delete(a2, a3)
    await asyncio.sleep(0.05)
    assert not stage.sqs.deletes
    stage.sqs.gate.set()
    await until(lambda: len(stage.held) == 1)
    assert stage.sqs.deleted() == ["a2", "a3"]
    stage.sqs.gate.clear()
    stage.settler.extend(a1)
    await until(lambda: len(stage.sqs.changes) == 2)
    b1 = stage.deliver("b1", group="b")
    stage.settler.delete(a1, b1)
    await until(lambda: stage.sqs.deleted()[2:] == ["b1"])
    stage.sqs.gate.set()
    await until(lambda: not stage.held)


async def test_a_change_that_lapses_lets_no_delete_of_its_fifo_group_overtake_another() -> None:
    stage = Stage(fifo=True)
    stage.sqs.fail = {"a1": [THROTTLED] * 5, "given back": [THROTTLED] * 1000}
    stage.settler.change(stage.hold("given back", lease=0.2, group="a"), 0.0)
    for name in ("a1", "a2"):
        stage.settler.delete(stage.deliver(name, group="a"))
        await until(lambda: stage.sqs.deletes)
    ends = boottime() + 20.0
    while stage.held and boottime() < ends:
        stage.settler.extend_waiting()
        await asyncio.sleep(0.02)
    order = stage.sqs.deleted()
    assert order == ["a1"] * 6 + ["a2"]
