from __future__ import annotations

import json

import pytest

from courier.local.virtual.content import read_message
from courier.local.virtual.errors import ServiceError
from courier.local.virtual.fifo import DEDUPLICATION_SECONDS, VirtualFifoQueue
from courier.local.virtual.message_store import MessageCounts
from courier.local.virtual.queue import Accepted
from courier.local.virtual.registry import Registry
from courier.local.virtual.stored import StoredMessage

START = 1_000_000.0


def queue_of(registry: Registry | None = None, name: str = "queue.fifo", **attributes: str) -> VirtualFifoQueue:
    queue = (registry or Registry()).create(name, {"FifoQueue": "true", **attributes}, START)
    assert isinstance(queue, VirtualFifoQueue)
    return queue


def send(
    queue: VirtualFifoQueue, body: str, group: str = "g", now: float = START, deduplication_id: str = ""
) -> Accepted:
    message = read_message({"MessageBody": body})
    message.group = group
    message.deduplication_id = deduplication_id or f"{group}-{body}"
    return queue.send(message, now)


def bodies(messages: list[StoredMessage]) -> str:
    return "".join(message.body for message in messages)


def test_a_receive_takes_of_one_group_what_it_can_and_then_of_the_next() -> None:
    queue = queue_of()
    for body in "abc":
        send(queue, body)
    for body in "xyz":
        send(queue, body, group="other")
    assert bodies(queue.receive(4, START)) == "abcx"
    assert queue.receive(4, START) == []
    assert not queue.has_receivable(START)


def test_a_group_comes_free_when_the_last_message_in_flight_is_gone() -> None:
    queue = queue_of()
    for body in "abc":
        send(queue, body)
    first, second = queue.receive(2, START)
    queue.delete(queue.receipt(first), START)
    assert queue.receive(1, START) == []
    queue.delete(queue.receipt(second), START)
    assert bodies(queue.receive(1, START)) == "c"


def test_messages_given_back_out_of_order_come_in_order() -> None:
    queue = queue_of()
    for body in "abcd":
        send(queue, body)
    taken = queue.receive(3, START)
    for message in reversed(taken):
        queue.change_visibility(queue.receipt(message), 0, START)
    assert bodies(queue.receive(10, START)) == "abcd"


def test_a_message_waits_for_the_older_ones_of_its_group_in_flight() -> None:
    queue = queue_of(VisibilityTimeout="30")
    for body in "abc":
        send(queue, body)
    first, _ = queue.receive(2, START)
    queue.change_visibility(queue.receipt(first), 100, START)
    assert queue.counts(START + 30) == MessageCounts(visible=2, in_flight=1, delayed=0)
    assert queue.receive(10, START + 30) == []
    assert bodies(queue.receive(10, START + 100)) == "abc"


def test_the_oldest_message_of_a_group_does_not_wait_for_later_ones_in_flight() -> None:
    queue = queue_of(VisibilityTimeout="30")
    for body in "abc":
        send(queue, body)
    first, second = queue.receive(2, START)
    queue.change_visibility(queue.receipt(second), 100, START)
    (again,) = queue.receive(10, START + 30)
    assert again is first
    queue.delete(queue.receipt(again), START + 30)
    assert queue.receive(10, START + 31) == []
    queue.delete(queue.receipt(second), START + 31)
    assert bodies(queue.receive(10, START + 31)) == "c"


def test_groups_take_turns() -> None:
    queue = queue_of()
    for body in "abc":
        send(queue, body)
    send(queue, "x", group="other")
    (first,) = queue.receive(1, START)
    queue.change_visibility(queue.receipt(first), 0, START)
    assert bodies(queue.receive(1, START)) == "x"
    assert bodies(queue.receive(1, START)) == "a"


def test_a_deduplication_id_is_forgotten_after_five_minutes() -> None:
    queue = queue_of()
    first = send(queue, "a", deduplication_id="same")
    assert send(queue, "b", now=START + DEDUPLICATION_SECONDS - 1, deduplication_id="same") == first
    assert send(queue, "c", now=START + DEDUPLICATION_SECONDS, deduplication_id="same") != first
    assert bodies(queue.receive(10, START + DEDUPLICATION_SECONDS)) == "ac"


def test_a_purge_forgets_deduplication_ids() -> None:
    queue = queue_of()
    first = send(queue, "a")
    queue.purge()
    assert send(queue, "a") != first
    assert bodies(queue.receive(10, START)) == "a"


def test_the_delay_of_the_queue_keeps_a_group_in_order() -> None:
    queue = queue_of(DelaySeconds="10")
    for n, body in enumerate("abc"):
        send(queue, body, now=START + n)
    assert queue.receive(10, START + 9) == []
    assert bodies(queue.receive(10, START + 11)) == "ab"


def test_a_new_delay_is_for_messages_that_are_delayed_already() -> None:
    registry = Registry()
    queue = queue_of(registry, DelaySeconds="100")
    send(queue, "a")
    send(queue, "b")
    registry.change(queue, {"DelaySeconds": "5"}, START + 1)
    assert queue.counts(START + 4) == MessageCounts(visible=0, in_flight=0, delayed=2)
    assert bodies(queue.receive(10, START + 5)) == "ab"


