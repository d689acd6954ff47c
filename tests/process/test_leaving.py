"""The platform ends the machine or the task under load: nothing is lost, and the drain is in time."""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import shlex
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from courier.local.exchange import Request, Response
from tests.fake_platform import GROUP, HOOK, SPOT, FakePlatform, fake_platform
from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, after, bodies, kill, missing, until

EC2: Final = ("--watch-termination", "ec2")
PAGE: Final = (Path(__file__).parents[2] / "docs" / "leaving.md").read_text()
COMMANDS: Final = re.findall(r"^courier ((?:.*\\\n)*.*)$", PAGE, re.MULTILINE)
MESSAGES: Final = 300


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    with fake_platform() as platform:
        yield platform


def under_load(
    start: Start, queue: Queue, recipient: Recipient, *options: str, **environ: str
) -> tuple[Courier, list[str]]:
    """Start on a queue whose messages take a while, and return once some are delivered."""
    recipient.behave = after(0.2)
    sent = queue.send(bodies(MESSAGES))
    courier = start(queue, *options, "--senders", "2", "--concurrency", "4", **environ)
    until(lambda: len(recipient.accepted) > 10, 30, courier.log)
    return courier, sent


def assert_nothing_lost(courier: Courier, queue: Queue, recipient: Recipient, sent: list[str]) -> None:
    """Each message was delivered once and recorded, or is visible in the queue."""
    assert recipient.duplicates() == {}
    done = set(recipient.accepted)
    assert set(courier.recorded()) == done
    assert queue.counts() == (len(missing(sent, done)), 0)


def test_a_spot_notice_drains_and_loses_nothing(
    start: Start, queue: Queue, recipient: Recipient, platform: FakePlatform
) -> None:
    courier, sent = under_load(start, queue, recipient, *EC2, **platform.environment("ec2"))
    platform.interrupt_spot()
    assert courier.wait(30) == 0
    assert_nothing_lost(courier, queue, recipient, sent)
    assert "notice=spot" in courier.log()
    assert 'reason="EC2 reclaims the spot instance"' in courier.log()


def test_a_drain_that_would_outlast_the_machine_ends_in_time(
    start: Start, queue: Queue, recipient: Recipient, platform: FakePlatform
) -> None:
    options = (*EC2, "--drain-timeout", "60", "--timeout", "120")
    courier, _ = under_load(start, queue, recipient, *options, **platform.environment("ec2"))
    recipient.behave = after(60)
    until(lambda: recipient.open, 30, courier.log)
    platform.interrupt_spot(seconds=14)
    notice = time.monotonic()
    # What was in flight is cut, and shown again by SQS.
    assert courier.wait(30) == 4
    assert time.monotonic() - notice < 14
    assert set(courier.recorded()) == set(recipient.accepted)


def test_the_lifecycle_action_is_completed_once_after_the_drain(
    start: Start, queue: Queue, recipient: Recipient, platform: FakePlatform
) -> None:
    courier, sent = under_load(start, queue, recipient, *EC2, "--lifecycle-hook", HOOK, **platform.environment("ec2"))
    platform.terminate()
    assert courier.wait(40) == 0
    assert_nothing_lost(courier, queue, recipient, sent)
    assert len(platform.completed) == 1
    assert platform.completed[0] > max(delivery.at for delivery in recipient.deliveries) + 0.2
    assert "completed the lifecycle action" in courier.log()


def test_a_watcher_killed_during_the_drain_is_replaced_and_completes_the_action(
    start: Start, queue: Queue, recipient: Recipient, platform: FakePlatform
) -> None:
    courier, sent = under_load(start, queue, recipient, *EC2, "--lifecycle-hook", HOOK, **platform.environment("ec2"))
    recipient.behave = after(6)
    until(lambda: recipient.open, 20, courier.log)
    platform.terminate()
    until(lambda: platform.extended, 20, courier.log)
    os.kill(courier.pid_of("watcher", 0), signal.SIGKILL)
    assert courier.wait(40) == 0
    assert_nothing_lost(courier, queue, recipient, sent)
    assert len(platform.completed) == 1


def test_after_a_kill_of_everything_the_next_start_completes_the_action_and_receives_nothing(
    start: Start, queue: Queue, recipient: Recipient, platform: FakePlatform
) -> None:
    environ = platform.environment("ec2")
    courier, _ = under_load(start, queue, recipient, *EC2, "--lifecycle-hook", HOOK, **environ)
    before = len(recipient.deliveries)
    recipient.behave = after(25)
    # Every slot waits for an answer, so the drain can't end, and nothing more is sent.
    until(lambda: len(recipient.deliveries) >= before + 8 and len(recipient.open) == 8, 20, courier.log)
    platform.terminate()
    until(lambda: "event=draining" in courier.log(), 20, courier.log)
    courier.kill()
    assert platform.completed == []
    receives = len(recipient.deliveries)
    again = start(queue, *EC2, "--lifecycle-hook", HOOK, ready=False, **environ)
    assert again.wait(30) == 0
    assert len(platform.completed) == 1
    assert len(recipient.deliveries) == receives
    assert 'event="not started"' in again.log()


