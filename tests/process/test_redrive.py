"""``courier dlq redrive`` under load: killed at random, stopped, and large. Courier delivers what it sends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from courier.audit.filter import Filter
from courier.audit.search import search
from courier.local.exchange import Response
from tests.examples import examples
from tests.integration.sqs_endpoints import CREDENTIALS, REGION
from tests.process.conftest import Start
from tests.process.world import Queue, Recipient, bodies, until

COME_BACK_SECONDS = 2
"""How long a killed command leaves messages hidden here."""


@contextmanager
def redrive(directory: Path, dead: Queue, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command, and kill it at the end if it still runs."""
    environment = {
        "PATH": os.environ["PATH"],
        "COURIER_ENDPOINT_URL": dead.endpoint,
        "AWS_ACCESS_KEY_ID": CREDENTIALS[0],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS[1],
        "AWS_REGION": REGION,
    }
    command = [sys.executable, "-m", "courier", "dlq", "redrive", dead.name, "--yes", "--redrive-audit", "moved"]
    command += ["--visibility-timeout", str(COME_BACK_SECONDS), *options]
    process = subprocess.Popen(
        command, env=environment, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def keys(recipient: Recipient) -> Counter[str]:
    """Return how often each message was delivered, by its idempotency key."""
    return Counter(delivery.headers["idempotency-key"] for delivery in list(recipient.deliveries))


def recorded(directory: Path) -> set[str]:
    found = search(directory / "moved", Filter(outcomes=frozenset({"redriven"})))
    return {each.fields["message_id"] for each in found}


def has_begun(process: subprocess.Popen[str], dead: Queue, before: int) -> bool:
    """Return whether the command has moved something, or has ended since there is nothing to move."""
    return sum(dead.counts()) < before or process.poll() is not None


def test_kills_at_random_lose_nothing_and_the_next_run_goes_on(
    queue: Queue, start: Start, recipient: Recipient, tmp_path: Path
) -> None:
    dead = Queue(queue.endpoint)
    ids = dead.send(bodies(1500))
    start(queue, "--senders", "2")
    chance = random.Random(7)
    kills = 0
    while sum(dead.counts()):
        assert kills < 60, "it makes no progress"
        before = sum(dead.counts())
        with redrive(tmp_path, dead, "--to", queue.name, "--rate", "1500") as process:
            until(partial(has_begun, process, dead, before), 20.0)
            time.sleep(chance.random() * 0.3)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
        if not dead.counts()[0]:
            until(lambda: not dead.counts()[1], 10.0 * COME_BACK_SECONDS)
    assert kills >= 2
    until(lambda: set(keys(recipient)) >= set(ids), 60.0)
    delivered = keys(recipient)
    assert set(delivered) == set(ids)
    # What a kill left twice is at most what the command had under way: eight batches of ten.
    assert sum(delivered.values()) - len(ids) <= 80 * kills
    assert recorded(tmp_path) == set(ids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_nothing_twice_and_the_rest_shown_at_once(
    queue: Queue, tmp_path: Path, number: signal.Signals
) -> None:
    dead = Queue(queue.endpoint)
    dead.send(bodies(400))
    with redrive(tmp_path, dead, "--to", queue.name, "--rate", "100", "--visibility-timeout", "600") as process:
        until(lambda: queue.counts()[0] >= 30, 20.0)
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 130, out
    assert "to go on: repeat the command" in out
    moved = queue.counts()[0]
    assert dead.counts() == (400 - moved, 0)
    assert len(recorded(tmp_path)) == moved


def test_what_the_recipient_refuses_again_pauses_the_redrive(
    queue: Queue, start: Start, recipient: Recipient, tmp_path: Path
) -> None:
    dead = Queue(queue.endpoint)
    dead.send(bodies(600))
    recipient.behave = lambda delivery: Response(422)
    start(queue, "--failure-queue", dead.name, "--reject-share", "0")
    with redrive(tmp_path, dead, "--to", queue.name, "--rate", "30") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "pausing for 30 s" in line
        moved = len(keys(recipient))
        assert moved < 600
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 130, out
    # Each is back, with the id that it had at first.
    until(lambda: sum(dead.counts()) == 600, 20.0)


def test_a_large_redrive_needs_no_more_memory_than_a_small_one(queue: Queue, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        """Return the most memory in KiB of a redrive of so many messages."""
        dead = Queue(queue.endpoint)
        dead.send(bodies(count))
        with redrive(tmp_path, dead, "--to", queue.name) as process:
            most = 0
            while process.poll() is None:
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                except OSError:
                    break
                for line in status.splitlines():
                    if line.startswith("VmHWM"):
                        most = int(line.split()[1])
                time.sleep(0.02)
            out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
        assert dead.counts() == (0, 0)
        return most

    large = examples(20_000)
    small = peak(large // 20)
    assert peak(large) - small < 6 * 1024
    assert queue.counts()[0] == large + large // 20
