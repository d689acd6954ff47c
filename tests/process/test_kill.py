"""Processes killed, stopped and hung under ``python -m courier``: nothing is lost, nobody stalls."""

from __future__ import annotations

import random
import signal
import time

from courier.http.server import Response
from tests.process.conftest import Start
from tests.process.world import ROLES, Queue, Receiver, after, alive, bodies, children, kill, missing, title, until


def test_sigkill_of_an_idle_sender_starves_nobody(queue: Queue, receiver: Receiver, start: Start) -> None:
    courier = start(queue, "--senders", "4")
    sent: list[str] = []
    for turn in range(20):
        pids = courier.pids("sender")
        kill(pids[turn % len(pids)], signal.SIGKILL)
        sent += queue.send([f"after kill {turn}"])
        until(lambda: len(receiver.accepted) == turn + 1, 2.0, courier.log)  # noqa: B023 - it's called in this turn
    assert courier.drain() == 0
    assert receiver.accepted == dict.fromkeys(sent, 1)
    assert len(receiver.deliveries) == 20


def test_sigkill_of_a_sender_in_mid_post_repeats_only_its_own(queue: Queue, receiver: Receiver, start: Start) -> None:
    receiver.behave = after(1.0)
    sent = queue.send(bodies(200))
    courier = start(queue, "--senders", "4", "--concurrency", "8", "--visibility-timeout", "3")
    until(lambda: len(receiver.open) == 32, explain=courier.log)
    under_way = set(receiver.open)
    kill(courier.pids("sender")[0], signal.SIGKILL)
    receiver.behave = after(0.01)
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, receiver.accepted)
    repeated = {d.message_id for d in receiver.deliveries if d.number > 1}
    assert repeated <= under_way
    assert len(repeated) <= 8


def test_sigkill_of_a_consumer_under_load_with_large_bodies_stalls_nobody(
    queue: Queue, receiver: Receiver, start: Start
) -> None:
    sent = queue.send(["x" * 1_000_000 + str(n) for n in range(60)])
    receiver.behave = after(0.02)
    courier = start(queue, "--consumers", "2", "--visibility-timeout", "3", "--concurrency", "2")
    until(lambda: len(receiver.accepted) > 5, explain=courier.log)
    kill(courier.pids("consumer")[0], signal.SIGKILL)
    until(lambda: len(courier.pids("consumer")) == 2, 5.0, courier.log)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, receiver.accepted)


def test_sigkill_of_the_auditor_deletes_nothing_unrecorded_and_work_goes_on(
    queue: Queue, receiver: Receiver, start: Start
) -> None:
    sent = queue.send(bodies(2000))
    receiver.behave = after(0.02)
    courier = start(queue, "--visibility-timeout", "3")
    for goal in (200, 600, 1000):
        until(lambda: len(receiver.accepted) > goal, explain=courier.log)  # noqa: B023 - it's called in this turn
        kill(courier.pids("auditor")[0], signal.SIGKILL)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, receiver.accepted)
    assert not missing(sent, courier.recorded())


def test_sigkill_of_the_supervisor_leaves_no_process_and_nothing_hidden(
    queue: Queue, receiver: Receiver, start: Start
) -> None:
    receiver.behave = after(0.1)
    sent = queue.send(bodies(1000))
    first = start(queue)
    until(lambda: len(receiver.accepted) > 50, explain=first.log)
    pids = children(first.pid)
    kill(first.pid, signal.SIGKILL)
    until(lambda: not [pid for pid in pids if alive(pid)], 2.0, lambda: [title(pid) for pid in pids])
    first.wait(1.0)
    until(lambda: queue.counts()[1] == 0, 3.0, queue.counts)
    second = start(queue)
    until(lambda: queue.counts() == (0, 0), explain=second.log)
    assert second.drain() == 0
    assert receiver.accepted == dict.fromkeys(sent, 1)