def test_the_first_signal_during_such_a_drain_cuts_nothing(
    start: Start, queue: Queue, recipient: Recipient, platform: FakePlatform
) -> None:
    courier, sent = under_load(start, queue, recipient, "--watch-termination", "auto", **platform.environment("ecs"))
    recipient.behave = after(3)
    until(lambda: recipient.open, 20, courier.log)
    platform.desired = "STOPPED"
    until(lambda: "event=draining" in courier.log(), 20, courier.log)
    assert courier.drain() == 0
    assert_nothing_lost(courier, queue, recipient, sent)


def test_a_task_is_protected_while_it_delivers(
    start: Start, queue: Queue, recipient: Recipient, platform: FakePlatform
) -> None:
    options = ("--watch-termination", "ecs", "--task-protection")
    courier, _ = under_load(start, queue, recipient, *options, **platform.environment("ecs"))
    until(lambda: 10 in [minutes for _, minutes in platform.protected], 20, courier.log)
    courier.drain()
    until(lambda: [minutes for _, minutes in platform.protected][-1] == 0, 5, courier.log)


def test_a_platform_that_never_answers_stops_nothing_and_is_one_line(
    start: Start, queue: Queue, recipient: Recipient, platform: FakePlatform
) -> None:
    platform.reaches_containers = False
    courier, _ = under_load(start, queue, recipient, *EC2, **platform.environment("ec2"))
    until(lambda: len(recipient.accepted) == MESSAGES, 60, courier.log)
    lines = [line for line in courier.log().splitlines() if "cannot ask whether this machine ends" in line]
    assert len(lines) == 1
    assert "hop limit" in lines[0]
    assert courier.drain() == 0
    assert re.search(r"unfinished=0\b", courier.log())


def test_several_queues_drain_together_and_the_action_is_completed_once_after_all(
    virtual_queue: str, tmp_path: Path, recipient: Recipient, platform: FakePlatform
) -> None:
    queues = {name: Queue(virtual_queue) for name in ("orders", "mails")}
    one, other = (f'[[queue]]\nname = "{name}"\nqueue = "{queue.name}"\n' for name, queue in queues.items())
    file = tmp_path / "courier.toml"
    common = f'senders = 1\nconcurrency = 4\nwatch-termination = "ec2"\nlifecycle-hook = "{HOOK}"\n'
    file.write_text(common + one)
    recipient.behave = after(1)
    sent = {name: queue.send(bodies(100)) for name, queue in queues.items()}
    environ = {"COURIER_CONFIG": str(file), "COURIER_QUEUE": "", **platform.environment("ec2")}
    courier = Courier("", recipient.url, tmp_path, endpoint=virtual_queue, **environ).wait_ready()
    try:
        watcher = courier.pid_of("watcher", 0)
        file.write_text(common + one + other)
        courier.signal(signal.SIGHUP)
        # Another watcher, which sees the new queue, takes its place.
        until(lambda: courier.pids("watcher") not in ([watcher], []), 20, courier.log)
        until(lambda: all(set(ids) & set(recipient.accepted) for ids in sent.values()), 30, courier.log)
        os.kill(courier.pid_of("watcher", 0), signal.SIGKILL)
        platform.terminate()
        until(lambda: "event=draining" in courier.log(), 20, courier.log)
        # The platform sends it when the machine shuts down.
        courier.signal(signal.SIGTERM)
        assert courier.wait(40) == 0
    finally:
        courier.kill()
    assert len(platform.completed) == 1
    assert platform.completed[0] > max(delivery.at for delivery in recipient.deliveries) + 1
    assert recipient.duplicates() == {}
    for name, queue in queues.items():
        assert queue.counts() == (len(missing(sent[name], recipient.accepted)), 0)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: re.sub(r"\W+", "-", command[-40:]))
def test_each_command_of_the_page_starts(
    start: Start, queue: Queue, recipient: Recipient, platform: FakePlatform, command: str
) -> None:
    words = shlex.split(command.replace("\\\n", " "))
    options = [{"orders": queue.name, "http://127.0.0.1:8000/in": recipient.url}.get(word, word) for word in words]
    environ = platform.environment("ecs" if "ecs" in words else "ec2")
    courier = start(queue, *options, **environ)
    sent = queue.send(["hello"])
    until(lambda: set(recipient.accepted) == set(sent), 20, courier.log)
    until(lambda: platform.asked["task"] or platform.asked[SPOT], 20, courier.log)
    assert courier.drain() == 0
    assert 'event="worker died"' not in courier.log()


