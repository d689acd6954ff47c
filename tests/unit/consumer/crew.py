"""Real consumers of one program on a virtual clock, between a queue in memory and senders that take all at once.

A consumer can be killed, stopped and continued like a process, and its calls to SQS can fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast
from unittest.mock import patch

from structlog.testing import capture_logs

from courier.consumer.consumer import Consumer, ConsumerOptions
from courier.errors import SqsError
from courier.message import Message, unpack_messages
from courier.process import scoreboard
from courier.process.bells import NO_BELLS, Bells
from courier.process.channel import Channel
from courier.process.life import Life
from courier.process.scoreboard import Scoreboard
from courier.process.spread import SleepMeter
from courier.process.standby import OFF
from courier.sqs.received import Received
from tests.unit.process_faults import Interruptible, reap
from tests.unit.virtual_program import BEAT_SECONDS, VirtualQueue
from tests.unit.virtual_time import Clock, run_virtually

FOR_EVER: Final = 1e12


class HeldTask(asyncio.Task[Any]):
    """A task whose end is heard of through the loop of its worker."""

    def __init__(self, coro: Coroutine[Any, Any, Any], worker: Interruptible) -> None:
        super().__init__(coro, loop=asyncio.get_running_loop())
        self._worker = worker

    def add_done_callback(self, fn: Callable[[Any], object], *, context: Any = None) -> None:
        super().add_done_callback(lambda task: self._worker.call_soon(fn, task))


class TaskLoop(Interruptible):
    """An interruptible loop with tasks. A consumer's tasks wait for SQS alone, so its client does what a stop does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._tasks: set[asyncio.Task[Any]] = set()

    def create_task(self, coro: Coroutine[Any, Any, Any], **_: Any) -> asyncio.Task[Any]:
        task = HeldTask(coro, self)
        self._tasks.add(task)
        return task

    def kill(self) -> None:
        super().kill()
        # SQS sees the end of the connections.
        for task in self._tasks:
            task.cancel()


class CountingClient:
    """What a consumer speaks to SQS with."""

    def __init__(self, crew: Crew, index: int, loop: TaskLoop) -> None:
        self._crew = crew
        self._index = index
        self._loop = loop

    async def receive(self, most: int, wait_time: float, visibility: int, *, attempt_id: str | None = None) -> Received:
        crew, index = self._crew, self._index
        crew.receives[index] += 1
        crew.attempts[index].append(attempt_id)
        crew.open[index] += 1
        try:
            return Received(await self._answer(most, wait_time, visibility), 0, [])
        finally:
            crew.open[index] -= 1

    async def _answer(self, most: int, wait_time: float, visibility: int) -> list[Message]:
        crew, loop = self._crew, self._loop
        messages: list[Message] = []
        if self._index not in crew.cut_off:
            messages = await crew.queue.receive(crew.batch(most), wait_time, visibility)
        while loop.is_stopped:
            # SQS has handed the messages over, and a process that is stopped reads its sockets later, or never.
            await asyncio.sleep(0.01)
        if self._index in crew.cut_off:
            await asyncio.sleep(0.01)
            raise SqsError("ReceiveMessage", "network", "", retriable=True)
        return messages

    def close(self) -> None:
        return None


