"""Standby: who is on duty, who is called in, who rests, and that nothing hangs on a ring that was lost."""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.process import scoreboard
from courier.process.bells import Bells
from courier.process.life import Life
from courier.process.scoreboard import SILENT_SECONDS, Scoreboard
from courier.process.spread import LOOK_SECONDS, SleepMeter
from courier.process.standby import FULL, HAS_ROOM, OFF, Standby
from tests.examples import examples
from tests.unit.process_faults import Interruptible, reap
from tests.unit.virtual_time import Clock, run_virtually

BEAT: Final = 1.0
CHECK: Final = 0.1


class Worker:
    """A worker that takes packets from a shared pile: ``slots`` at a time, for ``seconds`` each. It can be stopped."""

    def __init__(self, team: Team, index: int, slots: int, seconds: float, *, sleeps: bool) -> None:
        self.team = team
        self.slot = team.board.slots("sender")[index]
        self.loop = Interruptible(asyncio.get_running_loop())
        self.life = Life(self.slot, team.board, cast("asyncio.AbstractEventLoop", self.loop), bells=team.bells)
        self.slots, self.seconds = slots, seconds
        self.active = 0
        self.called = 0
        awake = 0.0 if sleeps else 1e9

        def read() -> tuple[float, float]:
            return awake * team.clock.now, team.waited()

        self.standby = Standby(
            self.life,
            self.called_in,
            freely=team.freely,
            can_help=lambda slot: slot.words[scoreboard.LIMIT] > slot.words[scoreboard.IN_FLIGHT],
            meter=SleepMeter(read),
        )

    def start(self) -> None:
        self.slot.words[scoreboard.LIMIT] = self.slots
        self.life.ready()
        self.standby.start()
        self.beat()
        self.check()
        self.take()

    def beat(self) -> None:
        self.life.beat()
        self.standby.beat()
        self.loop.call_later(BEAT, self.beat)

    def check(self) -> None:
        self.standby.rest(is_idle=not self.active)
        self.loop.call_later(CHECK, self.check)

    def called_in(self) -> None:
        self.called += 1
        self.take()

    def take(self) -> None:
        while self.standby.on_duty and self.active < self.slots and self.team.pile:
            self.team.pile.popleft()
            self.active += 1
            self.loop.call_later(self.seconds, self.done)
        self.slot.words[scoreboard.IN_FLIGHT] = self.active
        has_room = self.active < self.slots
        if has_room != self.standby.has_room:
            self.standby.show_room(has_room)
            if not has_room:
                self.standby.call_in()

    def done(self) -> None:
        self.active -= 1
        self.team.done += 1
        self.take()


class Team:
    """The workers of a role on a virtual clock."""

    def __init__(self, clock: Clock, count: int, freely: int, slots: int, seconds: float, *, sleeps: bool) -> None:
        self.clock = clock
        self.freely = freely
        self.board = Scoreboard.create({"sender": count})
        self.bells = Bells.create(count)
        self.pile: deque[int] = deque()
        self.done = 0
        self.made: list[Worker] = []
        # Since when each waits for a core for a good part of the time.
        self.waits_since = math.inf
        self._work = slots, seconds, sleeps
        self.workers = [self.begin(index) for index in range(count)]

    def begin(self, index: int) -> Worker:
        slots, seconds, sleeps = self._work
        worker = Worker(self, index, slots, seconds, sleeps=sleeps)
        self.made.append(worker)
        worker.start()
        return worker

    def waited(self) -> float:
        return 0.3 * max(0.0, self.clock.now - self.waits_since)

    def put(self, count: int = 1) -> None:
        self.pile.extend(range(count))
        for worker in self.workers:
            if worker.standby.has_room:
                worker.loop.call_soon(worker.take)

    def kill(self, index: int) -> None:
        """As SIGKILL and the supervisor's reaping do it."""
        self.workers[index].loop.kill()
        reap(self.board.slots("sender")[index], self.bells)

    def revive(self, index: int) -> None:
        self.workers[index] = self.begin(index)

    def duties(self) -> list[int]:
        return [slot.words[scoreboard.DUTY] for slot in self.board.slots("sender")]

    def close(self) -> None:
        for worker in self.made:
            worker.loop.kill()
            asyncio.get_running_loop().remove_reader(self.bells.fileno(worker.slot.index))
        self.bells.close()


def play(
    scenario: Callable[[Team], Coroutine[Any, Any, None]],
    count: int,
    *,
    freely: int = 4,
    slots: int = 2,
    seconds: float = 0.5,
    sleeps: bool = True,
) -> None:
    clock = Clock()

    async def played() -> None:
        team = Team(clock, count, freely, slots, seconds, sleeps=sleeps)
        try:
            await scenario(team)
        finally:
            team.close()

    run_virtually(clock, played())


async def until(condition: Callable[[], bool], team: Team, seconds: float) -> None:
    end = team.clock.now + seconds
    while not condition():
        assert team.clock.now < end, (team.duties(), team.pile, seconds)
        await asyncio.sleep(0.001)


