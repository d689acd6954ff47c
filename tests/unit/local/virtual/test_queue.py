from __future__ import annotations

import json
from typing import Any

import pytest

from courier.local.virtual.content import read_message
from courier.local.virtual.errors import ServiceError
from courier.local.virtual.message_store import REBUILD_AT, MessageCounts
from courier.local.virtual.queue import VirtualQueue
from courier.local.virtual.registry import Registry
from courier.local.virtual.stored import StoredMessage

START = 1_000_000.0


def queue_of(registry: Registry | None = None, name: str = "queue", **attributes: str) -> VirtualQueue:
    return (registry or Registry()).create(name, attributes, START)


def send(queue: VirtualQueue, body: str = "a", now: float = START, delay: int | None = None) -> None:
    queue.send(read_message({"MessageBody": body}), now, delay)


def bodies(messages: list[StoredMessage]) -> list[str]:
    return [message.body for message in messages]


def test_messages_come_in_the_order_in_which_they_came_visible() -> None:
    queue = queue_of()
    send(queue, "late", delay=5)
    send(queue, "early")
    assert bodies(queue.receive(10, START)) == ["early"]
    assert bodies(queue.receive(10, START + 5)) == ["late"]


@pytest.mark.parametrize("way", ["lapse", "given back", "delay"])
def test_a_message_that_comes_back_goes_ahead_of_newer_ones(way: str) -> None:
    # Source: LocalStack's test_inflight_message_requeue, which was run against AWS.
    queue = queue_of(VisibilityTimeout="5")
    send(queue, "first", delay=5 if way == "delay" else 0)
    taken = queue.receive(1, START)
    for body in ("second", "third"):
        send(queue, body, START + 1)
    if way == "given back":
        queue.change_visibility(queue.receipt(taken[0]), 0, START + 1)
    assert bodies(queue.receive(1, START + 5)) == ["first"]
    assert bodies(queue.receive(10, START + 5)) == ["second", "third"]


def test_a_message_is_hidden_until_the_very_instant_of_its_timeout() -> None:
    queue = queue_of(VisibilityTimeout="30")
    send(queue)
    queue.receive(1, START)
    assert queue.next_change() == START + 30
    assert queue.receive(1, START + 29.999) == []
    assert bodies(queue.receive(1, START + 30)) == ["a"]


def test_the_timeout_of_a_receive_is_not_kept_for_the_next() -> None:
    queue = queue_of(VisibilityTimeout="30")
    send(queue)
    queue.receive(1, START, 5)
    queue.receive(1, START + 5)
    assert queue.counts(START + 34.9) == MessageCounts(visible=0, in_flight=1, delayed=0)
    assert queue.counts(START + 35) == MessageCounts(visible=1, in_flight=0, delayed=0)


def test_the_twelve_hours_count_from_the_receive_whatever_was_changed_since() -> None:
    queue = queue_of()
    send(queue)
    (message,) = queue.receive(1, START)
    receipt = queue.receipt(message)
    queue.change_visibility(receipt, 43_200, START)
    queue.change_visibility(receipt, 3_200, START + 40_000)
    with pytest.raises(ServiceError, match="beyond the limit"):
        queue.change_visibility(receipt, 3_201, START + 40_000)
    assert queue.counts(START + 43_199).in_flight == 1
    assert queue.counts(START + 43_200).visible == 1


def test_a_new_receive_has_twelve_hours_of_its_own() -> None:
    queue = queue_of()
    send(queue)
    queue.receive(1, START)
    (message,) = queue.receive(1, START + 40_000)
    queue.change_visibility(queue.receipt(message), 43_200, START + 40_000)


def test_at_the_limit_of_messages_in_flight_nothing_is_given_out() -> None:
    queue = queue_of()
    queue.in_flight_limit = 3
    for _ in range(5):
        send(queue)
    taken = queue.receive(10, START)
    assert len(taken) == 3
    assert queue.receive(10, START) == []
    assert queue.refuses_short_poll(START)
    assert not queue.has_receivable(START)
    queue.delete(queue.receipt(taken[0]), START)
    assert not queue.refuses_short_poll(START)
    assert len(queue.receive(10, START)) == 1


def test_messages_older_than_the_retention_period_are_gone_whatever_their_state() -> None:
    queue = queue_of(MessageRetentionPeriod="60")
    send(queue, "visible")
    send(queue, "delayed", delay=900)
    queue.receive(1, START, 900)
    send(queue, "younger", now=START + 30)
    assert queue.counts(START + 59) == MessageCounts(visible=1, in_flight=1, delayed=1)
    assert queue.counts(START + 60) == MessageCounts(visible=1, in_flight=0, delayed=0)
    assert bodies(queue.receive(10, START + 61)) == ["younger"]


def test_a_message_past_its_retention_is_not_given_out_between_two_looks() -> None:
    queue = queue_of(MessageRetentionPeriod="60")
    send(queue)
    send(queue, now=START + 0.5)
    queue.counts(START + 60)
    assert queue.receive(10, START + 60.6) == []


def test_a_shorter_retention_period_is_for_messages_that_are_there_already() -> None:
    registry = Registry()
    queue = queue_of(registry)
    send(queue)
    registry.change(queue, {"MessageRetentionPeriod": "60"}, START + 100)
    assert queue.counts(START + 100) == MessageCounts(0, 0, 0)


def test_the_message_of_an_expired_receive_is_deleted_quietly() -> None:
    queue = queue_of(MessageRetentionPeriod="60")
    send(queue)
    (message,) = queue.receive(1, START, 900)
    receipt = queue.receipt(message)
    queue.delete(receipt, START + 61)
    with pytest.raises(ServiceError, match="does not exist"):
        queue.change_visibility(receipt, 5, START + 61)


