"""The main job by ``python -m courier``: what is queued is delivered, recorded and deleted, and it stops in order."""

from __future__ import annotations

import hashlib
import signal
import time
from pathlib import Path

import pytest

from courier.local.exchange import Response
from tests.integration.sqs_endpoints import sqs_client
from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, after, alive, bodies, children, missing, title, totals, until


def test_each_message_is_delivered_recorded_and_deleted_once(queue: Queue, recipient: Recipient, start: Start) -> None:
    texts = bodies(500)
    sent = queue.send(texts)
    courier = start(queue)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert courier.recorded() == dict.fromkeys(sent, 1)
    assert {d.message_id: d.body.decode() for d in recipient.deliveries} == dict(zip(sent, texts, strict=True))
    last = totals(courier.log())
    assert (last["received"], last["delivered"], last["recorded"], last["deleted"]) == (500, 500, 500, 500)


def test_sixteen_senders_and_eight_consumers_run_by_title_and_drain_in_order(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue, "--consumers", "8", "--senders", "16")
    assert [len(courier.pids(role)) for role in ("consumer", "sender", "auditor")] == [8, 16, 1]
    assert title(courier.pid).startswith("courier: supervisor")
    pids = children(courier.pid)
    assert courier.drain() == 0
    assert not [pid for pid in pids if alive(pid)]
    log = courier.log()
    drained = [log.index(f'event="stage drained" role={role}') for role in ("consumer", "sender", "auditor")]
    assert drained == sorted(drained)


