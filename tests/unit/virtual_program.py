"""Programs of consumers and senders on one queue, on a clock of our own: hours of an outage pass in seconds.

Consumers, senders, channels and scoreboards are the real ones, each program with a board of its own. SQS and the
auditor are played by a queue in memory, and the recipient by what a test says that it does at each instant.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from structlog.testing import capture_logs

from courier.audit.event import event_recorder, no_events
from courier.consumer.consumer import Consumer, ConsumerOptions
from courier.http.answer import CANCELLED, CONNECT_REFUSED, CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, Answer, Failure
from courier.http.exchange import Done, Exchange
from courier.http.file_body import Body
from courier.http.url_parsing import read_url
from courier.lease import hidden_seconds, lease_end
from courier.message import DELIVERED, EVENT, EXTEND, REJECTED, RETRY, Message, unpack_settlements
from courier.process import child, scoreboard
from courier.process.bells import NO_BELLS, Bells
from courier.process.channel import Channel
from courier.process.life import Life, raise_task_error
from courier.process.scoreboard import Scoreboard
from courier.recipient import breaker
from courier.recipient.gate import GateOptions
from courier.recipient.policy import DEFAULT_RULES, Backoff
from courier.request.head import DeliveryHead
from courier.sender.options import SenderOptions
from courier.sender.rejection import FailureQueue
from courier.sender.sender import Sender
from courier.sqs.received import Received
from tests.unit.virtual_time import Clock, run_virtually

LATENCY_SECONDS: Final = 0.01
BEAT_SECONDS: Final = 1.0
TIMEOUT_SECONDS: Final = 30.0
CONNECT_TIMEOUT_SECONDS: Final = 5.0

Behaviour = Callable[[float, str], "int | str"]
"""What becomes of an attempt at an instant, given the message's name: a status, or the reason of a failure."""


class Options(NamedTuple):
    """The options of a program that matter here, with their defaults. Times in seconds."""

    consumers: int = 2
    senders: int = 4
    concurrency: int = 16
    in_flight: int | None = None
    rate: float | None = None
    wait_time: int = 20
    visibility: int = 30
    timeout: float = TIMEOUT_SECONDS
    answer_seconds: float = LATENCY_SECONDS
    threshold: int = 10
    cool_down: float = 1.0
    longest: float = 60.0
    reject_share: float = 0.5
    reject_window: float = 60.0
    failure_queue: bool = False
    rejects_at: int = 0
    events: bool = False


class Stored(NamedTuple):
    """A message in the queue: when it is visible, how often it was received, and the receipt of the last time."""

    visible_at: float
    receives: int
    receipt: str


class VirtualQueue:
    """SQS: a message is shown again after its visibility timeout, and is a dead letter after so many receives."""

    def __init__(self, clock: Clock, max_receives: int = 0, seed: int = 0) -> None:
        self.stored: dict[str, Stored] = {}
        self.dead: list[str] = []
        self.letters: list[str] = []
        self.receives: Counter[str] = Counter()
        self.received_at: dict[str, float] = {}
        self._clock = clock
        self._max_receives = max_receives
        self._chance = random.Random(seed)
        self._changed = asyncio.Event()

    def send(self, *names: str) -> None:
        for name in names:
            self.stored[name] = Stored(self._clock.now, 0, "")
        self._wake()

    async def receive(self, most: int, wait_time: float, visibility: int) -> list[Message]:
        until = self._clock.now + wait_time
        await asyncio.sleep(LATENCY_SECONDS / 2)
        while not (taken := self._take(most, visibility)) and self._clock.now < until:
            soonest = min((stored.visible_at for stored in self.stored.values()), default=until)
            pause = max(0.001, min(until, soonest) - self._clock.now)
            try:
                await asyncio.wait_for(self._changed.wait(), pause)
            except TimeoutError:
                continue
        await asyncio.sleep(LATENCY_SECONDS / 2)
        return taken

    def _take(self, most: int, visibility: int) -> list[Message]:
        now = self._clock.now
        shown = [name for name, stored in self.stored.items() if stored.visible_at <= now]
        taken = []
        for name in self._chance.sample(shown, min(most, len(shown))):
            receives = self.stored[name].receives + 1
            if 0 < self._max_receives < receives:
                del self.stored[name]
                self.dead.append(name)
                continue
            receipt = f"{name}/{receives}"
            self.stored[name] = Stored(now + visibility, receives, receipt)
            self.receives[name] += 1
            self.received_at[name] = now + LATENCY_SECONDS / 2
            lease = lease_end(now, visibility, now)
            taken.append(Message(name, receipt, lease, now, receives, 0, 0, "", "", "", (), name.encode()))
        return taken

    def hide(self, name: str, receipt: str, seconds: float) -> None:
        if (stored := self.stored.get(name)) and stored.receipt == receipt and stored.visible_at > self._clock.now:
            self.stored[name] = stored._replace(visible_at=self._clock.now + seconds)
            self._wake()

    def delete(self, name: str, receipt: str) -> None:
        if (stored := self.stored.get(name)) and stored.receipt == receipt:
            del self.stored[name]

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()