def redriven(max_receives: int = 2, **dead_attributes: str) -> tuple[Registry, VirtualQueue, VirtualQueue]:
    registry = Registry()
    dead = queue_of(registry, "dead", **dead_attributes)
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": str(max_receives)})
    return registry, queue_of(registry, RedrivePolicy=policy), dead


def test_a_message_goes_to_the_dead_letter_queue_when_it_would_be_received_once_more() -> None:
    _, queue, dead = redriven(max_receives=2)
    send(queue)
    for _ in range(2):
        assert len(queue.receive(1, START, 0)) == 1
    assert dead.counts(START).visible == 0
    assert queue.receive(1, START) == []
    assert queue.counts(START) == MessageCounts(0, 0, 0)
    (message,) = dead.receive(1, START)
    assert (message.receive_count, message.source) == (3, queue)


def test_those_behind_a_dead_letter_are_received_by_the_same_call() -> None:
    _, queue, _ = redriven(max_receives=1)
    send(queue, "poison")
    queue.receive(1, START, 0)
    send(queue, "good")
    assert bodies(queue.receive(1, START)) == ["good"]


def test_the_dead_letter_queue_counts_receives_of_its_own_for_its_own_policy() -> None:
    registry, queue, dead = redriven(max_receives=3)
    last = queue_of(registry, "last")
    policy = json.dumps({"deadLetterTargetArn": last.arn, "maxReceiveCount": 2})
    registry.change(dead, {"RedrivePolicy": policy}, START)
    send(queue)
    for _ in range(4):
        queue.receive(1, START, 0)
    assert [len(dead.receive(1, START, 0)) for _ in range(3)] == [1, 1, 0]
    assert last.counts(START).visible == 1


def test_the_retention_of_a_dead_letter_counts_from_when_it_was_sent_first() -> None:
    _, queue, dead = redriven(max_receives=1, MessageRetentionPeriod="60")
    send(queue)
    queue.receive(1, START, 0)
    send(dead, "younger", now=START + 50)
    queue.receive(1, START + 55)
    assert dead.counts(START + 55).visible == 2
    assert bodies(dead.receive(10, START + 60)) == ["younger"]


def test_a_message_stays_where_it_is_when_the_dead_letter_queue_was_deleted() -> None:
    registry, queue, dead = redriven(max_receives=1)
    registry.delete(dead)
    send(queue)
    assert [len(queue.receive(1, START, 0)) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("receipt", ["", "nonsense", "AQEB"])
def test_a_handle_that_was_never_given_is_refused(receipt: str) -> None:
    queue = queue_of()
    send(queue)
    with pytest.raises(ServiceError, match="not a valid receipt handle"):
        queue.delete(receipt, START)


def test_a_handle_with_other_numbers_is_refused() -> None:
    queue = queue_of()
    send(queue)
    (message,) = queue.receive(1, START)
    receipt = queue.receipt(message)
    for numbers in ("000000000002000000000001", "000000000001000000000002", "00000000000x000000000001", "1" * 25):
        with pytest.raises(ServiceError, match="not a valid receipt handle"):
            queue.delete(receipt[: -len("000000000001000000000001")] + numbers, START)


def test_what_was_sent_has_an_id_of_its_own() -> None:
    queue = queue_of()
    ids = {queue.send(read_message({"MessageBody": "a"}), START).message_id for _ in range(1000)}
    assert len(ids) == 1000


def test_extending_again_and_again_does_not_fill_memory() -> None:
    queue = queue_of()
    send(queue)
    (message,) = queue.receive(1, START)
    receipt = queue.receipt(message)
    for step in range(20 * REBUILD_AT):
        queue.change_visibility(receipt, 30, START + step / 1000)
    assert len(queue._later) <= 2 * REBUILD_AT + 2


def test_deleting_what_is_in_flight_does_not_leave_it_in_memory() -> None:
    queue = queue_of()
    for step in range(10 * REBUILD_AT):
        send(queue, now=START + step / 1000)
        (message,) = queue.receive(1, START + step / 1000, 43_200)
        queue.delete(queue.receipt(message), START + step / 1000)
        assert message.body == ""
    assert len(queue._later) <= 2 * REBUILD_AT + 2
    assert queue._live == {}


def test_a_purge_makes_the_handles_before_it_harmless() -> None:
    queue = queue_of()
    send(queue)
    (message,) = queue.receive(1, START)
    queue.purge()
    queue.delete(queue.receipt(message), START)
    send(queue, "after")
    assert bodies(queue.receive(10, START)) == ["after"]
    assert queue.counts(START + 100) == MessageCounts(visible=1, in_flight=0, delayed=0)


def test_a_standard_queues_new_delay_is_not_for_messages_that_are_delayed_already() -> None:
    registry = Registry()
    queue = queue_of(registry, DelaySeconds="100")
    send(queue)
    registry.change(queue, {"DelaySeconds": "0"}, START)
    assert queue.counts(START) == MessageCounts(visible=0, in_flight=0, delayed=1)
    assert queue.counts(START + 100) == MessageCounts(visible=1, in_flight=0, delayed=0)


def test_a_change_that_is_refused_changes_nothing() -> None:
    registry = Registry()
    queue = queue_of(registry)
    wanted: dict[str, Any] = {"VisibilityTimeout": "5", "DelaySeconds": "901"}
    with pytest.raises(ServiceError):
        registry.change(queue, wanted, START)
    assert queue.settings.visibility == 30
    assert registry.attributes(queue)["VisibilityTimeout"] == "30"
