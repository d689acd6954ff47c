"""A FIFO queue under failures and kills: no message comes before all earlier ones of its group were taken."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import pytest

from courier.local.exchange import Response
from tests.process.conftest import Start
from tests.process.faulty_sqs import FaultySqs
from tests.process.world import OK, Delivery, Queue, Recipient, kill, missing, until

KILL_SECONDS: Final = 2.0
"""How often a sender is killed."""


@pytest.fixture
def sqs() -> Iterator[FaultySqs]:
    """An SQS that shows faults."""
    sqs = FaultySqs()
    yield sqs
    sqs.stop()


class Groups:
    """A recipient that watches the order: each message of a group may come once all before it are taken.

    What was taken may come again. An attempt fails now and then.
    """

    def __init__(self, chance: random.Random) -> None:
        self.cut = 0
        self.failed = 0
        self.early: list[str] = []
        self._taken: dict[str, int] = defaultdict(lambda: -1)
        self._chance = chance

    async def answer(self, delivery: Delivery) -> Response:
        group, n = delivery.body.decode().split(":")
        if int(n) > self._taken[group] + 1:
            self.early.append(f"message {n} of group {group} came after {self._taken[group]} was taken")
        try:
            await asyncio.sleep(0.08)
        except asyncio.CancelledError:
            # Its client went away in the middle of the request.
            self.cut += 1
            raise
        if self._chance.random() < 0.1:
            self.failed += 1
            return Response(503)
        self._taken[group] = max(self._taken[group], int(n))
        return OK


def test_groups_keep_their_order_while_senders_are_killed_and_attempts_and_deletes_fail(
    sqs: FaultySqs, recipient: Recipient, start: Start
) -> None:
    # A kill costs what its sender held a receive, and a group can meet several.
    queue, dead = Queue.with_dead_letters(sqs.endpoint, receives=10, fifo=True)
    # A group's messages stand in a row, so that one receive gives several: a run.
    names = [(group, n) for group in range(50) for n in range(30)]
    sent = queue.send([f"{group}:{n}" for group, n in names], [f"g{group}" for group, _ in names])
    chance = random.Random(11)
    groups = Groups(chance)
    recipient.behave = groups.answer
    sqs.faults.entries["DeleteMessageBatch"] = 0.2
    options = ["--senders", "3", "--concurrency", "5", "--visibility-timeout", "5", "--wait-time", "1"]
    courier = start(queue, *options, "--backoff-base", "0.2", "--backoff-cap", "1", "--breaker-threshold", "0")
    kills = hits = 0
    while missing(sent, recipient.accepted):
        next_kill = time.monotonic() + KILL_SECONDS
        until(lambda: time.monotonic() > next_kill, KILL_SECONDS + 5)  # noqa: B023 - it's called in this turn
        before = groups.cut
        until(lambda: courier.pids("sender"), explain=courier.log)
        kill(chance.choice(courier.pids("sender")), signal.SIGKILL)
        kills += 1
        assert kills < 40, courier.log()
        with contextlib.suppress(AssertionError):
            until(lambda: groups.cut > before, 0.5)  # noqa: B023
        hits += groups.cut > before
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    print(f"{kills} kills, {hits} in mid-request; runs by length: {sorted(sqs.runs.items())}")
    assert not groups.early
    assert not missing(sent, courier.recorded())
    assert dead.counts() == (0, 0)
    # It was as hard as it should be.
    assert hits >= 3
    assert groups.failed > 0.08 * len(recipient.deliveries)
    assert sqs.faults.shown["DeleteMessageBatch"] > 0.1 * len(sent)
    assert sum(count for length, count in sqs.runs.items() if length > 1) > len(sent) / 10


def test_several_messages_of_a_group_in_one_receive_are_delivered_in_order_and_once(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue = Queue(virtual_queue, fifo=True)
    sent = queue.send([str(n) for n in range(100)], ["one-group"] * 100)
    courier = start(queue)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert [d.body for d in recipient.deliveries] == [str(n).encode() for n in range(100)]
    assert recipient.accepted == dict.fromkeys(sent, 1)


def test_a_failing_head_is_retried_in_place_without_costing_its_tail_a_receive(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue = Queue(virtual_queue, fifo=True)
    courier = start(queue, "--backoff-base", "0.1", "--backoff-cap", "1", "--visibility-timeout", "10")
    # Until a first success one message is received at a time, which leaves none behind it.
    queue.send(["first"], ["other"])
    until(lambda: recipient.accepted, explain=courier.log)
    recipient.behave = lambda d: Response(503) if d.body == b"0" and d.number < 4 else Response(200)
    queue.send([str(n) for n in range(10)], ["g"] * 10)
    until(lambda: len(recipient.accepted) == 11 and queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert [d.body for d in recipient.deliveries[1:]] == [b"0"] * 3 + [str(n).encode() for n in range(10)]
    assert {d.receive_count for d in recipient.deliveries} == {1}