async def all_but_the_first_rest(team: Team) -> None:
    await until(lambda: team.duties() == [HAS_ROOM] + [OFF] * (len(team.workers) - 1), team, 5.0)


def test_idle_workers_rest_but_for_the_first() -> None:
    play(all_but_the_first_rest, 9)


def test_work_for_one_wakes_no_other() -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        before = [worker.called for worker in team.workers]
        for _ in range(50):
            team.put()
            await asyncio.sleep(0.6)
        assert team.done == 50
        assert [worker.called for worker in team.workers] == before

    play(scenario, 9)


@pytest.mark.parametrize("count", [2, 9])
def test_a_slow_recipient_gets_all_workers_one_after_another_and_at_once(count: int) -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        team.put(count * 2)
        await until(lambda: not team.pile, team, 0.005)
        assert team.duties() == [FULL] * count
        await all_but_the_first_rest(team)
        assert team.done == count * 2

    play(scenario, count)


def test_busy_workers_call_in_no_more_than_share_the_cores() -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        team.put(1000)
        # Each of them slept until now, which is all that it knows of itself.
        await asyncio.sleep(10 * LOOK_SECONDS)
        for _ in range(100):
            await asyncio.sleep(CHECK)
            assert team.pile
            if sum(duty != OFF for duty in team.duties()) <= 4:
                return
        raise AssertionError(team.duties())

    play(scenario, 9, sleeps=False, seconds=0.05)


def crowd(team: Team, fastest: float, typical: float) -> None:
    """Let all workers wait for a core for a good part of the time, and their deliveries take so long.

    The first one alone has seen the fastest.
    """
    team.waits_since = team.clock.now
    for slot in team.board.slots("sender"):
        slot.reals[scoreboard.TYPICAL_SECONDS] = typical
        slot.reals[scoreboard.FASTEST_SECONDS] = typical if slot.index else fastest


def test_workers_that_sleep_because_the_recipient_lacks_their_cores_call_in_no_more_than_share_them() -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        crowd(team, 0.0004, 0.003)
        team.put(1000)
        # Each of them slept until now, which is all that it knows of itself.
        await until(lambda: team.duties() == [FULL] * 4 + [OFF] * 5, team, 2.0)
        called = [worker.called for worker in team.workers]
        for _ in range(50):
            await asyncio.sleep(CHECK)
            assert team.pile
        assert [worker.called for worker in team.workers] == called

    play(scenario, 9, seconds=0.1)


def test_a_slow_recipient_gets_all_workers_though_other_programs_use_the_cores() -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        crowd(team, 0.05, 0.07)
        await asyncio.sleep(1.0)
        team.put(18)
        await until(lambda: not team.pile, team, 0.005)
        assert team.duties() == [FULL] * 9

    play(scenario, 9, seconds=30.0)


@pytest.mark.parametrize("count", [5, 9, 40])
def test_workers_that_crowd_the_cores_find_their_way_back_to_sleep_and_no_more_than_share_them_stay(count: int) -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        team.put(1000)
        await until(lambda: team.duties() == [FULL] * count, team, 1.0)
        crowd(team, 0.0004, 0.003)
        # Half of them at a time. A look may be as long ago as a check.
        await until(lambda: team.duties().count(OFF) == count - 4, team, 2.0)
        for _ in range(30):
            await asyncio.sleep(CHECK)
            assert team.pile
            assert team.duties() == [FULL] * 4 + [OFF] * (count - 4)

    play(scenario, count, seconds=0.4)


def test_between_crowded_and_overcrowded_none_comes_and_none_goes() -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        team.put(12)
        await until(lambda: team.duties() == [FULL] * 6 + [HAS_ROOM] + [OFF] * 2, team, 0.005)
        crowd(team, 0.001, 0.004)
        await asyncio.sleep(1.0)
        team.put(6)
        for _ in range(30):
            await asyncio.sleep(CHECK)
            assert team.duties() == [FULL] * 7 + [OFF] * 2

    play(scenario, 9, seconds=30.0)


@pytest.mark.parametrize("sleeps", [False, True])
def test_a_worker_with_work_rests_only_if_it_mostly_sleeps(sleeps: bool) -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        for worker in team.workers:
            # The first look has nothing to compare with.
            worker.standby.may_rest()
        await asyncio.sleep(1.0)
        team.put(3)
        await until(lambda: team.duties() == [FULL, HAS_ROOM, OFF], team, 0.01)
        first = team.workers[0]
        first.active -= 1
        first.take()
        await asyncio.sleep(2.0)
        assert team.duties() == [HAS_ROOM, OFF if sleeps else HAS_ROOM, OFF]

    play(scenario, 3, sleeps=sleeps, seconds=30.0)