class QueueClient:
    """What a consumer speaks to SQS with."""

    def __init__(self, queue: VirtualQueue) -> None:
        self._queue = queue

    async def receive(self, most: int, wait_time: float, visibility: int, *, attempt_id: str | None = None) -> Received:
        return Received(await self._queue.receive(most, wait_time, visibility), 0, [])

    def close(self) -> None:
        return None


class Attempt(NamedTuple):
    at: float
    name: str


class Recipient:
    """Does as told at each instant, and writes down what it got and what it took."""

    def __init__(self, clock: Clock, behave: Behaviour, timeout: float, answer_seconds: float) -> None:
        self.attempts: list[Attempt] = []
        self.taken: list[Attempt] = []
        self.clock = clock
        self.behave = behave
        self.timeout = timeout
        self.answer_seconds = answer_seconds

    def seconds(self, what: int | str) -> float:
        if what == FIRST_BYTE_TIMEOUT:
            return self.timeout
        return min(self.timeout, CONNECT_TIMEOUT_SECONDS) if what == CONNECT_TIMEOUT else self.answer_seconds


class RecipientTransport:
    """What a sender speaks to the recipient with."""

    def __init__(self, recipient: Recipient) -> None:
        self._recipient = recipient
        self._loop = asyncio.get_running_loop()

    def send(self, head: bytes, body: Body, done: Done, timeout: float | None = None) -> Exchange:
        recipient, now = self._recipient, self._recipient.clock.now
        assert isinstance(body, bytes)
        attempt = Attempt(now, body.decode())
        exchange = Exchange(head, body, done, now, now + recipient.timeout)
        exchange.connection = self
        recipient.attempts.append(attempt)
        what = recipient.behave(now, attempt.name)
        self._loop.call_later(recipient.seconds(what), self._end, exchange, attempt, what)
        return exchange

    def _end(self, exchange: Exchange, attempt: Attempt, what: int | str) -> None:
        now = self._recipient.clock.now
        exchange.connection = None
        if isinstance(what, str):
            exchange.finish(Failure(what, "as the test wants it", now - exchange.started))
            return
        if what == 200:
            self._recipient.taken.append(attempt)
        exchange.finish(Answer(what, [], b"", False, True, now, now - exchange.started))

    def connect(self, done: Done) -> None:
        recipient, began = self._recipient, self._recipient.clock.now
        what = recipient.behave(began, "")
        refused = what in (CONNECT_REFUSED, CONNECT_TIMEOUT)
        seconds = recipient.seconds(what) if refused else LATENCY_SECONDS / 3

        def ended() -> None:
            now = recipient.clock.now
            done(Failure(str(what), "", seconds) if refused else Answer(0, [], b"", False, True, now, seconds))

        self._loop.call_later(seconds, ended)

    def cancel(self, detail: str) -> None:
        raise AssertionError(f"{CANCELLED}: no test here drains")

    def close(self) -> None:
        return None


def of_another_process(inherited: Channel) -> Channel:
    """Return a channel as a forked process holds it, with descriptors of its own."""
    writer, reader = (socket.socket(fileno=os.dup(end())) for end in (inherited.writer_fileno, inherited.reader_fileno))
    writer.setblocking(False)
    reader.setblocking(False)
    return Channel(inherited.name, writer, reader)


