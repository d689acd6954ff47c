"""Several instances on one queue, which know nothing of each other: what each limit means, and what leaving costs."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from courier.local.exchange import Response
from courier.local.virtual.errors import ServiceError
from courier.local.virtual.parameters import Parameters
from tests.process.faulty_sqs import THROTTLED, FaultySqs, Switches
from tests.process.instances import Instances, load, sender_of
from tests.process.world import OK, Delivery, Queue, Recipient, after, bodies, missing, until

RATE: Final = 60
WINDOW_SECONDS: Final = 5.0
SHORT_POLLS: Final = ("--wait-time", "1", "--senders", "2", "--consumers", "1")


@pytest.fixture
def instances(tmp_path: Path) -> Iterator[Instances]:
    instances = Instances(tmp_path)
    yield instances
    instances.kill()


class Order:
    """A recipient that sees whether a message of a group comes before all earlier ones of it were taken."""

    def __init__(self, seconds: float, failures: float = 0.0, seed: int = 1) -> None:
        self.early: list[str] = []
        self.senders: dict[str, set[int]] = defaultdict(set)
        self._taken: dict[str, int] = defaultdict(lambda: -1)
        self._seconds = seconds
        self._failures = failures
        self._chance = random.Random(seed)

    async def answer(self, delivery: Delivery) -> Response:
        group, number = delivery.body.decode().split(":")
        if int(number) > self._taken[group] + 1:
            self.early.append(f"message {number} of group {group} came after {self._taken[group]} was taken")
        await asyncio.sleep(self._seconds)
        if self._chance.random() < self._failures:
            return Response(503)
        self._taken[group] = max(self._taken[group], int(number))
        self.senders[group].add(sender_of(delivery))
        return OK


# Beside other tests the recipient comes late to its own clock, and counts what arrived in a moment's pause at its end.
@pytest.mark.alone
def test_each_instance_has_all_of_the_rate_limit(queue: Queue, recipient: Recipient, instances: Instances) -> None:
    queue.send(bodies(int(2 * RATE * (WINDOW_SECONDS + 3.0))))
    for _ in range(2):
        instances.start(queue, recipient.url, "--rate-limit", str(RATE), *SHORT_POLLS)
    until(lambda: {sender_of(delivery) for delivery in recipient.deliveries} == {0, 1}, explain=instances.log)
    began = recipient.deliveries[-1].at + 1.0
    ended = began + WINDOW_SECONDS
    until(lambda: recipient.deliveries[-1].at > ended, WINDOW_SECONDS + 10, instances.log, every=0.1)
    for number in range(2):
        those = [each.at for each in recipient.deliveries if sender_of(each) == number and began <= each.at < ended]
        assert 0.85 <= len(those) / (RATE * WINDOW_SECONDS) <= 1.03, f"instance {number}: {len(those)}"
    assert [courier.drain() for courier in instances.all] == [0, 0]


def test_each_instance_has_all_of_max_in_flight(queue: Queue, recipient: Recipient, instances: Instances) -> None:
    recipient.behave = after(0.3)
    queue.send(bodies(120))
    for _ in range(3):
        instances.start(queue, recipient.url, "--max-in-flight", "2", *SHORT_POLLS)
    most = 0

    def is_through() -> bool:
        nonlocal most
        most = max(most, len(recipient.open))
        return len(recipient.accepted) == 120

    until(is_through, 40, instances.log, every=0.002)
    assert most == 6
    assert not recipient.duplicates()
    assert [courier.drain() for courier in instances.all] == [0, 0, 0]


@pytest.mark.full
def test_an_instance_that_cant_reach_its_recipient_opens_its_own_breaker_and_leaves_the_queue_to_the_other(
    virtual_queue: str, recipient: Recipient, instances: Instances
) -> None:
    cut_off = Recipient()
    try:
        cut_off.behave = lambda delivery: Response(503)
        queue, dead = Queue.with_dead_letters(virtual_queue, receives=3)
        options = ["--visibility-timeout", "4", "--breaker-threshold", "3", "--breaker-cool-down", "1", *SHORT_POLLS]
        broken = instances.start(queue, cut_off.url, *options, "--backoff-base", "0.1", "--backoff-cap", "1")
        healthy = instances.start(queue, recipient.url, *options)
        with load(queue, 100) as sent:
            # The whole of an outage: its breaker opens, and it probes some times.
            until(lambda: len(sent) >= 600 and len(cut_off.deliveries) >= 6, 60, instances.log)
        # What it holds it keeps for a while, or until it stops. That is at most one for each slot.
        until(lambda: len(missing(sent, recipient.accepted)) <= 32, 40, instances.log)
        assert broken.drain() == 0
        until(lambda: not missing(sent, recipient.accepted), 40, instances.log)
        until(lambda: queue.counts() == (0, 0), 40, instances.log)
        assert "circuit breaker" in broken.log()
        assert "circuit breaker" not in healthy.log()
        assert dead.counts() == (0, 0)
        # It tried as many as open a breaker and fill the slots meanwhile, and then one for each probe.
        assert len(cut_off.deliveries) < 100
        assert not recipient.duplicates()
        assert healthy.drain() == 0
    finally:
        cut_off.stop()


class Restart(NamedTuple):
    """A rolling restart of some instances: whether each new one comes before its predecessor goes, and the load.

    ``rate`` is messages a second, half of what one instance can take with a recipient that takes ``seconds``.
    """

    instances: int
    starts_first: bool
    fifo: bool
    seconds: float
    rate: float
    options: tuple[str, ...]


def drawn(seed: int) -> Restart:
    """Draw a restart."""
    chance = random.Random(seed)
    senders, concurrency, seconds = chance.choice([1, 2, 4]), chance.choice([1, 4, 16]), chance.choice([0.0, 0.02, 0.2])
    options = ["--consumers", str(chance.choice([1, 2])), "--senders", str(senders), "--concurrency", str(concurrency)]
    options += ["--wait-time", str(chance.choice([0, 1, 20]))]
    options += ["--batch-size", str(chance.choice([1, 7, 10])), "--audit-body", chance.choice(["full", "none"])]
    if chance.random() < 0.3:
        options += ["--max-in-flight", "8"]
    rate = min(60.0, senders * concurrency / (seconds + 0.02) / 2)
    return Restart(chance.choice([2, 3]), chance.random() < 0.5, seed % 2 == 0, seconds, rate, tuple(options))


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(3, 21))])
def test_a_rolling_restart_under_load_loses_nothing_and_repeats_nothing(
    virtual_queue: str, recipient: Recipient, instances: Instances, seed: int
) -> None:
    restart = drawn(seed)
    print(restart)
    queue = Queue(virtual_queue, fifo=restart.fifo)
    order = Order(restart.seconds)
    recipient.behave = order.answer if restart.fifo else after(restart.seconds)
    running = [instances.start(queue, recipient.url, *restart.options) for _ in range(restart.instances)]
    groups = [f"g{n}" for n in range(20)] if restart.fifo else []
    with load(queue, restart.rate, groups) as sent:
        for old in running:
            before = len(recipient.accepted)
            if restart.starts_first:
                instances.start(queue, recipient.url, *restart.options)
            assert old.drain() == 0
            if not restart.starts_first:
                instances.start(queue, recipient.url, *restart.options)
            until(lambda: len(recipient.accepted) > before + 10, 40, instances.log)  # noqa: B023 - called in this turn
    until(lambda: not missing(sent, recipient.accepted), 60, instances.log)
    until(lambda: queue.counts() == (0, 0), 40, instances.log)
    assert [courier.drain() for courier in instances.all[restart.instances :]] == [0] * restart.instances
    assert not recipient.duplicates()
    assert not order.early
    assert instances.recorded() == Counter(sent)


@pytest.mark.full
def test_groups_keep_their_order_across_instances_that_are_killed_and_replaced(
    virtual_queue: str, recipient: Recipient, instances: Instances
) -> None:
    queue = Queue(virtual_queue, fifo=True)
    order = Order(0.03, failures=0.05)
    recipient.behave = order.answer
    options = ["--visibility-timeout", "3", "--backoff-base", "0.1", "--backoff-cap", "1", "--breaker-threshold", "0"]
    running = [instances.start(queue, recipient.url, *options, *SHORT_POLLS) for _ in range(3)]
    chance = random.Random(5)
    with load(queue, 100, [f"g{n}" for n in range(30)]) as sent:
        for kill in range(4):
            before = len(recipient.accepted)
            until(lambda: len(recipient.accepted) > before + 60, 40, instances.log)  # noqa: B023
            victim = running.pop(chance.randrange(len(running)))
            if kill % 2:
                assert victim.wait_ready().drain() == 0
            else:
                victim.kill()
            running.append(instances.start(queue, recipient.url, *options, *SHORT_POLLS, ready=False))
    until(lambda: not missing(sent, recipient.accepted), 80, instances.log)
    until(lambda: queue.counts() == (0, 0), 40, instances.log)
    for courier in running:
        assert courier.wait_ready().drain() == 0
    assert not order.early
    assert not missing(sent, instances.recorded())
    # Otherwise nothing would be shown: SQS gives a group now to one instance, now to another.
    assert sum(len(senders) > 1 for senders in order.senders.values()) > 20


class Throttle(Switches):
    """The limit of a FIFO queue: so many calls of each action a second."""

    def __init__(self, calls_a_second: float) -> None:
        super().__init__()
        self.answered: dict[str, list[float]] = defaultdict(list)
        self._every = 1 / calls_a_second
        self._next: dict[str, float] = defaultdict(float)

    def call(self, action: str, parameters: Parameters) -> ServiceError | None:
        if action not in ("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"):
            return None
        now = time.monotonic()
        # A tenth of a second's calls may come at once.
        earliest = max(self._next[action], now - 0.1)
        if earliest > now:
            self.shown[action] += 1
            return ServiceError(THROTTLED, "Rate exceeded", sender_fault=True)
        self._next[action] = earliest + self._every
        self.answered[action].append(now)
        return None


@pytest.mark.full
def test_instances_that_the_limit_of_a_fifo_queue_holds_up_share_it_in_order_and_lose_no_receive(
    recipient: Recipient, instances: Instances
) -> None:
    sqs = FaultySqs(Throttle(30))
    throttle = sqs.faults
    assert isinstance(throttle, Throttle)
    try:
        queue = Queue(sqs.endpoint, fifo=True)
        order = Order(0.0)
        recipient.behave = order.answer
        groups = [f"g{n}" for n in range(100)]
        names = [(group, n) for n in range(30) for group in groups]
        sent = queue.send([f"{group}:{n}" for group, n in names], [group for group, _ in names])
        for _ in range(4):
            instances.start(queue, recipient.url, *SHORT_POLLS)
        until(lambda: not missing(sent, recipient.accepted), 90, instances.log)
        until(lambda: queue.counts() == (0, 0), 40, instances.log)
        assert [courier.drain() for courier in instances.all] == [0] * 4
        assert not order.early
        assert not recipient.duplicates()
        assert {delivery.receive_count for delivery in recipient.deliveries} == {1}
        print(f"throttled: {dict(throttle.shown)}; answered: { {a: len(t) for a, t in throttle.answered.items()} }")
        assert len({sender_of(delivery) for delivery in recipient.deliveries}) == 4
        assert sum(throttle.shown.values()) > 0
    finally:
        sqs.stop()


@pytest.mark.full
def test_an_instance_that_joins_a_backlog_takes_its_share_and_one_that_leaves_gives_all_back(
    queue: Queue, recipient: Recipient, instances: Instances
) -> None:
    recipient.behave = after(0.1)
    sent = queue.send(bodies(600))
    options = ["--concurrency", "4", *SHORT_POLLS]
    first = instances.start(queue, recipient.url, *options)
    until(lambda: len(recipient.accepted) > 50, explain=instances.log)
    instances.start(queue, recipient.url, *options)
    until(lambda: recipient.deliveries[-1].at and sender_of(recipient.deliveries[-1]) == 1, explain=instances.log)
    joined = len(recipient.deliveries)
    until(lambda: len(recipient.deliveries) > joined + 200, explain=instances.log)
    shares = Counter(sender_of(delivery) for delivery in recipient.deliveries[joined : joined + 200])
    # Both have eight slots, and a recipient that takes as long.
    assert 60 <= shares[1] <= 140, shares
    assert first.drain() == 0
    until(lambda: not missing(sent, recipient.accepted), 60, instances.log)
    # What the first one released comes to the other at once: nothing waits for a visibility timeout.
    assert instances.all[1].drain() == 0
    assert not recipient.duplicates()
    assert instances.recorded() == Counter(sent)