def test_what_a_full_worker_may_not_call_in_for_it_asks_again() -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        await asyncio.sleep(1.0)
        team.put(4)
        await asyncio.sleep(0.01)
        assert team.duties() == [FULL, OFF, OFF], "it runs"
        busy["now"] = False
        await until(lambda: not team.pile, team, 2.1 * LOOK_SECONDS)

    busy = {"now": True}
    clock = Clock()

    async def played() -> None:
        team = Team(clock, 3, 1, 2, 30.0, sleeps=True)
        for worker in team.workers:
            awake = [0.0]

            def read(awake: list[float] = awake) -> tuple[float, float]:
                awake[0] += 1e6 if busy["now"] else 0.0
                return awake[0], 0.0

            worker.standby._meter = SleepMeter(read)
            worker.standby._meter.mostly_sleeps(clock.now)
        try:
            await scenario(team)
        finally:
            team.close()

    run_virtually(clock, played())


def test_a_killed_worker_is_replaced_by_the_next_at_once() -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        team.kill(0)
        team.put()
        await until(lambda: not team.pile, team, 0.005)
        await until(lambda: team.duties() == [OFF, HAS_ROOM, OFF, OFF], team, 5.0)

    play(scenario, 4)


def test_a_stopped_first_worker_is_replaced_once_it_is_silent_and_not_by_a_beat_later() -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        await asyncio.sleep(random.random())
        team.workers[0].loop.stop()
        stopped_at = team.clock.now
        await until(lambda: team.workers[1].standby.on_duty, team, SILENT_SECONDS + 0.01)
        assert team.clock.now - stopped_at > SILENT_SECONDS - BEAT
        await asyncio.sleep(1.0)
        assert team.duties() == [HAS_ROOM, HAS_ROOM, OFF, OFF], "those behind the second have one that lives"
        team.workers[0].loop.go_on()
        await until(lambda: team.duties() == [HAS_ROOM, OFF, OFF, OFF], team, 2.0)

    for _ in range(20):
        play(scenario, 4)


def test_one_that_is_stopped_before_it_hears_the_ring_holds_up_nobody() -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        team.workers[1].loop.stop()
        team.put(4)
        await until(lambda: not team.pile, team, 2 * LOOK_SECONDS)
        assert team.workers[2].standby.on_duty

    play(scenario, 4, seconds=30.0)


def test_one_that_leaves_is_missed_by_nobody_who_counted_on_its_room() -> None:
    async def scenario(team: Team) -> None:
        await all_but_the_first_rest(team)
        team.put(3)
        await until(lambda: not team.pile, team, 0.005)
        assert team.duties() == [FULL, HAS_ROOM, OFF, OFF]
        team.workers[1].life.drain()
        team.workers[1].standby.stop()
        team.put()
        await until(lambda: not team.pile, team, 0.005)

    play(scenario, 4, seconds=30.0)


def test_a_worker_without_bells_stays_on_duty() -> None:
    async def scenario() -> None:
        board = Scoreboard.create({"sender": 2})
        loop = asyncio.get_running_loop()
        for slot in board.slots("sender"):
            life = Life(slot, board, loop)
            life.ready()
            life.beat()
            standby = Standby(life, lambda: None)
            standby.start()
            assert not standby.rest()
            assert standby.on_duty
            standby.stop()
            assert not standby.on_duty

    run_virtually(Clock(), scenario())


@given(
    seed=st.integers(0, 1 << 32),
    count=st.integers(1, 6),
    slots=st.integers(1, 3),
    freely=st.integers(1, 6),
)
@settings(max_examples=examples(30), deadline=None)
def test_whatever_is_killed_stopped_and_lost_a_packet_is_taken_while_a_slot_is_free(
    seed: int, count: int, slots: int, freely: int
) -> None:
    chance = random.Random(seed)

    def able(team: Team) -> bool:
        return any(
            not worker.loop.is_stopped
            and worker.slot.words[scoreboard.STATE] == scoreboard.READY
            and worker.active < worker.slots
            for worker in team.workers
        )

    async def scenario(team: Team) -> None:
        dead: set[int] = set()
        for _ in range(150):
            index = chance.randrange(count)
            worker = team.workers[index]
            match chance.randrange(8):
                case 0 if index not in dead:
                    team.kill(index)
                    dead.add(index)
                case 1 if index in dead:
                    team.revive(index)
                    dead.discard(index)
                case 2:
                    worker.loop.stop()
                case 3:
                    worker.loop.go_on()
                case 4:
                    # A ring that is heard by nobody.
                    team.bells.hush(index)
                case _:
                    team.put(chance.randrange(4))
            waits_since = team.clock.now
            end = team.clock.now + chance.choice([0.0, 0.01, 0.06, 0.5, 3.0])
            while team.clock.now < end:
                await asyncio.sleep(0.02)
                if not team.pile or not able(team):
                    waits_since = team.clock.now
                # A worker is silent after 2.5 s, and then the next one comes; those that it rings may be stopped too.
                assert team.clock.now - waits_since < SILENT_SECONDS + BEAT + count * 2 * LOOK_SECONDS, team.duties()

    play(scenario, count, freely=freely, slots=slots, seconds=0.2)
