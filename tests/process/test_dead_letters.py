"""The commands on dead letters as processes: what a signal, a reader that leaves or a hostile body does to them."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pytest

from courier.local.exchange import Response
from tests.integration.test_virtual_queue_command import program
from tests.process.conftest import Start
from tests.process.world import Queue, Recipient, until

SKIP = re.compile(r"--skip (\d+)")


@pytest.fixture(scope="module")
def slow() -> Iterator[str]:
    """A virtual queue that takes its time, so that a signal comes in the middle."""
    with program("--latency-ms", "30") as running:
        yield running.endpoint


def command(endpoint: str, *arguments: str | Path) -> tuple[list[str], dict[str, str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COURIER_"))}
    environment |= {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "COURIER_ENDPOINT_URL": endpoint,
        "COLUMNS": "240",
    }
    return [sys.executable, "-m", "courier", *map(str, arguments)], environment


def begin(endpoint: str, *arguments: str | Path) -> subprocess.Popen[str]:
    line, environment = command(endpoint, *arguments)
    pipe = subprocess.PIPE
    return subprocess.Popen(line, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def bodies(queue: Queue) -> Counter[str]:
    """Receive and delete all messages of a queue; count them by their bodies."""
    found: Counter[str] = Counter()
    while messages := queue.sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10).get("Messages"):
        found.update(each["Body"] for each in messages)
        entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
        queue.sqs.delete_message_batch(QueueUrl=queue.url, Entries=entries)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_shows_all_messages_again_and_leaves_no_half_of_a_file(
    slow: str, tmp_path: Path, number: signal.Signals
) -> None:
    queue = Queue(slow)
    queue.send([str(n) for n in range(400)])
    running = begin(slow, "dlq", "export", queue.name, "--to", tmp_path / "out")
    until(lambda: queue.counts()[1] >= 20)
    running.send_signal(number)
    _, notes = running.communicate(timeout=60)
    assert running.returncode == 130, notes
    assert "Traceback" not in notes
    assert queue.counts() == (400, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_leaves_the_counts_of_what_was_seen(slow: str) -> None:
    queue = Queue(slow)
    queue.send([str(n) for n in range(400)])
    running = begin(slow, "dlq", "stats", queue.name, "--output", "json")
    until(lambda: queue.counts()[1] >= 20)
    running.send_signal(signal.SIGINT)
    out, notes = running.communicate(timeout=60)
    assert running.returncode == 130, notes
    assert 0 < orjson.loads(out)["total"]["messages"] < 400
    assert "only what was received until then" in notes
    assert queue.counts() == (400, 0)


def test_a_reader_that_leaves_ends_a_look_which_shows_all_messages_again(slow: str) -> None:
    queue = Queue(slow)
    # More than a pipe holds.
    queue.send(["x" * 20_000] * 60)
    running = begin(slow, "dlq", "peek", queue.name, "--limit", "1000", "--format", "body")
    assert running.stdout is not None
    assert running.stdout.read(100) == "x" * 100
    running.stdout.close()
    assert running.stderr is not None
    notes = running.stderr.read()
    assert running.wait(60) == 141, notes
    assert "Traceback" not in notes
    assert queue.counts() == (60, 0)


def test_a_stopped_send_goes_on_where_it_says_and_sends_each_line_once(slow: str, tmp_path: Path) -> None:
    queue = Queue(slow)
    lines = write(tmp_path / "lines", 2000)
    skip = "0"
    runs = 0
    while True:
        runs += 1
        running = begin(slow, "send", queue.name, "--from", lines, "--skip", skip, "--rate", "2000")
        before = queue.counts()[0]
        if runs <= 3:
            until(lambda before=before, running=running: queue.counts()[0] > before or running.poll() is not None)  # type: ignore[misc]
            running.send_signal(signal.SIGINT)
        out, notes = running.communicate(timeout=60)
        if running.returncode == 0:
            break
        assert running.returncode == 130, notes
        (skip,) = SKIP.findall(out)
    assert runs > 1
    assert bodies(queue) == Counter(str(n) for n in range(2000))


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.full), pytest.param(3, marks=pytest.mark.full)])
def test_a_send_that_was_killed_and_repeated_has_lost_nothing(slow: str, tmp_path: Path, seed: int) -> None:
    queue = Queue(slow)
    lines = write(tmp_path / "lines", 500)
    for wanted in (50 * seed, 100 * seed):
        running = begin(slow, "send", queue.name, "--from", lines)
        before = queue.counts()[0]
        until(lambda before=before, wanted=wanted: queue.counts()[0] >= before + min(wanted, 300))  # type: ignore[misc]
        running.kill()
        running.communicate()
    assert begin(slow, "send", queue.name, "--from", lines).wait(60) == 0
    assert set(bodies(queue)) == {str(n) for n in range(500)}


def write(path: Path, number: int) -> Path:
    path.write_bytes(b"".join(orjson.dumps({"body": str(n)}) + b"\n" for n in range(number)))
    return path


def test_standard_input_is_sent_as_it_comes_and_a_signal_ends_the_wait_for_more(virtual_queue: str) -> None:
    queue = Queue(virtual_queue)
    line, environment = command(virtual_queue, "send", queue.name, "-")
    pipe = subprocess.PIPE
    running = subprocess.Popen(line, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)
    assert running.stdin is not None
    running.stdin.write(b"one\n")
    running.stdin.flush()
    until(lambda: queue.counts()[0] == 1)
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130
    assert running.stdout is not None
    assert running.stdout.read() == f"1 message sent to {queue.name}\n".encode()
    assert running.stderr is not None
    assert running.stderr.read() == b""
    for stream in (running.stdin, running.stdout, running.stderr):
        stream.close()


def on_terminal(line: list[str], environment: dict[str, str]) -> str:
    """Return what a command writes to a terminal."""
    master, slave = pty.openpty()
    running = subprocess.Popen(line, env=environment, stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE)
    os.close(slave)
    written = b""
    with contextlib.suppress(OSError):
        while data := os.read(master, 65536):
            written += data
    os.close(master)
    running.communicate(timeout=60)
    assert running.returncode == 0
    return written.decode()


@pytest.mark.parametrize("form", [["--format", "body"], ["--format", "json", "--bodies"], ["--bodies"]])
def test_a_hostile_body_controls_no_terminal(virtual_queue: str, form: Sequence[str]) -> None:
    queue = Queue(virtual_queue)
    queue.send(["\u009b31m \u202e evil \ud7ff", "tab\tand\nline"])
    line, environment = command(virtual_queue, "dlq", "peek", queue.name, *form)
    shown = on_terminal(line, environment)
    assert "evil" in shown
    assert not {"\u009b", "\u202e"} & set(shown)


def test_the_audit_log_of_a_courier_that_runs_says_why_sqs_moved_a_message(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=2)
    recipient.behave = lambda d: Response(400, body=b"bad") if d.body == b"never" else Response(200)
    (message_id,) = queue.send(["never"])
    options = ("--backoff-base", "0.1", "--backoff-cap", "0.2", "--audit-events", "all")
    courier = start(queue, *options)

    def is_dead() -> bool:
        # Without others that are taken, it would be the recipient that refuses everything.
        queue.send(["taken"])
        return dead.counts() == (1, 0)

    until(is_dead, 30, courier.log, every=0.5)
    line, environment = command(
        virtual_queue,
        "dlq",
        "peek",
        dead.name,
        "--audit-path",
        courier.audit,
        "--format",
        "json",
        "--where",
        "status=400",
    )
    shown = subprocess.run(line, env=environment, capture_output=True, timeout=60, check=True)
    fields = orjson.loads(shown.stdout)
    assert (fields["message_id"], fields["reason"], fields["known_from"]) == (message_id, "status 400", "audit log")
    assert fields["source_queue"] == queue.name
    assert courier.drain() == 0