def test_the_page_has_a_command_for_each_way() -> None:
    text = " ".join(COMMANDS)
    assert all(option in text for option in ("auto", "ec2", "ecs", "--lifecycle-hook", "--task-protection"))


@pytest.mark.parametrize(
    ("prepare", "code", "line"),
    [
        (lambda platform: None, 0, "EC2 answers: no notice, hook courier-drained may be completed"),
        pytest.param(
            FakePlatform.terminate,
            0,
            "Terminated: Auto Scaling terminates the instance, hook courier-drained waits",
            marks=pytest.mark.full,
        ),
        (lambda platform: platform.denied.add("RecordLifecycleActionHeartbeat"), 3, "courier-lifecycle.json"),
        (lambda platform: setattr(platform, "reaches_containers", False), 3, "--http-put-response-hop-limit 2"),
    ],
    ids=["serves", "ends", "denied", "silent"],
)
def test_check_says_what_the_platform_answers(
    queue: Queue,
    recipient: Recipient,
    platform: FakePlatform,
    tmp_path: Path,
    prepare: Callable[[FakePlatform], None],
    code: int,
    line: str,
) -> None:
    prepare(platform)
    options = ("check", *EC2, "--lifecycle-hook", HOOK)
    environ = platform.environment("ec2")
    checked = Courier(queue.name, recipient.url, tmp_path, *options, endpoint=queue.endpoint, **environ)
    assert checked.wait(60) == code
    assert line in " ".join(checked.log().split())


SEEDS: Final = [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, 25))]


def faults_of(draw: random.Random, share: float) -> Callable[[Request], Response | Awaitable[Response] | None]:
    """Return what is wrong with a platform: refused tokens, errors, answers of something else, and slow ones."""

    async def late() -> Response:
        await asyncio.sleep(draw.choice([0.2, 1.5, 3.0]))
        return Response(503)

    def fault(_: Request) -> Response | Awaitable[Response] | None:
        if draw.random() >= share:
            return None
        if draw.random() < 0.2:
            return late()
        wrong = [Response(status) for status in (401, 403, 429, 500, 503)]
        return draw.choice([*wrong, Response(200, (), b"<html>"), Response(200, (), b"{}")])

    return fault


@pytest.mark.parametrize("seed", SEEDS)
def test_a_notice_loses_nothing_and_ends_in_time_whatever_is_killed_and_whatever_the_platform_answers(
    start: Start, queue: Queue, recipient: Recipient, platform: FakePlatform, seed: int
) -> None:
    draw = random.Random(f"leaving {seed}")
    hook = draw.choice([HOOK, f"{GROUP}:{HOOK}"])
    options = (*EC2, "--lifecycle-hook", hook, "--visibility-timeout", "5", "--drain-timeout", draw.choice(["3", "10"]))
    courier, sent = under_load(start, queue, recipient, *options, **platform.environment("ec2"))
    platform.override = faults_of(draw, draw.choice([0.0, 0.2, 0.4]))
    recipient.behave = after(draw.choice([0.01, 0.3, 2.0]))
    is_spot, is_terminated = draw.choice([(True, False), (False, True), (True, True)])
    announced = time.monotonic()
    if is_spot:
        platform.interrupt_spot(seconds=90)
    if is_terminated:
        platform.terminate()
    victims = [(draw.uniform(0, 12), draw.choice(["watcher", "consumer", "sender", "auditor"])) for _ in range(4)]
    signalled = draw.choice([math.inf, draw.uniform(0, 12)])
    for at, role in sorted([*victims, (signalled, "")]):
        while time.monotonic() < announced + at and courier.process.poll() is None:
            time.sleep(0.02)
        if courier.process.poll() is not None:
            break
        if role:
            for pid in courier.pids(role)[:1]:
                kill(pid, signal.SIGKILL)
        elif "event=draining" in courier.log():
            # The platform's own signal comes after its notice.
            courier.signal(signal.SIGTERM)
    # Faults may hide the notice for a while, never for ever.
    assert courier.wait(80) in (0, 4)
    assert time.monotonic() - announced < 85
    platform.override = lambda request: None
    if is_terminated and not platform.completed:
        # Auto Scaling was not to be reached within the watcher's time: the next start completes the action.
        assert "gave up on the lifecycle action" in courier.log()
        again = start(queue, *options, ready=False, **platform.environment("ec2"))
        assert again.wait(30) == 0, again.log()
        assert platform.completed, again.log() + courier.log()
    assert len(platform.completed) == is_terminated
    recipient.behave = after(0.0)
    rest = start(queue)
    until(lambda: set(recipient.accepted) >= set(sent), 60, rest.log)
    until(lambda: queue.counts() == (0, 0), 60, rest.log)
    rest.drain()
    assert set(rest.recorded()) == set(sent)
