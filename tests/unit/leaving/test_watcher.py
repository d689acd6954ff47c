"""The watcher: what it writes on the board, logs, extends and completes; the platform is the test's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from courier.errors import CourierError
from courier.leaving import watcher as module
from courier.leaving.metadata import Poll, Unavailable
from courier.leaving.notice import Notice
from courier.leaving.watcher import Watcher
from courier.process import scoreboard
from courier.process.child import run_role
from courier.process.departure import Departure, departure_of
from courier.process.life import Life
from courier.process.scoreboard import Scoreboard
from tests.waiting import stays, until

SPOT = Notice("spot", "terminate", 4_000_000_000.0)
TERMINATED = Notice("lifecycle", "Terminated")
REBALANCE = Notice("rebalance", "rebalance", drains=False)


class Platform:
    """Notices in force, and a hook that may fail or be gone."""

    def __init__(self) -> None:
        self.notices: Sequence[Notice] = ()
        self.error: Unavailable | None = None
        self.polls = 0
        self.fails = 0
        self.waits = True
        self.extended = 0
        self.completed = 0
        self.minutes: list[int] = []
        self.is_closed = False

    async def poll(self) -> Poll:
        self.polls += 1
        await asyncio.sleep(0)
        return Poll(self.notices, self.error)

    async def find_hook(self) -> Platform:
        if self.fails:
            self.fails -= 1
            raise CourierError("no; wait")
        return self

    def extend(self) -> bool:
        self.extended += 1
        return self.waits

    def complete(self) -> bool:
        if self.fails:
            self.fails -= 1
            raise CourierError("no; wait")
        was, self.waits = self.waits, False
        self.completed += was
        return was

    async def protect(self, minutes: int) -> None:
        self.minutes.append(minutes)

    def close(self) -> None:
        self.is_closed = True


class World:
    def __init__(self) -> None:
        self.board = Scoreboard.create({"watcher": 1, "sender": 1})
        self.slot = self.board.slots("watcher")[0]
        self.platform = Platform()

    @asynccontextmanager
    async def run(
        self, *, hook: bool = True, protects: bool = False, orphaned: bool = False, replaced: bool = False
    ) -> AsyncIterator[Life]:
        life = Life(self.slot, self.board, asyncio.get_running_loop())
        platform = self.platform
        watcher = Watcher(life, platform, platform.find_hook if hook else None, platform if protects else None)
        running = asyncio.get_running_loop().create_task(run_role(watcher, life))
        await until(lambda: platform.polls or running.done())
        yield life
        if not replaced:
            self.board.supervisor.words[scoreboard.STATE] = scoreboard.DRAINING
        if orphaned:
            life.orphan()
        else:
            life.drain()
        await running
        assert platform.is_closed


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll and sample a hundred times as often."""
    for name in ("POLL_SECONDS", "SAMPLE_SECONDS", "EXTEND_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(module, name, 0.02)


async def test_a_notice_that_drains_is_the_departure() -> None:
    world = World()
    async with world.run():
        await stays(lambda: departure_of(world.slot) is None, 0.1)
        world.platform.notices = [SPOT]
        await until(lambda: departure_of(world.slot))
        departure = departure_of(world.slot)
        assert departure is not None
        assert departure.kind == "spot"
        assert abs(departure.ends_at - time.monotonic() - 4_000_000_000 + time.time()) < 5


async def test_the_first_notice_stays_the_reason_unless_another_ends_the_machine_sooner() -> None:
    world = World()
    world.platform.notices = [TERMINATED]
    async with world.run():
        await until(lambda: departure_of(world.slot) == Departure("lifecycle"))
        world.platform.notices = [TERMINATED, REBALANCE._replace(drains=True)]
        await until(lambda: world.slot.words[scoreboard.NOTICES + 3])
        assert departure_of(world.slot) == Departure("lifecycle")
        world.platform.notices = [TERMINATED, SPOT]
        await until(lambda: (found := departure_of(world.slot)) and found.kind == "spot")
        world.platform.notices = [TERMINATED]
        await stays(lambda: (found := departure_of(world.slot)) and found.kind == "spot", 0.1)


async def test_a_notice_is_logged_once_also_by_a_successor_and_counted_once() -> None:
    world = World()
    world.platform.notices = [REBALANCE]
    with capture_logs() as lines:
        for _ in range(2):
            async with world.run():
                polls = world.platform.polls
                await until(lambda polls=polls: world.platform.polls > polls + 2)  # type: ignore[misc]
    assert [line["then"] for line in lines if line["event"] == "the platform gives notice"] == ["going on as before"]
    assert world.slot.words[scoreboard.NOTICES + 3] == 1
    assert departure_of(world.slot) is None


async def test_an_outage_of_the_metadata_is_logged_once_and_its_end_too() -> None:
    world = World()
    world.platform.error = Unavailable("nobody there; ask again")
    with capture_logs() as lines:
        async with world.run():
            await until(lambda: world.platform.polls > 1, 20)
            world.platform.error = None
            await until(lambda: any("asking again" in line["event"] for line in lines), 30)
    failing = [line for line in lines if line["event"].startswith("cannot ask")]
    assert [(line["reason"], line["advice"]) for line in failing] == [("nobody there", "ask again")]
    assert world.slot.words[scoreboard.METADATA_FAILURES] >= 1


async def test_the_hook_is_extended_while_the_program_drains_and_completed_at_the_end() -> None:
    world = World()
    world.platform.notices = [TERMINATED]
    async with world.run():
        await until(lambda: departure_of(world.slot))
        await stays(lambda: not world.platform.extended, 0.1)
        world.board.supervisor.words[scoreboard.STATE] = scoreboard.DRAINING
        await until(lambda: world.platform.extended > 1)
        assert world.platform.waits
    assert world.platform.completed == 1
    assert world.board.total(scoreboard.HOOKS_COMPLETED) == 1


async def test_completing_is_tried_again_until_it_is_done() -> None:
    world = World()
    world.platform.notices = [TERMINATED]
    async with world.run():
        await until(lambda: departure_of(world.slot))
        world.platform.fails = 4
    assert world.platform.completed == 1


async def test_a_drain_by_a_signal_looks_once_more_before_the_end() -> None:
    world = World()
    async with world.run():
        world.platform.notices = [TERMINATED]
    assert world.platform.completed == 1


async def test_an_instance_that_is_to_serve_completes_nothing() -> None:
    world = World()
    world.platform.notices = [SPOT]
    async with world.run():
        pass
    assert not world.platform.completed
    assert world.platform.waits


async def test_an_orphan_completes_nothing_because_the_others_still_commit() -> None:
    world = World()
    world.platform.notices = [TERMINATED]
    async with world.run(orphaned=True):
        await until(lambda: departure_of(world.slot))
    assert not world.platform.completed


async def test_a_watcher_that_another_replaces_completes_nothing() -> None:
    world = World()
    world.platform.notices = [TERMINATED]
    async with world.run(replaced=True):
        await until(lambda: departure_of(world.slot))
    assert not world.platform.completed
    async with world.run():
        pass
    assert world.platform.completed


async def test_a_hook_that_fails_for_ever_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOOK_SECONDS", 0.3)
    world = World()
    world.platform.notices = [TERMINATED]
    world.platform.fails = 10**9
    with capture_logs() as lines:
        async with world.run():
            await until(lambda: departure_of(world.slot))
    assert not world.platform.completed
    assert sum(line["event"].startswith("cannot complete") for line in lines) == 1
    assert lines[-1]["event"] == "gave up on the lifecycle action"


async def test_a_task_is_busy_with_the_deliveries_of_every_queue() -> None:
    world = World()
    boards = [Scoreboard.create({"sender": 1}) for _ in range(3)]
    sender = boards[2].slots("sender")[0]
    sender.words[scoreboard.STATE], sender.reals[scoreboard.BEAT] = scoreboard.READY, time.monotonic()
    sender.words[scoreboard.IN_FLIGHT] = 1
    life = Life(world.slot, world.board, asyncio.get_running_loop())
    watcher = Watcher(life, world.platform, None, world.platform, boards)
    running = asyncio.get_running_loop().create_task(run_role(watcher, life))
    await until(lambda: world.platform.minutes == [10])
    life.drain()
    await running


async def test_a_busy_task_is_protected_and_the_protection_ends_with_the_program() -> None:
    world = World()
    sender = world.board.slots("sender")[0]
    async with world.run(hook=False, protects=True):
        # A Courier that was killed may have left the task protected.
        await until(lambda: world.platform.minutes == [0])
        sender.words[scoreboard.STATE] = scoreboard.READY
        sender.reals[scoreboard.BEAT] = time.monotonic()
        sender.words[scoreboard.IN_FLIGHT] = 3
        await until(lambda: world.platform.minutes == [0, 10])
        await until(lambda: world.slot.words[scoreboard.TASK_PROTECTED])
    assert world.platform.minutes == [0, 10, 0]
