"""A reload of ``python -m courier`` at work: nothing is lost or delivered twice, and a bad file changes nothing."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import requests

from courier.local.exchange import Response
from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, after, bodies, kill, missing, until

REFUSED = "cannot reload, the old configuration stays in force"


class File:
    """The file of ``--config`` of a program, which reads it again."""

    def __init__(self, path: Path, **options: object) -> None:
        self.path = path
        self.write(options)

    def write(self, options: dict[str, object]) -> None:
        lines = [f"{key.replace('_', '-')} = {value!r}".replace("'", '"') for key, value in options.items()]
        self.path.write_text("\n".join(lines))

    def reload(self, courier: Courier, **options: object) -> None:
        """Write the options, have them read, and wait until they are in force."""
        self.write(options)
        before = courier.log().count("event=reloaded")
        courier.signal(signal.SIGHUP)
        until(lambda: courier.log().count("event=reloaded") > before, explain=courier.log)


@pytest.fixture
def file(tmp_path: Path, recipient: Recipient) -> File:
    return File(tmp_path / "courier.toml", recipient_url=recipient.url, senders=2, concurrency=4)


@pytest.fixture
def other() -> Iterator[Recipient]:
    other = Recipient()
    yield other
    other.stop()


def begin(start: Start, queue: Queue, file: File, *options: str) -> Courier:
    return start(queue, "--config", str(file.path), *options, COURIER_RECIPIENT_URL="")


Feed = Callable[..., "Feeder"]


class Feeder:
    """Sends messages until it is stopped."""

    def __init__(self, queue: Queue, groups: int = 0) -> None:
        self.sent: list[str] = []
        self._queue = queue
        self._groups = groups
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self) -> None:
        while not self._stop.wait(0.01):
            groups = [f"g{len(self.sent) % self._groups}"] * 5 if self._groups else None
            self.sent += self._queue.send(bodies(5), groups)

    def stop(self) -> list[str]:
        self._stop.set()
        self._thread.join()
        return self.sent


@pytest.fixture
def feed() -> Iterator[Feed]:
    """Feed a queue until the test says stop, or ends."""
    feeders: list[Feeder] = []

    def feed(queue: Queue, groups: int = 0) -> Feeder:
        feeders.append(Feeder(queue, groups))
        return feeders[-1]

    yield feed
    for feeder in feeders:
        feeder.stop()


def test_another_recipient_other_limits_and_counts_lose_nothing_and_deliver_nothing_twice(
    start: Start, queue: Queue, recipient: Recipient, other: Recipient, file: File, feed: Feed
) -> None:
    recipient.behave = after(0.02)
    courier = begin(start, queue, file)
    feeder = feed(queue)
    until(lambda: len(recipient.accepted) > 50, explain=courier.log)
    file.reload(courier, recipient_url=other.url, senders=4, concurrency=8, rate_limit=2000, header=["X-New: 1"])
    until(lambda: len(courier.pids("sender")) == 4, explain=courier.log)
    at_reload = len(recipient.deliveries)
    until(lambda: len(other.accepted) > 100, explain=courier.log)
    file.reload(courier, recipient_url=other.url, senders=1, consumers=1, concurrency=8, header=["X-New: 2"])
    until(lambda: len(courier.pids("sender")) == 1 and len(courier.pids("consumer")) == 1, explain=courier.log)
    seen = len(other.accepted)
    until(lambda: len(other.accepted) > seen + 50, explain=courier.log)
    sent = feeder.stop()
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    accepted = recipient.accepted + other.accepted
    assert not missing(sent, accepted)
    assert set(accepted.values()) == {1}, "a message was delivered twice"
    assert courier.recorded() == accepted
    # Nobody has the first recipient any more.
    assert len(recipient.deliveries) == at_reload
    assert "x-new" not in recipient.deliveries[-1].headers
    assert [other.deliveries[n].headers["x-new"] for n in (0, -1)] == ["1", "2"]
    assert "worker died" not in courier.log()


# What the file says, and what the line of the refusal names. Without a recipient, the one that works is added.
UNUSABLE: Final = (
    ('recipient-url = "ftp://nowhere"', "--recipient-url"),
    ('recipient-url = "http://no-such-host.invalid/in"', "no-such-host.invalid"),
    ('recipient-url = "http://127.0.0.1:9/in"\nbearer-token-file = "/nonexistent"', "--bearer-token-file"),
    ("senders = ", "not TOML"),
    ("senders = 0", "senders"),
    ("no-such-option = 1", "no-such-option"),
    ("senders = 9999", "senders"),
    ("senders = 200", "--senders 200 needs a restart"),
    ("visibility-timeout = 60", "--visibility-timeout needs a restart"),
    ('drain-timeout = 5\naudit-body = "none"', "--audit-body and --drain-timeout need a restart"),
    ('preset = "sqsd"', "--visibility-timeout needs a restart"),
)


def test_a_file_that_cannot_be_used_leaves_the_whole_old_configuration_in_force(
    start: Start, queue: Queue, recipient: Recipient, file: File
) -> None:
    courier = begin(start, queue, file)
    before = courier.pids("sender")
    for n, (content, says) in enumerate(UNUSABLE):
        url = "" if "recipient-url" in content else f'recipient-url = "{recipient.url}"\n'
        file.path.write_text(url + content)
        courier.signal(signal.SIGHUP)
        until(lambda n=n: courier.log().count(REFUSED) > n, explain=courier.log)  # type: ignore[misc]
        line = next(line for line in reversed(courier.log().splitlines()) if REFUSED in line)
        assert says in line
        assert "advice=" in line
    (sent,) = queue.send(["still at work"])
    until(lambda: sent in recipient.accepted, explain=courier.log)
    assert courier.pids("sender") == before
    assert courier.drain() == 0


def test_a_recipient_that_is_down_is_replaced_by_one_that_is_up(
    start: Start, queue: Queue, recipient: Recipient, other: Recipient, file: File
) -> None:
    recipient.behave = lambda delivery: Response(503)
    courier = begin(start, queue, file, "--breaker-cool-down", "600", "--breaker-longest-cool-down", "600")
    sent = queue.send(bodies(40))
    until(lambda: "circuit breaker open" in courier.log(), explain=courier.log)
    file.reload(courier, recipient_url=other.url, senders=2, concurrency=4)
    until(lambda: not missing(sent, other.accepted), 60, courier.log)
    assert courier.drain() == 0


def test_groups_stay_in_order_during_reloads(
    start: Start, virtual_queue: str, recipient: Recipient, other: Recipient, file: File, feed: Feed
) -> None:
    queue = Queue(virtual_queue, fifo=True)
    recipient.behave = other.behave = after(0.01)
    courier = begin(start, queue, file)
    feeder = feed(queue, groups=7)
    for n in range(4):
        seen = len(recipient.accepted) + len(other.accepted)
        until(lambda seen=seen: len(recipient.accepted) + len(other.accepted) > seen + 40, explain=courier.log)  # type: ignore[misc]
        url = (other if n % 2 == 0 else recipient).url
        file.reload(courier, recipient_url=url, senders=2 + n % 3, concurrency=4)
    sent = feeder.stop()
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    deliveries = sorted([*recipient.deliveries, *other.deliveries], key=lambda delivery: delivery.at)
    assert sorted(delivery.message_id for delivery in deliveries) == sorted(sent)
    place = {name: n for n, name in enumerate(sent)}
    of_group: dict[int, list[int]] = defaultdict(list)
    for delivery in deliveries:
        of_group[place[delivery.message_id] // 5 % 7].append(place[delivery.message_id])
    assert all(places == sorted(places) for places in of_group.values())


def test_workers_killed_at_random_during_reloads_lose_nothing(
    start: Start, queue: Queue, recipient: Recipient, other: Recipient, file: File, feed: Feed
) -> None:
    dice = random.Random(3)
    courier = begin(start, queue, file, "--visibility-timeout", "5")
    feeder = feed(queue)
    for n in range(3):
        file.write({"recipient_url": (other if n % 2 == 0 else recipient).url, "senders": 3, "concurrency": 2 + n})
        before = courier.log().count("event=reloaded")
        courier.signal(signal.SIGHUP)
        for _ in range(3):
            role = dice.choice(("sender", "sender", "consumer", "auditor"))
            if pids := courier.pids(role):
                kill(dice.choice(pids), signal.SIGKILL)
            until(lambda: len(courier.pids("sender")) >= 2, explain=courier.log)
        until(lambda before=before: courier.log().count("event=reloaded") > before, 60, courier.log)  # type: ignore[misc]
    sent = feeder.stop()
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert courier.drain() == 0
    accepted = recipient.accepted + other.accepted
    assert not missing(sent, accepted)
    assert not missing(accepted, courier.recorded())


def test_the_level_of_the_log_changes_in_every_process_without_a_new_one(
    start: Start, queue: Queue, recipient: Recipient, file: File
) -> None:
    courier = begin(start, queue, file)
    before = courier.pids("")
    options: dict[str, object] = {"recipient_url": recipient.url, "senders": 2, "concurrency": 4}
    file.reload(courier, **options, log_level="debug")
    senders = "|".join(map(str, courier.pids("sender")))

    def sender_logs_attempts() -> bool:
        queue.send(["a message"])
        return bool(re.search(rf"level=debug pid=({senders}) ", courier.log()))

    until(sender_logs_attempts, explain=courier.log, every=0.2)
    file.reload(courier, **options, log_level="error")
    assert courier.pids("") == before
    assert courier.drain() == 0


def test_the_status_shows_the_configuration_that_is_in_force(
    start: Start, queue: Queue, recipient: Recipient, file: File, free_port: int
) -> None:
    api = f"http://127.0.0.1:{free_port}"
    courier = begin(start, queue, file, "--api", f"127.0.0.1:{free_port}", "--header", "X-Key: secret-of-the-header")

    def shown() -> dict[str, tuple[str, str]]:
        status = requests.get(f"{api}/status", timeout=10).json()
        return {each["option"]: (each["value"], each["source"]) for each in status["configuration"]}

    assert shown()["senders"] == ("2", "courier.toml")
    assert shown()["rate-limit"] == ("none", "default")
    file.reload(courier, recipient_url=recipient.url, senders=3, rate_limit=500)
    assert shown()["senders"] == ("3", "courier.toml")
    assert shown()["concurrency"] == ("16", "default")
    assert shown()["rate-limit"][1] == "courier.toml"
    # A new API process shows the same, and so does one that has seen a scaling.
    courier.signal(signal.SIGTTIN)
    kill(courier.pid_of("api", 0), signal.SIGKILL)

    def answers() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return shown()["senders"] == ("4", "set by scale")
        return False

    until(answers, explain=courier.log)
    text = requests.get(f"{api}/status", timeout=10).text
    assert "secret-of-the-header" not in text
    assert requests.get(f"{api}/metrics", timeout=10).text.count("courier_reloads_total 1.0") == 1
    assert courier.drain() == 0