def test_a_new_delay_leaves_what_is_in_flight_in_flight() -> None:
    registry = Registry()
    queue = queue_of(registry)
    send(queue, "a")
    queue.receive(1, START, 50)
    registry.change(queue, {"DelaySeconds": "100"}, START)
    send(queue, "b")
    registry.change(queue, {"DelaySeconds": "10"}, START)
    assert queue.counts(START + 49) == MessageCounts(visible=1, in_flight=1, delayed=0)
    assert bodies(queue.receive(10, START + 50)) == "ab"


def test_at_the_limit_of_messages_in_flight_there_is_nothing_and_no_error() -> None:
    queue = queue_of()
    queue.in_flight_limit = 2
    for group in "xyz":
        send(queue, "a", group=group)
    assert len(queue.receive(10, START)) == 2
    assert queue.receive(10, START) == []
    assert not queue.refuses_short_poll(START)
    assert not queue.has_receivable(START)


def test_a_receive_that_is_asked_for_again_hides_its_messages_anew() -> None:
    queue = queue_of(VisibilityTimeout="30")
    send(queue, "a")
    lost = queue.receive(10, START)
    queue.remember("attempt", lost, START)
    assert queue.receive_again("attempt", START + 20) == lost
    assert queue.receive_again("attempt", START + 45) == lost
    assert lost[0].receive_count == 1
    assert queue.counts(START + 74).in_flight == 1
    assert queue.counts(START + 75).visible == 1
    assert queue.receive_again("attempt", START + 75) == []


@pytest.mark.parametrize("change", ["deleted", "changed", "lapsed", "late", "unknown"])
def test_a_receive_is_not_given_again_once_something_has_happened(change: str) -> None:
    queue = queue_of(VisibilityTimeout="1000")
    send(queue, "a")
    send(queue, "b")
    lost = queue.receive(10, START)
    queue.remember("attempt", lost, START)
    now = START + 1
    if change == "deleted":
        queue.delete(queue.receipt(lost[0]), now)
    elif change == "changed":
        queue.change_visibility(queue.receipt(lost[1]), 500, now)
    elif change == "lapsed":
        queue.change_visibility(queue.receipt(lost[1]), 0, now)
    elif change == "late":
        now = START + 300
    assert queue.receive_again("another" if change == "unknown" else "attempt", now) == []


def test_an_attempt_id_used_again_and_again_is_forgotten_once() -> None:
    queue = queue_of(VisibilityTimeout="1000")
    send(queue, "a")
    for step in range(3):
        queue.remember("attempt", [], START + step)
    lost = queue.receive(1, START + 10)
    queue.remember("attempt", lost, START + 10)
    assert queue.receive_again("attempt", START + 309) == lost
    assert queue.receive_again("attempt", START + 310) == []
    assert queue.receive_again("attempt", START + 1000) == []


def test_an_attempt_id_used_again_after_five_minutes_is_a_new_attempt() -> None:
    queue = queue_of(VisibilityTimeout="1000")
    for now in (START, START + 299, START + 301):
        send(queue, str(now), group=str(now), now=now)
    queue.remember("attempt", queue.receive(1, START), START)
    later = queue.receive(1, START + 301)
    queue.remember("attempt", later, START + 301)
    assert queue.receive_again("attempt", START + 400) == later


def test_a_dead_letter_keeps_its_group_and_gets_a_number_of_its_new_queue() -> None:
    registry = Registry()
    dead = queue_of(registry, "dead.fifo")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
    queue = queue_of(registry, RedrivePolicy=policy)
    send(dead, "first")
    for body in "abc":
        send(queue, body)
    for message in queue.receive(2, START):
        queue.change_visibility(queue.receipt(message), 0, START)
    assert bodies(queue.receive(10, START + 5)) == "c"
    messages = dead.receive(10, START + 5)
    assert [(m.body, m.group, m.sent) for m in messages] == [
        ("first", "g", START),
        ("a", "g", START + 5),
        ("b", "g", START + 5),
    ]
    assert sorted(messages, key=lambda m: int(dead.sequence(m))) == messages


def test_a_group_of_dead_letters_alone_gives_nothing_and_is_forgotten() -> None:
    registry = Registry()
    dead = queue_of(registry, "dead.fifo")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
    queue = queue_of(registry, RedrivePolicy=policy)
    send(queue, "a")
    queue.receive(1, START, 0)
    assert queue.receive(10, START) == []
    assert queue._groups == {}
    assert not queue.has_receivable(START)


def test_groups_that_are_done_do_not_stay_in_memory() -> None:
    queue = queue_of()
    for n in range(1000):
        send(queue, "a", group=str(n))
        (message,) = queue.receive(1, START)
        queue.delete(queue.receipt(message), START)
    assert queue._groups == {}
    assert not queue._free_groups


def test_messages_past_their_retention_do_not_hold_their_group() -> None:
    queue = queue_of(MessageRetentionPeriod="60", VisibilityTimeout="600")
    send(queue, "a")
    queue.receive(1, START)
    send(queue, "b", now=START + 30)
    assert bodies(queue.receive(10, START + 61)) == "b"


def test_a_delete_after_the_timeout_is_refused_and_the_message_stays() -> None:
    queue = queue_of(VisibilityTimeout="30")
    send(queue, "a")
    (message,) = queue.receive(1, START)
    with pytest.raises(ServiceError, match="has expired"):
        queue.delete(queue.receipt(message), START + 30)
    assert bodies(queue.receive(1, START + 30)) == "a"