class Crew:
    """The consumers, by slot. ``delivered`` is when each message was taken from the work channel, at first."""

    def __init__(self, clock: Clock, count: int, *, resting: bool, slots: int, options: ConsumerOptions) -> None:
        self.clock = clock
        self.queue = VirtualQueue(clock)
        self.batch: Callable[[int], int] = lambda most: most
        self.board = Scoreboard.create({"consumer": count, "sender": 1, "auditor": 1})
        self.bells = Bells.create(count) if resting else NO_BELLS
        self.work, self.acks = Channel.create("work"), Channel.create("acks")
        self.receives = [0] * count
        self.open = [0] * count
        self.attempts: list[list[str | None]] = [[] for _ in range(count)]
        self.cut_off: set[int] = set()
        self.delivered: dict[str, float] = {}
        self.loops: dict[int, TaskLoop] = {}
        self.made: list[TaskLoop] = []
        self._options = options
        self._spared = asyncio.all_tasks()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.work.reader_fileno(), self._take)
        for role in ("sender", "auditor"):
            (slot,) = self.board.slots(role)
            slot.words[scoreboard.STATE] = scoreboard.READY
            slot.words[scoreboard.LIMIT] = slots
            slot.reals[scoreboard.SLOT_SECONDS] = 0.001
            slot.reals[scoreboard.CLOSED_AT] = 1.0
            slot.reals[scoreboard.BEAT] = FOR_EVER
        for index in range(count):
            self.start(index)

    def start(self, index: int) -> None:
        """Start the consumer of a slot, as after a fork."""
        loop = self.loops[index] = TaskLoop(self._loop)
        self.made.append(loop)
        life = Life(
            self.board.slots("consumer")[index], self.board, cast("asyncio.AbstractEventLoop", loop), bells=self.bells
        )
        client = CountingClient(self, index, loop)
        consumer = Consumer(life, self.work, self.acks, client, self._options)
        life.on_beat = consumer.beat
        life.ready()
        life.beat()
        consumer.start()

        def beat() -> None:
            life.beat()
            loop.call_later(BEAT_SECONDS, beat)

        loop.call_later(BEAT_SECONDS, beat)

    def kill(self, index: int) -> None:
        """As SIGKILL and the supervisor's reaping do it."""
        self.loops[index].kill()
        reap(self.board.slots("consumer")[index], self.bells)

    def lives(self, index: int) -> bool:
        """Return whether the consumer of a slot has not been killed."""
        return not self.loops[index].is_killed

    def on_duty(self) -> list[int]:
        """Return the slots whose consumers are on duty."""
        return [slot.index for slot in self.board.slots("consumer") if slot.words[scoreboard.DUTY] != OFF]

    def polling(self) -> list[int]:
        """Return the slots whose consumers have a receive in progress."""
        return [index for index, count in enumerate(self.open) if count]

    async def until(self, condition: Callable[[], object], seconds: float) -> None:
        end = self.clock.now + seconds
        while not condition():
            assert self.clock.now < end, f"not true within {seconds} s: {self.on_duty()}, {self.polling()}"
            await asyncio.sleep(0.01)

    def _take(self) -> None:
        (sender,) = self.board.slots("sender")
        while (received := self.work.receive()) is not None:
            for message in unpack_messages(*received):
                sender.words[scoreboard.TAKEN] += 1
                sender.words[scoreboard.COMPLETED] += 1
                self.delivered.setdefault(message.message_id, self.clock.now)
                self.queue.delete(message.message_id, message.receipt)

    async def close(self) -> None:
        for loop in self.made:
            loop.kill()
        left = [task for task in asyncio.all_tasks() if task not in self._spared]
        for task in left:
            task.cancel()
        # Nobody else hears of the end of a task of a killed worker.
        while not all(task.done() for task in left):
            await asyncio.sleep(0)
        self._loop.remove_reader(self.work.reader_fileno())
        for each in (self.work, self.acks, self.bells):
            each.close()


def play(
    scenario: Callable[[Crew], Coroutine[Any, Any, None]],
    count: int,
    *,
    resting: bool = True,
    slots: int = 64,
    **options: Any,
) -> None:
    """Play a scenario with so many consumers. With ``resting`` false none ever sleeps.

    Each one counts as mostly asleep: how much of a second a process runs means nothing where no time passes meanwhile.
    """
    clock = Clock()
    given = ConsumerOptions(10, 20, 0.0, 30, fifo=False)

    async def played() -> None:
        crew = Crew(clock, count, resting=resting, slots=slots, options=given._replace(**options))
        try:
            await scenario(crew)
        finally:
            await crew.close()

    with patch.object(SleepMeter, "mostly_sleeps", lambda meter, now: True), capture_logs():
        run_virtually(clock, played())
