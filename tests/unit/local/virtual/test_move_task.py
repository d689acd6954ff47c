"""Move tasks, step by step: what they move, when, and how they end.

Sources: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html and
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/
sqs-configure-dead-letter-queue-redrive.html.
"""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.local.virtual.content import read_message
from courier.local.virtual.move_task import CANCELLED, COMPLETED, FAILED, MOST_AT_ONCE, RUNNING, MoveTask
from courier.local.virtual.queue import VirtualQueue
from courier.local.virtual.registry import Registry
from courier.local.virtual.stored import StoredMessage
from tests.examples import examples

START: Final = 1_000_000.0
ATTRIBUTES: Final = {"n": {"DataType": "Number", "StringValue": "1"}}


class Pipe:
    """A queue, its dead-letter queue, and another queue."""

    def __init__(self, *, fifo: bool = False) -> None:
        self.registry = Registry()
        suffix, kind = (".fifo", {"FifoQueue": "true"}) if fifo else ("", {})
        self.dead = self.registry.create(f"dead{suffix}", kind, START)
        self.other = self.registry.create(f"other{suffix}", kind, START)
        policy = json.dumps({"deadLetterTargetArn": self.dead.arn, "maxReceiveCount": 1})
        self.queue = self.registry.create(f"queue{suffix}", {**kind, "RedrivePolicy": policy}, START)

    def send(self, queue: VirtualQueue, body: str, group: str = "g") -> None:
        message = read_message({"MessageBody": body, "MessageAttributes": ATTRIBUTES})
        if queue.fifo:
            message.group = group
            message.deduplication_id = f"{body}-id"
        queue.send(message, START)

    def fail(self, *bodies: str) -> None:
        for body in bodies:
            self.send(self.queue, body)
        while self.queue.counts(START).visible:
            self.queue.receive(10, START, 0)

    def task(self, target: VirtualQueue | None = None, rate: int | None = None, now: float = START) -> MoveTask:
        return MoveTask(self.dead, target, rate, now, self.registry.current)


def held(queue: VirtualQueue) -> list[StoredMessage]:
    return list(queue._live.values())


def bodies(queue: VirtualQueue) -> list[str]:
    return [message.body for message in held(queue)]


@pytest.mark.parametrize("fifo", [False, True])
@pytest.mark.parametrize("back", [False, True])
def test_messages_move_in_order_as_new_ones(fifo: bool, back: bool) -> None:
    pipe = Pipe(fifo=fifo)
    pipe.fail("a", "b", "c")
    before = held(pipe.dead)
    task = pipe.task(None if back else pipe.other)
    assert (task.status, task.to_move, task.moved) == (RUNNING, 3, 0)
    target = pipe.queue if back else pipe.other
    assert task.step(START + 5) == {target}
    assert (task.status, task.moved) == (COMPLETED, 3)
    assert bodies(pipe.dead) == []
    moved = target.receive(10, START + 5)
    assert [message.body for message in moved] == ["a", "b", "c"]
    for old, new in zip(before, moved, strict=True):
        assert new.message_id != old.message_id
        assert (new.sent, new.receive_count, new.source) == (START + 5, 1, None)
        assert new.attributes == ATTRIBUTES
        assert new.group == ("g" if fifo else "")


def test_the_deduplication_id_of_a_dead_letter_is_its_message_id() -> None:
    # Source: "the original message's deduplication ID will be replaced with the original message's ID".
    pipe = Pipe(fifo=True)
    pipe.fail("a")
    (letter,) = held(pipe.dead)
    assert letter.deduplication_id == letter.message_id


def test_no_message_is_taken_for_a_duplicate_however_often_it_fails() -> None:
    pipe = Pipe(fifo=True)
    pipe.fail("a")
    for moved in range(1, 4):
        task = pipe.task()
        task.step(START)
        assert (task.status, task.moved) == (COMPLETED, 1)
        assert bodies(pipe.queue) == ["a"], moved
        pipe.fail()
        assert bodies(pipe.dead) == ["a"]


def test_a_message_that_was_sent_to_the_dead_letter_queue_has_no_source_to_go_back_to() -> None:
    pipe = Pipe()
    pipe.fail("a")
    pipe.send(pipe.dead, "b")
    task = pipe.task()
    task.step(START)
    assert (task.status, task.failure, task.moved) == (FAILED, "CouldNotDetermineMessageSource", 1)
    assert bodies(pipe.dead) == ["b"]
    elsewhere = pipe.task(pipe.other)
    elsewhere.step(START)
    assert (elsewhere.status, bodies(pipe.other)) == (COMPLETED, ["b"])


