"""A run with the keys of each place that gives some, which expire, are rotated, and can't be had for a while."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws_account import ROLE, SOURCES, AwsAccount, Pointing
from tests.process.conftest import Start
from tests.process.world import Queue, Recipient, after, bodies, missing, until

NAMES = [pytest.param(name, marks=[] if name == "role" else [pytest.mark.full]) for name in SOURCES]


@pytest.fixture
def account() -> Iterator[AwsAccount]:
    account = AwsAccount()
    yield account
    account.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


def run(command: list[str], pointing: Pointing) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "courier", *command],
        env={"PATH": os.environ["PATH"], **pointing.variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", NAMES)
def test_keys_that_expire_under_load_lose_nothing(
    account: AwsAccount, recipient: Recipient, start: Start, home: Path, name: str
) -> None:
    queue = Queue(account.url)
    pointing = SOURCES[name](account, home)
    recipient.behave = after(0.02)
    variables = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", **pointing.variables}
    options = ["--visibility-timeout", "5", "--consumers", "1", "--senders", "2", "--concurrency", "4"]
    courier = start(queue, *options, *pointing.options, **variables)
    sent = queue.send(bodies(200))
    until(lambda: len(recipient.accepted) > 50, explain=courier.log)
    # All of it stops, as in a suspend, and its keys have expired when it goes on.
    courier.signal_group(signal.SIGSTOP)
    account.expire()
    pointing.rotate(2)
    courier.signal_group(signal.SIGCONT)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    # The place is down and the keys have expired: nothing is received, and nothing that was is lost.
    account.broken.add(pointing.place)
    account.expire()
    pointing.rotate(3)
    sent += queue.send(bodies(100))
    until(lambda: "credentials" in courier.log() and "level=warning" in courier.log(), explain=courier.log)
    account.broken.clear()
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert not missing(sent, courier.recorded())
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert len(set(account.signed)) >= 3
    assert "secret-" not in courier.log()
    assert "Traceback" not in courier.log(), courier.log()


COMMANDS = [
    pytest.param(["send", "QUEUE", "hello"], id="send"),
    pytest.param(["dlq", "peek", "QUEUE"], id="peek", marks=pytest.mark.full),
    pytest.param(["dlq", "stats", "QUEUE"], id="stats", marks=pytest.mark.full),
    pytest.param(["dlq", "redrive", "QUEUE", "--to", "TARGET"], id="redrive", marks=pytest.mark.full),
    pytest.param(["check", "--queue", "QUEUE", "--recipient-url", "http://127.0.0.1:9/"], id="check"),
    pytest.param(
        ["try", "--peek", "QUEUE", "--queue", "QUEUE", "--recipient-url", "http://127.0.0.1:9/"],
        id="try",
        marks=pytest.mark.full,
    ),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_calls_sqs_assumes_the_role(account: AwsAccount, home: Path, command: list[str]) -> None:
    names = {"QUEUE": Queue(account.url), "TARGET": Queue(account.url)}
    names["QUEUE"].send(["hello"])
    pointing = SOURCES["role"](account, home)
    words = [names[word].name if word in names else word for word in command]
    done = run([*words, "--endpoint-url", account.url, *pointing.options], pointing)
    assert account.signed, done.stderr
    assert all(key.startswith("ASIASHOP") for key in account.signed)
    if command[0] == "check":  # nobody listens at the recipient
        assert f"found by boto3 (assume-role), of {ROLE}" in done.stdout
    else:
        assert done.returncode == 0, done.stderr
