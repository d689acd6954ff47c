"""A FIFO queue under failures and kills: no message is delivered before an earlier one of its group ever was."""

from __future__ import annotations

import random
import signal
import time
from collections import defaultdict

from courier.http.server import Response
from tests.process.conftest import Start
from tests.process.world import Queue, Receiver, after, kill, missing, until


def test_groups_keep_their_order_while_senders_are_killed_and_attempts_fail(
    virtual_queue: str, receiver: Receiver, start: Start
) -> None:
    queue = Queue(virtual_queue, fifo=True)
    names = [(group, n) for n in range(20) for group in range(50)]
    sent = queue.send([f"{group}:{n}" for group, n in names], [f"g{group}" for group, _ in names])
    chance = random.Random(11)
    receiver.behave = lambda d: Response(503) if chance.random() < 0.1 else after(0.01)(d)
    courier = start(queue, "--visibility-timeout", "3", "--backoff-base", "0.2", "--backoff-cap", "1")
    for _ in range(6):
        time.sleep(2.0)
        pids = courier.pids("sender")
        if pids:
            kill(chance.choice(pids), signal.SIGKILL)
        if queue.counts() == (0, 0):
            break
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, receiver.accepted)
    reached: dict[str, int] = defaultdict(lambda: -1)
    for delivery in receiver.deliveries:
        group, n = delivery.body.decode().split(":")
        assert int(n) <= reached[group] + 1, f"message {n} of group {group} came after {reached[group]}"
        reached[group] = max(reached[group], int(n))


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