class Program:
    """One Courier: its consumers and senders run, and an auditor of ours settles at once."""

    def __init__(self, options: Options, queue: VirtualQueue, recipient: Recipient, names: str = "") -> None:
        self.board = Scoreboard.create({"consumer": options.consumers, "sender": options.senders, "auditor": 1})
        self._queue = queue
        self._visibility = options.visibility
        self._clock = recipient.clock
        self._loop = asyncio.get_running_loop()
        self._acks = Channel.create("acks")
        work = Channel.create("work")
        self._channels = [self._acks, work]
        self._bells = {"consumer": Bells.create(options.consumers), "sender": Bells.create(options.senders)}
        self._lives: list[Life] = []
        self.event_lines: list[bytes] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._live("auditor", 0).ready()
        self._loop.add_reader(self._acks.reader_fileno(), self._settle)
        failure_queue = FailureQueue("queue") if options.failure_queue else None
        cool_down = breaker.BreakerOptions(options.threshold, options.cool_down, options.longest)
        delivery = SenderOptions(
            limits=GateOptions(
                options.concurrency,
                options.rate,
                options.in_flight,
                False,
                cool_down,
                options.reject_share,
                options.reject_window,
                options.senders,
            ),
            visibility=options.visibility,
            fifo=False,
            rules=DEFAULT_RULES,
            backoff=Backoff(1.0, 900.0),
            recorder=None,
            failure_queue=failure_queue,
            max_receives=options.rejects_at,
        )
        head = DeliveryHead(read_url("http://recipient.test/in"), "queue")
        intake = ConsumerOptions(10, options.wait_time, 0.0, options.visibility, False, options.rate)
        for index in range(options.senders):
            transport = RecipientTransport(recipient)
            channels = of_another_process(work), self._acks
            self._channels.append(channels[0])
            life = self._live("sender", index)
            events = event_recorder(f"sender {index}") if options.events else no_events
            sender = Sender(life, channels, transport, head, delivery, events=events)
            self._start(child.run_role(sender, life))
        for index in range(options.consumers):
            client = QueueClient(queue)
            life = self._live("consumer", index)
            events = event_recorder(f"consumer {index}") if options.events else no_events
            self._start(child.run_role(Consumer(life, work, self._acks, client, intake, events), life))

    def _live(self, role: str, index: int) -> Life:
        bells = self._bells.get(role, NO_BELLS)
        life = Life(self.board.slots(role)[index], self.board, self._loop, bells=bells)
        self._lives.append(life)
        self._beat(life)
        return life

    def _beat(self, life: Life) -> None:
        life.beat()
        self._loop.call_later(BEAT_SECONDS, self._beat, life)

    def _start(self, role: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(role)
        task.add_done_callback(raise_task_error)
        self.tasks.append(task)

    def _settle(self) -> None:
        words, queue, now = self.board.slots("auditor")[0].words, self._queue, self._clock.now
        while (received := self._acks.receive()) is not None:
            for kind, name, receipt, _, received_at, _, delay, record, *_ in unpack_settlements(*received):
                words[scoreboard.SETTLE_TAKEN] += 1
                if record and kind not in (DELIVERED, REJECTED):
                    self.event_lines.append(record)
                if kind == EVENT:
                    continue
                if kind in (DELIVERED, REJECTED):
                    queue.delete(name, receipt)
                    if kind == REJECTED:
                        queue.letters.append(name)
                elif kind == EXTEND:
                    queue.hide(name, receipt, hidden_seconds(self._visibility, received_at, now))
                else:
                    queue.hide(name, receipt, hidden_seconds(delay if kind == RETRY else 0.0, received_at, now))

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for each in self._channels:
            self._loop.remove_reader(each.reader_fileno())
            self._loop.remove_writer(each.writer_fileno())
        for each in self._channels:
            each.close()
        for bells in self._bells.values():
            for descriptor in bells.filenos():
                self._loop.remove_reader(descriptor)
            bells.close()


class World:
    """A queue, a recipient, and programs between them."""

    def __init__(self, clock: Clock, options: Options, programs: int, max_receives: int, behave: Behaviour) -> None:
        self.clock = clock
        self.queue = VirtualQueue(clock, max_receives)
        self.recipient = Recipient(clock, behave, options.timeout, options.answer_seconds)
        self.programs = [Program(options, self.queue, self.recipient) for _ in range(programs)]
        self.logs: list[Any] = []

    async def until(self, condition: Callable[[], object], seconds: float, every: float = 0.05) -> None:
        end = self.clock.now + seconds
        while not condition():
            assert self.clock.now < end, f"not true within {seconds} s"
            await asyncio.sleep(every)

    def events(self, start: str) -> list[Any]:
        return [entry for entry in self.logs if entry["event"].startswith(start)]


def play(
    scenario: Callable[[World], Coroutine[Any, Any, None]],
    behave: Behaviour,
    *,
    programs: int = 1,
    max_receives: int = 0,
    **options: Any,
) -> None:
    """Play a scenario in a world of programs with these options."""
    clock = Clock()

    async def played() -> None:
        async with opened(clock, Options(**options), programs, max_receives, behave) as world:
            await scenario(world)

    random.seed(1)
    run_virtually(clock, played())


@asynccontextmanager
async def opened(
    clock: Clock, options: Options, programs: int, max_receives: int, behave: Behaviour
) -> AsyncIterator[World]:
    with capture_logs() as logs:
        world = World(clock, options, programs, max_receives, behave)
        world.logs = logs
        try:
            yield world
        finally:
            for program in world.programs:
                await program.close()