def test_a_stopped_sender_is_replaced_by_the_watchdog(queue: Queue, receiver: Receiver, start: Start) -> None:
    courier = start(queue, "--senders", "2", "--hang-timeout", "2", "--visibility-timeout", "3")
    stopped = courier.pids("sender")[0]
    kill(stopped, signal.SIGSTOP)
    sent = queue.send(bodies(50))
    until(lambda: not alive(stopped), 12.0, courier.log)
    until(lambda: len(courier.pids("sender")) == 2, 5.0, courier.log)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert not missing(sent, receiver.accepted)


def test_a_stopped_auditor_is_replaced_and_repeats_no_more_than_it_held(
    queue: Queue, receiver: Receiver, start: Start
) -> None:
    receiver.behave = after(0.02)
    sent = queue.send(bodies(4000))
    courier = start(queue, "--visibility-timeout", "6", "--hang-timeout", "3", "--senders", "2", "--wait-time", "1")
    until(lambda: len(receiver.accepted) > 500, explain=courier.log)
    stopped = courier.pids("auditor")[0]
    kill(stopped, signal.SIGSTOP)
    until(lambda: not alive(stopped), 10.0, courier.log)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, receiver.accepted)
    assert not missing(sent, courier.recorded())
    # What came after the stop waits in the channel and in the senders, and its new reader settles it.
    assert len(receiver.duplicates()) <= 300


def test_a_second_sigterm_after_the_consumers_have_drained_leaves_nothing_hidden(
    queue: Queue, receiver: Receiver, start: Start
) -> None:
    receiver.behave = after(60.0)
    queue.send(bodies(300))
    courier = start(queue, "--drain-timeout", "60", "--senders", "2", "--concurrency", "8")
    until(lambda: len(receiver.open) == 16, explain=courier.log)
    courier.signal(signal.SIGTERM)
    until(lambda: 'event="stage drained" role=consumer' in courier.log(), 10.0, courier.log)
    courier.signal(signal.SIGTERM)
    assert courier.wait(5.0) == 4
    until(lambda: queue.counts()[1] == 0, 3.0, queue.counts)
    assert queue.counts() == (300, 0)


def test_a_sender_taken_out_under_load_costs_no_receive(queue: Queue, receiver: Receiver, start: Start) -> None:
    receiver.behave = after(0.03)
    sent = queue.send(bodies(1200))
    courier = start(queue, "--senders", "4", "--concurrency", "8", "--wait-time", "1")
    for left in (3, 2, 1):
        goal = len(receiver.accepted) + 100
        until(lambda: len(receiver.accepted) > goal, explain=courier.log)  # noqa: B023 - it's called in this turn
        courier.signal(signal.SIGTTOU)
        until(lambda: len(courier.pids("sender")) == left, explain=courier.log)  # noqa: B023
    assert queue.counts() != (0, 0)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert receiver.accepted == dict.fromkeys(sent, 1)
    assert sum(d.receive_count for d in receiver.deliveries) == 1200


def test_a_tree_that_was_stopped_as_a_whole_loses_nobody(queue: Queue, receiver: Receiver, start: Start) -> None:
    courier = start(queue, "--hang-timeout", "2")
    before = children(courier.pid)
    courier.signal_group(signal.SIGSTOP)
    time.sleep(4.0)  # longer than the hang timeout, which is what is tested
    courier.signal_group(signal.SIGCONT)
    sent = queue.send(bodies(50))
    until(lambda: receiver.accepted == dict.fromkeys(sent, 1), explain=courier.log)
    time.sleep(2.5)
    assert children(courier.pid) == before
    assert courier.drain() == 0


def test_a_worker_killed_every_second_loses_nothing(queue: Queue, receiver: Receiver, start: Start) -> None:
    chance = random.Random(7)
    receiver.behave = lambda d: Response(503) if chance.random() < 0.05 else after(0.01)(d)
    courier = start(queue, "--visibility-timeout", "5", "--backoff-base", "0.5", "--backoff-cap", "2")
    sent: list[str] = []
    for turn in range(30):
        sent += queue.send(bodies(60))
        role = ROLES[turn % 3] if turn % 4 else chance.choice(ROLES)
        pids = courier.pids(role)
        if pids:
            kill(chance.choice(pids), signal.SIGKILL)
        time.sleep(1.0)
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, receiver.accepted)
    assert not missing(sent, courier.recorded())