@pytest.mark.parametrize("gone", ["dead", "other"])
def test_a_task_whose_queue_is_deleted_fails(gone: str) -> None:
    # Source: LocalStack's test_move_task_delete_destination_queue_while_running, which was run against AWS.
    pipe = Pipe()
    pipe.fail("a", "b")
    task = pipe.task(pipe.other, rate=1)
    task.step(START)
    pipe.registry.delete(pipe.registry.find(gone))
    assert task.step(START + 1) == set()
    assert (task.status, task.failure, task.moved) == (FAILED, "AWS.SimpleQueueService.NonExistentQueue", 1)
    assert bodies(pipe.dead) == (["b"] if gone == "other" else [])


def test_a_queue_of_the_same_name_takes_the_place_of_a_deleted_destination() -> None:
    pipe = Pipe()
    pipe.fail("a")
    pipe.registry.delete(pipe.queue)
    again = pipe.registry.create("queue", {}, START)
    task = pipe.task()
    assert task.step(START) == {again}
    assert bodies(again) == ["a"]


@pytest.mark.parametrize("rate", [1, 3, 500])
def test_a_rate_is_kept(rate: int) -> None:
    # Source: LocalStack's test_move_task_with_throughput_limit: the first moves at once.
    pipe = Pipe()
    pipe.fail(*map(str, range(20)))
    task = pipe.task(pipe.other, rate)
    now, steps = START, 0
    while task.active:
        task.step(now)
        assert task.moved <= (now - START) * rate + 1
        assert not task.active or task.next_step() > now or task.moved >= MOST_AT_ONCE
        now = max(now, task.next_step()) + 1e-6
        steps += 1
    assert (task.status, task.moved, steps) == (COMPLETED, 20, 21)


def test_a_step_moves_only_so_many_that_others_are_answered_meanwhile() -> None:
    pipe = Pipe()
    pipe.fail(*map(str, range(MOST_AT_ONCE + 5)))
    task = pipe.task()
    task.step(START)
    assert (task.status, task.moved) == (RUNNING, MOST_AT_ONCE)
    assert task.next_step() <= START
    task.step(START)
    assert (task.status, task.moved) == (COMPLETED, MOST_AT_ONCE + 5)


def test_a_cancelled_task_moves_nothing_more() -> None:
    pipe = Pipe()
    pipe.fail("a", "b", "c")
    task = pipe.task(pipe.other, rate=1)
    task.step(START)
    task.cancel()
    assert task.active
    assert task.step(START + 10) == set()
    assert (task.status, task.moved, bodies(pipe.dead)) == (CANCELLED, 1, ["b", "c"])


def test_messages_in_flight_stay() -> None:
    pipe = Pipe()
    pipe.fail("a", "b")
    pipe.dead.receive(1, START, 30)
    task = pipe.task()
    task.step(START)
    assert (task.status, task.to_move, task.moved, bodies(pipe.dead)) == (COMPLETED, 1, 1, ["a"])


ACTS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from("xyz")),
        st.tuples(st.just("receive"), st.integers(1, 3)),
        st.tuples(st.just("give back"), st.just(0)),
        st.tuples(st.just("delete"), st.just(0)),
        st.tuples(st.just("step"), st.integers(0, 3)),
    ),
    max_size=40,
)


@given(acts=ACTS, rate=st.sampled_from([None, 1, 2]), fifo=st.booleans())
@settings(max_examples=examples(300), deadline=None)
def test_every_message_is_in_one_place_and_groups_keep_their_order(
    acts: list[tuple[str, str | int]], rate: int | None, fifo: bool
) -> None:
    pipe = Pipe(fifo=fifo)
    now, number = START, 0
    taken: list[str] = []
    there: dict[str, str] = {}
    task = pipe.task(pipe.other, rate)
    for act, value in acts:
        if act == "send":
            number += 1
            there[str(number)] = str(value)
            pipe.send(pipe.dead, str(number), str(value))
        elif act == "receive":
            taken += [pipe.dead.receipt(message) for message in pipe.dead.receive(int(value), now, 1000)]
        elif act == "step":
            now += int(value)
            task.step(now)
        elif taken and act == "give back":
            pipe.dead.change_visibility(taken.pop(), 0, now)
        elif taken:
            before = set(bodies(pipe.dead))
            pipe.dead.delete(taken.pop(), now)
            for body in before - set(bodies(pipe.dead)):
                del there[body]
        if not task.active:
            task = pipe.task(pipe.other, rate, now)
        assert sorted(bodies(pipe.dead) + bodies(pipe.other)) == sorted(there)
    if fifo:
        moved = bodies(pipe.other)
        for group in "xyz":
            order = [int(body) for body in moved if there[body] == group]
            assert order == sorted(order)
