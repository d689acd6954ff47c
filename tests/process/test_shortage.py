"""Too few descriptors, while the program runs and at its start: fewer deliveries at a time, and nothing else."""

from __future__ import annotations

import json
import os
import resource
import urllib.request
from pathlib import Path

import pytest

from courier.config.file_descriptors import OWN, PER_DELIVERY, SPARE
from courier.config.processes import SPARE_SENDERS
from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, after, bodies, missing, until

ENOUGH = 4096


def leave_descriptors(pid: int, count: int) -> None:
    """Let a process open so many descriptors more than it has now."""
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    limit = 0
    while limit in taken or count > 0:
        count -= limit not in taken
        limit += 1
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))


def leave_enough(pid: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(hard, ENOUGH), hard))


def status(port: int) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=10) as answer:
        found = json.load(answer)
    assert isinstance(found, dict)
    return found


def assert_harmless(courier: Courier, recipient: Recipient, sent: list[str]) -> None:
    """Nothing was charged to anybody: no breaker, no retry, no second receive."""
    assert not missing(sent, recipient.accepted)
    assert courier.drain() == 0
    log = courier.log()
    assert "circuit breaker open" not in log
    assert "retried=0 rejected=0" in log
    assert {delivery.receive_count for delivery in recipient.deliveries} == {1}
    assert not missing(sent, courier.recorded())


@pytest.mark.parametrize("transport", sorted(PER_DELIVERY))
def test_a_sender_without_descriptors_delivers_less_at_a_time_and_more_when_there_are_some_again(
    queue: Queue, recipient: Recipient, start: Start, free_port: int, transport: str
) -> None:
    recipient.behave = after(0.01)
    options = ["--senders", "2", "--concurrency", "16", "--breaker-threshold", "2", "--transport", transport]
    courier = start(queue, *options, "--api", f"127.0.0.1:{free_port}")
    senders = courier.pids("sender")
    for pid in senders:
        leave_descriptors(pid, 3 * PER_DELIVERY[transport])
    sent = queue.send(bodies(400))
    until(lambda: len(recipient.accepted) == 400, explain=courier.log)
    assert "no resources for another delivery" in courier.log()
    for pid in senders:
        leave_enough(pid)
    until(
        lambda: courier.log().count("shortage over") >= courier.log().count("no resources"),
        explain=courier.log,
    )
    until(lambda: status(free_port)["limit"] == 32, explain=lambda: status(free_port))
    assert_harmless(courier, recipient, sent)


def test_senders_that_can_connect_nowhere_stop_receiving_and_go_on_by_themselves(
    queue: Queue, recipient: Recipient, start: Start, free_port: int
) -> None:
    options = ["--senders", "2", "--visibility-timeout", "2", "--breaker-threshold", "2"]
    courier = start(queue, *options, "--api", f"127.0.0.1:{free_port}")
    senders = courier.pids("sender")
    for pid in senders:
        leave_descriptors(pid, 0)
    sent = queue.send(bodies(200))
    until(lambda: status(free_port)["shortages"] == {"file descriptors": 2}, explain=courier.log)
    until(lambda: "shortage: file descriptors" in str(status(free_port)["reasons"]), explain=courier.log)
    visible, _ = queue.counts()
    assert visible >= 100, "nothing more is received for slots that are of no use"
    assert not recipient.deliveries
    for pid in senders:
        leave_enough(pid)
    until(lambda: len(recipient.accepted) == 200, explain=courier.log)
    until(lambda: status(free_port)["reasons"] == [], explain=lambda: status(free_port))
    assert not missing(sent, recipient.accepted)
    assert courier.drain() == 0
    assert "circuit breaker open" not in courier.log()
    assert "retried=0 rejected=0" in courier.log()


@pytest.mark.parametrize("role", ["consumer", "auditor"])
def test_a_worker_of_sqs_without_descriptors_backs_off_and_recovers(
    queue: Queue, recipient: Recipient, start: Start, role: str
) -> None:
    courier = start(queue, "--consumers", "1", "--wait-time", "1")
    [pid] = courier.pids(role)
    leave_descriptors(pid, 0)
    sent = queue.send(bodies(50))
    until(lambda: "Too many open files" in courier.log(), explain=courier.log)
    leave_enough(pid)
    until(lambda: queue.counts() == (0, 0), 30, explain=courier.log)
    assert_harmless(courier, recipient, sent)


def low(count: int) -> list[str]:
    return ["sh", "-c", f'ulimit -n {count}; exec "$@"', "sh"]


def test_at_start_the_slots_are_capped_to_what_the_limit_is_enough_for(
    queue: Queue, recipient: Recipient, tmp_path: Path
) -> None:
    recipient.behave = after(0.05)
    limit = OWN + SPARE + 2 + SPARE_SENDERS + 8
    options = ("--concurrency", "64", "--senders", "2")
    courier = Courier(queue.name, recipient.url, tmp_path, *options, endpoint=queue.endpoint, prefix=low(limit))
    try:
        courier.wait_ready()
        lines = [line for line in courier.log().splitlines() if "level=warning" in line]
        assert len(lines) == 1
        for word in ("--concurrency 64", "2 senders", "LimitNOFILE", "each delivers 8 messages"):
            assert word in lines[0]
        sent = queue.send(bodies(200))
        until(lambda: len(recipient.accepted) == 200, explain=courier.log)
        assert_harmless(courier, recipient, sent)
        assert "no resources" not in courier.log()
    finally:
        courier.kill()


def test_a_limit_under_which_no_sender_could_deliver_is_a_usage_error(
    queue: Queue, recipient: Recipient, tmp_path: Path
) -> None:
    limit = OWN + SPARE
    courier = Courier(queue.name, recipient.url, tmp_path, endpoint=queue.endpoint, prefix=low(limit))
    assert courier.wait(30) == 2
    [line] = courier.log().splitlines()
    for word in ("--concurrency", "--senders", "LimitNOFILE", str(limit)):
        assert word in line
