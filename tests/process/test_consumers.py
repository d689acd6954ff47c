"""Which of several consumers receive, under ``python -m courier``: one where that is enough, and all where it isn't."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from scripts.bench.rig import Rig
from scripts.bench.servers import LocalQueue, fill
from tests.process.bench_environment import bench_environment
from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, bodies, kill, until

WINDOW: Final = 4.0
"""Seconds in which receives are counted."""

RECEIVES_IN_IT: Final = WINDOW + 1.0
"""The most receives of one consumer in it that take a second each."""

LONG_POLL: Final = 20.0


@pytest.fixture
def counting_queue(tmp_path: Path) -> Iterator[LocalQueue]:
    """A queue on a server that counts the calls."""
    with bench_environment(), Rig(tmp_path / "rig") as rig:
        queue = rig.queue()
        assert isinstance(queue, LocalQueue)
        yield queue


def receives(queue: LocalQueue) -> float:
    """Count the receives in a window, as many as there would be in exactly that time."""
    before, began = queue.calls()["ReceiveMessage"], time.monotonic()
    time.sleep(WINDOW)
    return (queue.calls()["ReceiveMessage"] - before) * WINDOW / (time.monotonic() - began)


def on(queue: LocalQueue, recipient: Recipient, directory: Path, *options: str) -> Courier:
    name = queue.url.rsplit("/", 1)[1]
    return Courier(name, recipient.url, directory, *options, endpoint=queue.endpoint).wait_ready()


def test_an_idle_queue_is_asked_by_one_of_eight_consumers(
    counting_queue: LocalQueue, recipient: Recipient, tmp_path: Path
) -> None:
    courier = on(counting_queue, recipient, tmp_path, "--consumers", "8", "--wait-time", "1")
    try:
        # At the start several may poll, until their first polls end.
        until(lambda: receives(counting_queue) <= RECEIVES_IN_IT, 60.0, courier.log)
        assert receives(counting_queue) <= RECEIVES_IN_IT
        assert courier.drain() == 0
    finally:
        courier.kill()


def test_with_a_poll_interval_all_consumers_receive(
    counting_queue: LocalQueue, recipient: Recipient, tmp_path: Path
) -> None:
    fill(counting_queue, 4_000, 220)
    courier = on(counting_queue, recipient, tmp_path, "--consumers", "4", "--poll-interval", "1")
    try:
        until(lambda: receives(counting_queue) > 2 * RECEIVES_IN_IT, 60.0, courier.log)
        assert receives(counting_queue) <= 4 * RECEIVES_IN_IT
        assert courier.drain() == 0
    finally:
        courier.kill()


def test_after_the_polling_consumer_was_killed_another_one_receives(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    # SQS may give a message to the connection of the killed consumer, before it notices that nobody is there.
    courier = start(queue, "--consumers", "8", "--visibility-timeout", "3")
    sent = queue.send(["before"])
    until(lambda: recipient.accepted == dict.fromkeys(sent, 1), explain=courier.log)
    for turn in range(4):
        # The one of the turn before may not be replaced yet.
        until(lambda: len(courier.pids("consumer")) == 8, explain=courier.log)
        kill(courier.pid_of("consumer", 0), signal.SIGKILL)
        sent += queue.send([f"after kill {turn}"])
        # Far less than the long poll of a consumer that doesn't know of it.
        until(lambda: len(recipient.accepted) == turn + 2, LONG_POLL / 2, courier.log)  # noqa: B023 - called in this turn
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)


def test_after_the_polling_consumer_was_stopped_another_one_receives(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue, "--consumers", "8", "--hang-timeout", "120", "--visibility-timeout", "60")
    stopped = courier.pid_of("consumer", 0)
    # Others that poll since the start rest once their polls have ended.
    before = queue.send(["before"])
    until(lambda: recipient.accepted == dict.fromkeys(before, 1), explain=courier.log)
    kill(stopped, signal.SIGSTOP)
    # SQS gives them to whichever poll is open, that of the stopped consumer included.
    sent = queue.send(bodies(30))
    until(lambda: len(recipient.accepted) > 1, LONG_POLL / 2, courier.log)
    kill(stopped, signal.SIGCONT)
    until(lambda: recipient.accepted.keys() == {*before, *sent}, explain=courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys([*before, *sent], 1)
