"""The scheduler: what it puts into the queue, and when; the queue and the clock are the test's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from courier.errors import SqsError
from courier.message import Attribute
from courier.process import scoreboard
from courier.process.child import run_role
from courier.process.life import Life
from courier.process.scoreboard import Scoreboard
from courier.request.tasks import BODY
from courier.scheduler.schedule import parse_schedule
from courier.scheduler.scheduler import Scheduler
from courier.scheduler.tasks import Task
from courier.sqs.batch import EntryFailure, Outgoing
from tests.waiting import until

NOON = 1_700_049_600.0 - 1_700_049_600.0 % 3600
EACH = Task("each minute", "/each", parse_schedule("* * * * *"))
HOURLY = Task("hourly", "/hourly", parse_schedule("0 * * * *"))


class Queue:
    """Takes messages, or fails as the test says."""

    def __init__(self) -> None:
        self.got: list[Outgoing] = []
        self.fails = False
        self.failure: EntryFailure | None = None
        self.calls = 0
        self.is_closed = False

    async def send(self, messages: Sequence[Outgoing], /) -> list[EntryFailure | None]:
        self.calls += 1
        await asyncio.sleep(0)
        if self.fails:
            raise SqsError("SendMessageBatch", "network", "nobody there", retriable=True)
        if self.failure is None:
            self.got += messages
        return [self.failure] * len(messages)

    def close(self) -> None:
        self.is_closed = True


class World:
    """One slot of the scoreboard, a queue, and a clock that stands still unless it is set."""

    def __init__(self) -> None:
        self.board = Scoreboard.create({"scheduler": 1})
        self.slot = self.board.slots("scheduler")[0]
        self.queue = Queue()
        self.now = NOON + 1

    @asynccontextmanager
    async def run(self, *tasks: Task, fifo: bool = False) -> AsyncIterator[None]:
        life = Life(self.slot, self.board, asyncio.get_running_loop())
        scheduler = Scheduler(life, self.queue, tasks, fifo=fifo, clock=lambda: self.now)
        running = asyncio.get_running_loop().create_task(run_role(scheduler, life))
        await asyncio.sleep(0.01)
        yield
        life.drain()
        await running
        assert self.queue.is_closed

    def word(self, place: int) -> int:
        return self.slot.words[place]


async def test_a_start_on_a_standard_queue_repeats_nothing_and_the_next_minute_is_enqueued() -> None:
    world = World()
    async with world.run(EACH):
        assert world.queue.got == []
    world.now += 60
    async with world.run(EACH, HOURLY):
        (message,) = world.queue.got
    assert message == Outgoing(
        BODY,
        (
            Attribute("beanstalk.sqsd.path", "String", "/each"),
            Attribute("beanstalk.sqsd.task_name", "String", "each minute"),
            Attribute("beanstalk.sqsd.scheduled_time", "String", "2023-11-15 12:01:00 UTC"),
        ),
    )
    assert world.word(scoreboard.TASKS_ENQUEUED) == 1
    assert world.word(scoreboard.SCHEDULED_UNTIL) * 60 == NOON + 60


async def test_on_a_fifo_queue_replicas_enqueue_the_same_and_a_start_looks_back() -> None:
    worlds = World(), World()
    worlds[1].now += 120
    for world in worlds:
        async with world.run(HOURLY, fifo=True):
            pass
    (one,), (other,) = (world.queue.got for world in worlds)
    assert one == other
    assert one.deduplication_id
    assert one.group == "cron:hourly"


async def test_each_task_is_a_group_whatever_its_name() -> None:
    world = World()
    names = ["a b", "a_b", "ä".encode().hex(), "x" * 100, "a\"b'", "a:b/c-d.e"]
    async with world.run(*(Task(name, "/", HOURLY.schedule) for name in names), fifo=True):
        pass
    groups = [message.group for message in world.queue.got]
    assert len(set(groups)) == len(names)
    assert all(re.fullmatch(r"[!-~]{1,128}", group) for group in groups)
    assert len({message.deduplication_id for message in world.queue.got}) == len(names)


async def test_a_queue_that_fails_gets_the_latest_of_each_task_when_it_is_back() -> None:
    world = World()
    async with world.run(EACH):
        pass
    world.queue.fails = True
    world.now += 60
    async with world.run(EACH):
        await until(lambda: world.queue.calls)
        world.now += 60
        await until(lambda: world.queue.calls >= 2)
        world.queue.fails = False
        await until(lambda: world.queue.got)
    (message,) = world.queue.got
    assert message.attributes[2].value == "2023-11-15 12:02:00 UTC"
    assert world.word(scoreboard.TASKS_MISSED) == 1
    assert world.word(scoreboard.SCHEDULED_UNTIL) * 60 == NOON + 120


async def test_a_task_that_the_queue_refuses_is_tried_when_it_is_due_again() -> None:
    world = World()
    world.queue.failure = EntryFailure("InvalidMessageContents", "no", True)
    async with world.run(HOURLY, fifo=True):
        pass
    async with world.run(HOURLY, fifo=True):
        pass
    assert world.queue.calls == 1
    assert world.word(scoreboard.TASKS_MISSED) == 1
    world.queue.failure = None
    world.now += 3600
    async with world.run(HOURLY, fifo=True):
        pass
    assert len(world.queue.got) == 1


async def test_a_successor_goes_on_where_the_killed_one_was() -> None:
    world = World()
    async with world.run(EACH, HOURLY):
        pass
    world.queue.fails = True
    world.now += 60
    async with world.run(EACH, HOURLY):
        await until(lambda: world.queue.calls)
    world.queue.fails = False
    async with world.run(EACH, HOURLY):
        pass
    assert [message.attributes[2].value for message in world.queue.got] == ["2023-11-15 12:01:00 UTC"]