def test_bodies_of_one_mebibyte_arrive_whole(queue: Queue, recipient: Recipient, start: Start) -> None:
    texts = [f"{n}" + "é" * ((1_048_576 - 1) // 2) for n in range(8)]
    sent = queue.send(texts)
    courier = start(queue)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    got = {d.message_id: hashlib.sha256(d.body).digest() for d in recipient.deliveries}
    assert got == {i: hashlib.sha256(t.encode()).digest() for i, t in zip(sent, texts, strict=True)}
    assert courier.recorded() == dict.fromkeys(sent, 1)


def test_an_empty_queue_is_waited_on_and_a_message_that_comes_is_delivered(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue)
    time.sleep(1.0)  # long enough for every consumer to be in its long poll
    sent = queue.send(["late"])
    until(lambda: recipient.accepted == dict.fromkeys(sent, 1), 10.0)  # a poll takes 20
    assert courier.drain() == 0


def test_a_failed_delivery_is_tried_again_by_receive_count(queue: Queue, recipient: Recipient, start: Start) -> None:
    recipient.behave = lambda d: Response(200 if d.number == 3 else 503)
    sent = queue.send(bodies(20))
    courier = start(queue, "--backoff-base", "0.1", "--backoff-cap", "1", "--breaker-threshold", "0")
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert {d.receive_count for d in recipient.deliveries} == {1, 2, 3}
    assert all(d.receive_count == d.number for d in recipient.deliveries)


def test_a_delivery_longer_than_the_visibility_timeout_is_kept_alive_and_happens_once(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    recipient.behave = after(9.0)
    sent = queue.send(bodies(5))
    courier = start(queue, "--visibility-timeout", "4")
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert len(recipient.deliveries) == 5


def test_a_long_poll_that_ends_late_hands_over_a_whole_lease(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue, "--visibility-timeout", "4", "--consumers", "1")
    time.sleep(8.0)  # the message comes when the poll is far older than the visibility timeout
    sent = queue.send(["late"])
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert totals(courier.log())["lapsed"] == 0


def test_one_slow_slot_burns_no_receives_of_what_waits(virtual_queue: str, recipient: Recipient, start: Start) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=3)
    sent = queue.send(bodies(75))
    recipient.behave = after(0.2)
    courier = start(
        queue, "--senders", "1", "--concurrency", "1", "--consumers", "8", "--visibility-timeout", "4", "--timeout", "5"
    )
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert recipient.accepted == dict.fromkeys(sent, 1)


def test_answers_that_take_longer_than_the_visibility_timeout_let_no_message_lapse_untried(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=1)
    sent = queue.send(bodies(32))
    recipient.behave = after(6.0)
    courier = start(queue, "--senders", "2", "--concurrency", "8", "--visibility-timeout", "5")
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert {delivery.receive_count for delivery in recipient.deliveries} == {1}
    assert totals(courier.log())["lapsed"] == 0


@pytest.mark.full
@pytest.mark.timeout(400)
def test_one_slot_of_a_second_with_eight_consumers_sends_nothing_untried_to_the_dead_letters(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=3)
    sent = queue.send(bodies(200))
    recipient.behave = after(1.0)
    courier = start(queue, "--senders", "1", "--concurrency", "1", "--consumers", "8")
    until(lambda: queue.counts() == (0, 0), 300, courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert recipient.accepted == dict.fromkeys(sent, 1)


@pytest.mark.alone
def test_slots_are_kept_busy(queue: Queue, recipient: Recipient, start: Start) -> None:
    # Answers that take long beside the turns of a busy machine, which would count as idle slots.
    recipient.behave = after(0.25)
    queue.send(bodies(1000))
    courier = start(queue, "--senders", "2", "--concurrency", "16")
    until(lambda: len(recipient.deliveries) > 100, explain=courier.log)
    busy = []
    while len(recipient.deliveries) < 900:
        busy.append(len(recipient.open))
        time.sleep(0.002)
    # Counted, not timed: of the moments looked at, how many of the 32 slots had a request open.
    assert sum(busy) / len(busy) >= 0.9 * 32
    assert courier.drain() == 0


def test_sigterm_under_load_loses_nothing_and_repeats_nothing_over_a_restart(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    recipient.behave = after(0.05)
    sent = queue.send(bodies(1500))
    first = start(queue)
    until(lambda: len(recipient.accepted) > 300, explain=first.log)
    assert first.drain() == 0
    until(lambda: queue.counts()[1] == 0, 10.0, queue.counts)
    assert first.recorded() == recipient.accepted
    second = start(queue)
    until(lambda: queue.counts() == (0, 0), explain=second.log)
    assert second.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)


def test_ctrl_c_to_the_whole_group_drains_as_sigterm_does(queue: Queue, recipient: Recipient, start: Start) -> None:
    recipient.behave = after(0.05)
    sent = queue.send(bodies(600))
    first = start(queue)
    until(lambda: len(recipient.accepted) > 100, explain=first.log)
    first.signal_group(signal.SIGINT)
    assert first.wait(40) == 0
    until(lambda: queue.counts()[1] == 0, 10.0, queue.counts)
    second = start(queue)
    until(lambda: queue.counts() == (0, 0), explain=second.log)
    assert second.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)


def test_a_delivery_that_outlasts_the_drain_timeout_is_cut_and_said_so(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    recipient.behave = after(60.0)
    queue.send(bodies(3))
    courier = start(queue, "--drain-timeout", "3")
    until(lambda: len(recipient.open) == 3, explain=courier.log)
    assert courier.drain(20) == 4
    assert totals(courier.log())["cut"] == 3
    until(lambda: queue.counts() == (3, 0), 10.0, queue.counts)


def test_a_second_signal_stops_at_once(queue: Queue, recipient: Recipient, start: Start) -> None:
    recipient.behave = after(60.0)
    queue.send(bodies(3))
    courier = start(queue, "--drain-timeout", "60")
    until(lambda: len(recipient.open) == 3, explain=courier.log)
    courier.signal(signal.SIGTERM)
    until(lambda: "draining" in courier.log(), 20.0, courier.log)
    courier.signal(signal.SIGTERM)
    assert courier.wait(15.0) == 4
    until(lambda: queue.counts() == (3, 0), 10.0, queue.counts)


def test_senders_are_added_and_taken_away_by_signal(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue, "--senders", "2")
    courier.signal(signal.SIGTTIN)
    until(lambda: len(courier.pids("sender")) == 3, explain=courier.log)
    courier.signal(signal.SIGTTOU)
    until(lambda: len(courier.pids("sender")) == 2, explain=courier.log)
    sent = queue.send(bodies(50))
    until(lambda: recipient.accepted == dict.fromkeys(sent, 1), explain=courier.log)
    assert courier.drain() == 0


def test_sigusr1_begins_a_new_audit_file(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue)
    first = queue.send(["one"])
    until(lambda: courier.recorded() == dict.fromkeys(first, 1), explain=courier.log)
    courier.signal(signal.SIGUSR1)
    time.sleep(0.3)
    second = queue.send(["two"])
    until(lambda: courier.recorded() == dict.fromkeys(first + second, 1), explain=courier.log)
    assert len(list(courier.audit.glob("*.jsonl"))) == 2
    assert courier.drain() == 0


def test_sigusr2_prints_the_stacks_of_every_process(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue)
    courier.signal(signal.SIGUSR2)
    until(lambda: courier.log().count("most recent call first") >= 8, 20.0, courier.log)
    assert courier.drain() == 0


def test_nothing_is_logged_for_a_message_at_the_default_level(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue)
    before = len(courier.log().splitlines())
    sent = queue.send(bodies(200))
    until(lambda: recipient.accepted == dict.fromkeys(sent, 1), explain=courier.log)
    assert len(courier.log().splitlines()) == before
    assert courier.drain() == 0
    assert not missing(sent, courier.recorded())


def test_the_embedded_queue_serves_other_programs_and_is_delivered_from(
    recipient: Recipient, tmp_path: Path, free_port: int
) -> None:
    endpoint = f"http://127.0.0.1:{free_port}"
    courier = Courier("trying", recipient.url, tmp_path, "--queue-type", "virtual", endpoint=endpoint)
    try:
        courier.wait_ready()
        sqs = sqs_client(endpoint)
        url = sqs.get_queue_url(QueueName="trying")["QueueUrl"]
        sent = [sqs.send_message(QueueUrl=url, MessageBody=body)["MessageId"] for body in bodies(10)]
        until(lambda: courier.recorded() == dict.fromkeys(sent, 1), explain=courier.log)
        assert courier.drain() == 0
    finally:
        courier.kill()


def test_no_queue_receives_nothing_and_drains(recipient: Recipient, tmp_path: Path) -> None:
    courier = Courier("", recipient.url, tmp_path, "--queue-type", "nop", endpoint="")
    try:
        courier.wait_ready()
        assert courier.drain() == 0
        assert totals(courier.log())["received"] == 0
    finally:
        courier.kill()
