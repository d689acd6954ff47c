"""Processes killed, stopped and hung under ``python -m courier``: nothing is lost, nobody stalls."""

from __future__ import annotations

import random
import signal
import time

from courier.local.exchange import Response
from tests.process.conftest import Start
from tests.process.world import ROLES, Queue, Recipient, after, alive, bodies, children, kill, missing, title, until


def test_sigkill_of_an_idle_sender_starves_nobody(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue, "--senders", "4")
    sent: list[str] = []
    for turn in range(20):
        pids = courier.pids("sender")
        kill(pids[turn % len(pids)], signal.SIGKILL)
        sent += queue.send([f"after kill {turn}"])
        until(lambda: len(recipient.accepted) == turn + 1, 10.0, courier.log)  # noqa: B023 - it's called in this turn
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert len(recipient.deliveries) == 20


def test_sigkill_of_a_sender_in_mid_post_repeats_only_its_own(queue: Queue, recipient: Recipient, start: Start) -> None:
    recipient.behave = after(1.0)
    sent = queue.send(bodies(200))
    courier = start(queue, "--senders", "4", "--concurrency", "8", "--visibility-timeout", "6")
    until(lambda: len(recipient.open) == 32, explain=courier.log)
    under_way = set(recipient.open)
    kill(courier.pids("sender")[0], signal.SIGKILL)
    recipient.behave = after(0.01)
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, recipient.accepted)
    repeated = {d.message_id for d in recipient.deliveries if d.number > 1}
    assert repeated <= under_way
    assert len(repeated) <= 8


def test_sigkill_of_a_consumer_under_load_with_large_bodies_stalls_nobody(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    sent = queue.send(["x" * 1_000_000 + str(n) for n in range(60)])
    recipient.behave = after(0.02)
    courier = start(queue, "--consumers", "2", "--visibility-timeout", "3", "--concurrency", "2")
    until(lambda: len(recipient.accepted) > 5, explain=courier.log)
    kill(courier.pids("consumer")[0], signal.SIGKILL)
    until(lambda: len(courier.pids("consumer")) == 2, 20.0, courier.log)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, recipient.accepted)


def test_sigkill_of_the_auditor_deletes_nothing_unrecorded_and_work_goes_on(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    sent = queue.send(bodies(2000))
    recipient.behave = after(0.02)
    courier = start(queue, "--visibility-timeout", "3")
    for goal in (200, 600, 1000):
        until(lambda: len(recipient.accepted) > goal, explain=courier.log)  # noqa: B023 - it's called in this turn
        # The next one may not be there yet.
        until(lambda: courier.pids("auditor"), explain=courier.log)
        kill(courier.pids("auditor")[0], signal.SIGKILL)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, recipient.accepted)
    assert not missing(sent, courier.recorded())


def test_sigkill_of_the_supervisor_leaves_no_process_and_nothing_hidden(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    recipient.behave = after(0.1)
    sent = queue.send(bodies(1000))
    first = start(queue)
    until(lambda: len(recipient.accepted) > 50, explain=first.log)
    pids = children(first.pid)
    kill(first.pid, signal.SIGKILL)
    until(lambda: not [pid for pid in pids if alive(pid)], 10.0, lambda: [title(pid) for pid in pids])
    first.wait(10.0)
    until(lambda: queue.counts()[1] == 0, 10.0, queue.counts)
    second = start(queue)
    until(lambda: queue.counts() == (0, 0), explain=second.log)
    assert second.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)


def test_a_stopped_sender_is_replaced_by_the_watchdog(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue, "--senders", "2", "--hang-timeout", "2", "--visibility-timeout", "3")
    stopped = courier.pids("sender")[0]
    kill(stopped, signal.SIGSTOP)
    sent = queue.send(bodies(50))
    until(lambda: not alive(stopped), 20.0, courier.log)
    until(lambda: len(courier.pids("sender")) == 2, 20.0, courier.log)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert not missing(sent, recipient.accepted)


def test_a_stopped_auditor_is_replaced_and_repeats_no_more_than_it_held(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    recipient.behave = after(0.02)
    sent = queue.send(bodies(4000))
    courier = start(queue, "--visibility-timeout", "10", "--hang-timeout", "3", "--senders", "2", "--wait-time", "1")
    until(lambda: len(recipient.accepted) > 500, explain=courier.log)
    stopped = courier.pids("auditor")[0]
    kill(stopped, signal.SIGSTOP)
    # It may hold whatever was delivered by then.
    held = len(recipient.accepted)
    until(lambda: not alive(stopped), 20.0, courier.log)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, recipient.accepted)
    assert not missing(sent, courier.recorded())
    # What came after the stop waits in the channel and in the senders, and its new reader settles it.
    assert len(recipient.duplicates()) <= held


def test_a_second_sigterm_after_the_consumers_have_drained_leaves_nothing_hidden(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    recipient.behave = after(60.0)
    queue.send(bodies(300))
    courier = start(queue, "--drain-timeout", "60", "--senders", "2", "--concurrency", "8")
    until(lambda: len(recipient.open) == 16, explain=courier.log)
    courier.signal(signal.SIGTERM)
    until(lambda: 'event="stage drained" role=consumer' in courier.log(), 20.0, courier.log)
    courier.signal(signal.SIGTERM)
    assert courier.wait(15.0) == 4
    until(lambda: queue.counts()[1] == 0, 10.0, queue.counts)
    assert queue.counts() == (300, 0)


def test_a_sender_taken_out_under_load_costs_no_receive(queue: Queue, recipient: Recipient, start: Start) -> None:
    recipient.behave = after(0.03)
    sent = queue.send(bodies(1200))
    courier = start(queue, "--senders", "4", "--concurrency", "8", "--wait-time", "1")
    for left in (3, 2, 1):
        goal = len(recipient.accepted) + 100
        until(lambda: len(recipient.accepted) > goal, explain=courier.log)  # noqa: B023 - it's called in this turn
        courier.signal(signal.SIGTTOU)
        until(lambda: len(courier.pids("sender")) == left, explain=courier.log)  # noqa: B023
    assert queue.counts() != (0, 0)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert sum(d.receive_count for d in recipient.deliveries) == 1200


def test_a_tree_that_was_stopped_as_a_whole_loses_nobody(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue, "--hang-timeout", "4")
    before = children(courier.pid)
    courier.signal_group(signal.SIGSTOP)
    time.sleep(6.0)  # longer than the hang timeout, which is what is tested
    courier.signal_group(signal.SIGCONT)
    sent = queue.send(bodies(50))
    until(lambda: recipient.accepted == dict.fromkeys(sent, 1), explain=courier.log)
    time.sleep(4.5)
    assert children(courier.pid) == before
    assert courier.drain() == 0


def test_a_worker_killed_every_second_loses_nothing(queue: Queue, recipient: Recipient, start: Start) -> None:
    chance = random.Random(7)
    recipient.behave = lambda d: Response(503) if chance.random() < 0.05 else after(0.01)(d)
    courier = start(queue, "--visibility-timeout", "5", "--backoff-base", "0.5", "--backoff-cap", "2")
    sent: list[str] = []
    for turn in range(18):
        sent += queue.send(bodies(100))
        role = ROLES[turn % 3] if turn % 4 else chance.choice(ROLES)
        pids = courier.pids(role)
        if pids:
            kill(chance.choice(pids), signal.SIGKILL)
        time.sleep(1.0)
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, recipient.accepted)
    assert not missing(sent, courier.recorded())
