"""A FIFO queue under failures and kills: no message comes before all earlier ones of its group were taken."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator

import pytest

from courier.http.server import Response
from tests.process.conftest import Start
from tests.process.faulty_sqs import FaultySqs
from tests.process.world import OK, Delivery, Queue, Receiver, kill, missing, until


@pytest.fixture
def sqs() -> Iterator[FaultySqs]:
    """An SQS that shows faults."""
    sqs = FaultySqs()
    yield sqs
    sqs.stop()


class Groups:
    """A receiver that watches the order: each message of a group may come once all before it are taken.

    What was taken may come again. An attempt fails now and then.
    """

    def __init__(self, chance: random.Random) -> None:
        self.cut = 0
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
        if self._chance.random() < 0.05:
            return Response(503)
        self._taken[group] = max(self._taken[group], int(n))
        return OK


@pytest.mark.parametrize("undeleted", [0.0, 0.2], ids=["deletes-succeed", "a-fifth-of-the-deletes-fails"])
def test_groups_keep_their_order_while_busy_senders_are_killed_and_attempts_fail(
    sqs: FaultySqs, receiver: Receiver, start: Start, undeleted: float
) -> None:
    queue = Queue(sqs.endpoint, fifo=True)
    # A group's messages stand in a row, so that one receive gives several: a run.
    names = [(group, n) for group in range(50) for n in range(12)]
    sent = queue.send([f"{group}:{n}" for group, n in names], [f"g{group}" for group, _ in names])
    chance = random.Random(11)
    groups = Groups(chance)
    receiver.behave = groups.answer
    sqs.faults.entries["DeleteMessageBatch"] = undeleted
    options = ["--senders", "3", "--concurrency", "5", "--visibility-timeout", "3", "--wait-time", "1"]
    courier = start(queue, *options, "--backoff-base", "0.2", "--backoff-cap", "1", "--breaker-threshold", "0")
    hits = 0
    for turn in range(1, 6):
        until(lambda: len(receiver.accepted) > 70 * turn and receiver.open, 20, courier.log)  # noqa: B023
        before = groups.cut
        kill(chance.choice(courier.pids("sender")), signal.SIGKILL)
        deadline = time.monotonic() + 1.0
        while groups.cut == before and time.monotonic() < deadline:
            time.sleep(0.01)
        hits += groups.cut > before
    assert hits >= 4, courier.log()
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, receiver.accepted)
    assert not missing(sent, courier.recorded())
    assert bool(sqs.faults.shown["DeleteMessageBatch"]) == bool(undeleted)
    assert not groups.early


def test_several_messages_of_a_group_in_one_receive_are_delivered_in_order_and_once(
    virtual_queue: str, receiver: Receiver, start: Start
) -> None:
    queue = Queue(virtual_queue, fifo=True)
    sent = queue.send([str(n) for n in range(100)], ["one-group"] * 100)
    courier = start(queue)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert [d.body for d in receiver.deliveries] == [str(n).encode() for n in range(100)]
    assert receiver.accepted == dict.fromkeys(sent, 1)


def test_a_failing_head_is_retried_in_place_without_costing_its_tail_a_receive(
    virtual_queue: str, receiver: Receiver, start: Start
) -> None:
    queue = Queue(virtual_queue, fifo=True)
    receiver.behave = lambda d: Response(503) if d.body == b"0" and d.number < 4 else Response(200)
    queue.send([str(n) for n in range(10)], ["g"] * 10)
    courier = start(queue, "--backoff-base", "0.1", "--backoff-cap", "1", "--visibility-timeout", "10")
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert [d.body for d in receiver.deliveries] == [b"0"] * 3 + [str(n).encode() for n in range(10)]
    assert {d.receive_count for d in receiver.deliveries} == {1}
