"""Scans on a clock of our own: each message once, hidden until the end, and shown again then."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.dlq.scan import EMPTY_AT_LEAST, VISIBILITY_SECONDS, Scan, why_unseen
from courier.errors import SqsError
from courier.message import Message
from courier.sqs.queue import QueueDepth
from tests.unit.dlq.dead_queue import DeadQueue
from tests.unit.virtual_time import Clock, run_virtually


@given(
    count=st.integers(0, 60),
    receivers=st.integers(1, 5),
    pace=st.floats(0.0, 40.0),
    fails=st.floats(0.0, 0.3),
    empties=st.floats(0.0, 0.2),
    late=st.booleans(),
    seed=st.integers(0, 1000),
    deleted=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_each_message_is_seen_once_and_shown_again_unless_it_was_deleted(
    count: int, receivers: int, pace: float, fails: float, empties: float, late: bool, seed: int, deleted: float
) -> None:
    clock = Clock()
    queue = DeadQueue(clock, fails=fails, empties=empties, count_is_late=late, seed=seed)
    ids = [f"m{n}" for n in range(count)]
    queue.put(*ids)
    seen: list[str] = []
    gone: set[str] = set()

    async def handle(messages: list[Message]) -> None:
        seen.extend(message.message_id for message in messages)
        await asyncio.sleep(pace * len(messages))
        out = [m for m in messages if queue.random.random() < deleted]
        if out:
            results = await scan.delete(out)
            gone.update(m.message_id for m, result in zip(out, results, strict=True) if result is None)

    scan = Scan(queue)

    async def scenario() -> None:
        async with scan:
            await scan.each(handle, receivers=receivers)

    run_virtually(clock, scenario())
    assert len(seen) == len(set(seen)) == scan.seen
    # Receives that find nothing though messages wait can end a scan early, if the count is wrong too.
    if not empties:
        assert set(seen) == set(ids)
    assert gone.isdisjoint(queue.stored)
    assert gone | set(queue.stored) == set(ids)
    assert len(queue.hidden()) <= scan.stays_hidden


def test_a_queue_that_is_gone_at_the_end_is_not_waited_for() -> None:
    clock = Clock()
    queue = DeadQueue(clock)
    queue.put(*(f"m{n}" for n in range(3000)))
    scan = Scan(queue)
    began = 0.0

    async def scenario() -> None:
        nonlocal began
        async with scan:

            async def ignore(messages: list[Message]) -> None:
                pass

            await scan.each(ignore)
            queue.fails = 1.0
            began = clock.now

    run_virtually(clock, scenario())
    assert clock.now - began < 20
    assert scan.stays_hidden == 3000
    assert scan.hide_failure is not None


@settings(max_examples=10)
@given(hours=st.floats(0.0, 30.0), fifo=st.booleans())
def test_what_is_held_stays_hidden_for_as_long_as_sqs_allows_and_is_not_seen_twice(hours: float, fifo: bool) -> None:
    clock = Clock()
    queue = DeadQueue(clock, fifo=fifo)
    queue.put(*(f"m{n}" for n in range(12)), group="g" if fifo else "")
    seen: list[str] = []

    async def scenario() -> None:
        async with Scan(queue) as scan:
            began = clock.now
            seen.extend(m.message_id for m in await scan.next())
            while clock.now - began < hours * 3600:
                await asyncio.sleep(min(600.0, hours * 3600))
                if clock.now - began < 43_000:
                    assert len(queue.hidden()) == 10
            seen.extend([m.message_id for m in await scan.next()])
            # Whoever kills it now hides them for no longer than the scan has lasted.
            left = max(each.visible_at for each in queue.stored.values()) - clock.now
            assert left <= max(VISIBILITY_SECONDS, clock.now - began)

    run_virtually(clock, scenario())
    assert len(seen) == len(set(seen))
    assert queue.hidden() == []


def test_a_scan_that_is_stopped_shows_everything_again_at_once() -> None:
    clock = Clock()
    queue = DeadQueue(clock)
    queue.put(*(f"m{n}" for n in range(500)))

    async def scenario() -> None:
        async with Scan(queue) as scan:

            async def handle(_: list[Message]) -> None:
                if scan.seen >= 100:
                    scan.stop()

            await scan.each(handle)
            assert 100 <= scan.seen < 200
            assert scan.left is None
            began = clock.now
        assert clock.now - began < 2.0

    run_virtually(clock, scenario())
    assert queue.hidden() == []


def test_a_message_shown_during_the_scan_is_received_anew() -> None:
    clock = Clock()
    queue = DeadQueue(clock)
    queue.put("a")

    async def scenario() -> None:
        async with Scan(queue) as scan:
            first = await scan.next()
            await scan.show(first)
            assert [m.message_id for m in await scan.next()] == ["a"]

    run_virtually(clock, scenario())


def test_an_empty_queue_ends_a_scan_after_a_few_receives() -> None:
    clock = Clock()
    queue = DeadQueue(clock)

    async def scenario() -> None:
        async with Scan(queue) as scan:
            began = clock.now
            assert await scan.next() == []
            assert clock.now - began < 4.0
            assert scan.left == QueueDepth(0, 0, 0)

    run_virtually(clock, scenario())
    assert queue.calls <= 2 * EMPTY_AT_LEAST


def test_a_group_whose_first_message_is_kept_hides_its_others_and_one_that_is_deleted_does_not() -> None:
    clock = Clock()
    queue = DeadQueue(clock, fifo=True)
    for group in "ab":
        queue.put(*(f"{group}{n}" for n in range(25)), group=group)
    seen: list[str] = []

    async def scenario() -> None:
        async with Scan(queue) as scan:

            async def handle(messages: list[Message]) -> None:
                seen.extend(m.message_id for m in messages)
                if out := [m for m in messages if m.group == "a"]:
                    assert await scan.delete(out) == [None] * len(out)

            await scan.each(handle)
            assert scan.left is not None
            assert why_unseen(scan.left, scan.held, fifo=True) != []

    run_virtually(clock, scenario())
    assert [each for each in seen if each[0] == "a"] == [f"a{n}" for n in range(25)]
    assert [each for each in seen if each[0] == "b"] == [f"b{n}" for n in range(10)]
    assert queue.hidden() == []


def test_a_queue_that_refuses_receives_ends_a_scan_with_its_error() -> None:
    clock = Clock()
    queue = DeadQueue(clock, fails=1.0)

    async def scenario() -> None:
        with pytest.raises(SqsError):
            async with Scan(queue) as scan:
                await scan.each(lambda _: asyncio.sleep(0))

    run_virtually(clock, scenario())


def test_what_was_not_seen_is_explained() -> None:
    assert why_unseen(QueueDepth(0, 0, 3), 3, fifo=False) == []
    assert why_unseen(None, 3, fifo=False) == []
    (line,) = why_unseen(QueueDepth(5, 0, 3), 3, fifo=True)
    assert "FIFO" in line
    (line,) = why_unseen(QueueDepth(50_000, 0, 119_990), 119_990, fifo=False)
    assert "120,000" in line
    assert len(why_unseen(QueueDepth(0, 2, 10), 3, fifo=False)) == 2
