"""Senders on one channel, most of them on standby: who takes a packet, and that none is left behind by any fault."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, cast
from unittest.mock import patch

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from courier.http.url_parsing import read_url
from courier.message import DELIVERED, Message, pack_messages, unpack_settlements
from courier.process import child, scoreboard, standby
from courier.process.bells import Bells
from courier.process.channel import Channel
from courier.process.life import Life
from courier.process.scoreboard import SILENT_SECONDS, Scoreboard
from courier.process.spread import SleepMeter
from courier.process.standby import FULL, HAS_ROOM, OFF
from courier.recipient import breaker
from courier.recipient.gate import GateOptions
from courier.recipient.policy import DEFAULT_RULES, Backoff
from courier.request.head import DeliveryHead
from courier.sender.duty import UNTAKEN_SECONDS
from courier.sender.options import SenderOptions
from courier.sender.sender import Sender
from tests.examples import examples
from tests.unit.process_faults import Interruptible, reap
from tests.unit.virtual_program import Recipient, RecipientTransport, of_another_process
from tests.unit.virtual_time import Clock, run_virtually

BEAT: Final = 1.0


class CountedChannel(Channel):
    """Counts the looks for a packet."""

    looks = 0

    def receive(self) -> tuple[bytes, bytes | None] | None:
        self.looks += 1
        return super().receive()


class BusyRecipient(Recipient):
    """Takes one message after another, as one that lacks cores does. ``answer_seconds`` is for each."""

    _until = 0.0

    def seconds(self, what: int | str) -> float:
        now = self.clock.now
        self._until = max(now, self._until) + super().seconds(what)
        return self._until - now


class Worker:
    """A sender as in a process of its own, which can be stopped and killed."""

    def __init__(self, team: Team, index: int) -> None:
        self.slot = team.board.slots("sender")[index]
        self.loop = Interruptible(asyncio.get_running_loop())
        self.life = Life(self.slot, team.board, cast("asyncio.AbstractEventLoop", self.loop), bells=team.bells)
        own = of_another_process(team.work)
        self.work = CountedChannel("work", own._writer, own._reader)
        transport = RecipientTransport(team.recipient)
        transport._loop = cast("asyncio.AbstractEventLoop", self.loop)
        head = DeliveryHead(read_url("http://recipient.test/in"), "queue")
        sender = Sender(self.life, (self.work, team.acks), transport, head, team.options)
        self.role = asyncio.get_running_loop().create_task(child.run_role(sender, self.life))
        self._beat()

    @property
    def is_able(self) -> bool:
        """Whether it could take a packet: it runs, and has a free slot."""
        words = self.slot.words
        is_free = words[scoreboard.LIMIT] > words[scoreboard.IN_FLIGHT]
        return not self.loop.is_stopped and words[scoreboard.STATE] == scoreboard.READY and is_free

    def _beat(self) -> None:
        self.life.beat()
        self.loop.call_later(BEAT, self._beat)

    def kill(self) -> None:
        self.loop.kill()
        self.role.cancel()
        self.work.close()


class Team:
    """Senders on a virtual clock. The test puts packets, and an auditor of ours counts what was delivered."""

    def __init__(
        self,
        clock: Clock,
        senders: int,
        seconds: float,
        *,
        fifo: bool = False,
        kind: type[Recipient] = Recipient,
        **limits: Any,
    ) -> None:
        self.clock = clock
        self.board = Scoreboard.create({"consumer": 1, "sender": senders, "auditor": 1})
        self.bells = Bells.create(senders)
        self.work, self.acks = Channel.create("work"), Channel.create("acks")
        self.recipient = kind(clock, lambda _, name: 200, 30.0, seconds)
        self.delivered: Counter[str] = Counter()
        self.put_at: dict[str, float] = {}
        given: dict[str, Any] = {"concurrency": 4, "rate": None, "in_flight": None, "adaptive": False}
        given |= {"reject_share": 0.0, "reject_window": 60.0, "breaker": breaker.BreakerOptions(10, 1.0, 8.0)}
        self.options = SenderOptions(
            limits=GateOptions(**(given | {"senders": senders} | limits)),
            visibility=30,
            fifo=fifo,
            rules=DEFAULT_RULES,
            backoff=Backoff(0.0, 0.0),
            recorder=None,
        )
        self._names = iter(range(1 << 30))
        asyncio.get_running_loop().add_reader(self.acks.reader_fileno(), self._settle)
        self.workers = [Worker(self, index) for index in range(senders)]
        self._made = list(self.workers)

    def put(self, *sizes: int, group: str = "") -> None:
        """Put packets of so many messages."""
        now = self.clock.now
        for size in sizes:
            names = [f"m{next(self._names)}" for _ in range(size)]
            self.put_at |= dict.fromkeys(names, now)
            messages = [Message(n, n, now + 1e6, now, 1, 0, 0, "", group, "", (), n.encode()) for n in names]
            assert self.work.send(*pack_messages(messages))

    def duties(self) -> list[int]:
        return [slot.words[scoreboard.DUTY] for slot in self.board.slots("sender")]

    def taken(self) -> int:
        return self.board.total(scoreboard.TAKEN, "sender")

    def waits(self) -> Iterator[float]:
        """Return how long each message that was sent had waited for it."""
        return (attempt.at - self.put_at[attempt.name] for attempt in self.recipient.attempts)

    def kill(self, index: int) -> None:
        """As SIGKILL, and the supervisor's reaping, do it."""
        self.workers[index].kill()
        reap(self.board.slots("sender")[index], self.bells)

    def begin(self, index: int) -> None:
        self.workers[index] = Worker(self, index)
        self._made.append(self.workers[index])

    async def settle_down(self) -> None:
        """Get through the start with one message, and wait until all but the first sender sleep."""
        self.put(1)
        await self.until(lambda: self.duties() == [HAS_ROOM] + [OFF] * (len(self.workers) - 1), 10.0)

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        end = self.clock.now + seconds
        while not condition():
            assert self.clock.now < end, (self.duties(), self.work.unread_bytes(), sum(self.delivered.values()))
            await asyncio.sleep(0.002)

    def _settle(self) -> None:
        while (received := self.acks.receive()) is not None:
            for kind, name, *_ in unpack_settlements(*received):
                self.board.slots("auditor")[0].words[scoreboard.SETTLE_TAKEN] += 1
                self.delivered[name] += kind == DELIVERED

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        for worker in self._made:
            worker.kill()
        await asyncio.gather(*(worker.role for worker in self._made), return_exceptions=True)
        loop.remove_reader(self.acks.reader_fileno())
        for descriptor in self.bells.filenos():
            loop.remove_reader(descriptor)
        self.bells.close()
        self.work.close()
        self.acks.close()


def play(
    scenario: Callable[[Team], Coroutine[Any, Any, None]],
    senders: int,
    seconds: float = 0.01,
    *,
    waits: float = 0.0,
    **options: Any,
) -> None:
    """Play with senders that wait for a core for the share ``waits`` of the time, and sleep in the rest of it."""
    clock = Clock()

    async def played() -> None:
        with patch.object(SleepMeter, "_read_schedstat", lambda _: (0.0, waits * clock.now)):
            team = Team(clock, senders, seconds, **options)
        try:
            await scenario(team)
        finally:
            await team.close()

    run_virtually(clock, played())


@pytest.mark.parametrize("fifo", [False, True])
def test_at_a_low_rate_one_sender_takes_all_and_no_other_one_wakes(fifo: bool) -> None:
    async def scenario(team: Team) -> None:
        await team.settle_down()
        before = [worker.work.looks for worker in team.workers]
        for _ in range(300):
            team.put(1)
            await asyncio.sleep(0.01)
        await team.until(lambda: len(team.delivered) == 301, 1.0)
        first, *others = [worker.work.looks - looks for worker, looks in zip(team.workers, before, strict=True)]
        assert first <= 2 * 300, "one that brings a packet, and one that finds no second"
        assert set(others) == {0}
        assert max(team.waits()) < 0.001

    play(scenario, 16, fifo=fifo)


def test_after_the_start_all_but_the_first_rest_within_a_second_although_messages_come() -> None:
    async def scenario(team: Team) -> None:
        team.put(1)
        await team.until(lambda: len(team.delivered) == 1, 1.0)
        # Until the others have seen that the start is over.
        await asyncio.sleep(BEAT)
        for _ in range(100):
            team.put(1)
            await asyncio.sleep(0.01)
        assert team.duties() == [HAS_ROOM] + [OFF] * 15

    play(scenario, 16)


@pytest.mark.parametrize("fifo", [False, True])
def test_a_slow_recipient_gets_all_slots_of_all_senders_and_nothing_waits_while_one_is_free(fifo: bool) -> None:
    async def scenario(team: Team) -> None:
        await team.settle_down()
        slots = 16 * 4
        team.put(*[1] * 2 * slots)
        await team.until(lambda: team.recipient.attempts[slots:] != [], 0.005)
        assert team.duties() == [FULL] * 16
        await team.until(lambda: len(team.delivered) == 2 * slots + 1, 2.0)
        assert sorted(team.waits())[slots] < 0.005
        await team.settle_down()

    play(scenario, 16, seconds=0.5, fifo=fifo)


async def at_full_load(team: Team, seconds: float) -> list[int]:
    """Keep the channel full for a while. Return how many senders were on duty, at each look."""
    await team.settle_down()
    found, end = [], team.clock.now + seconds
    while team.clock.now < end:
        if team.work.unread_bytes() < 20_000:
            team.put(*[4] * 20)
        await asyncio.sleep(0.005)
        found.append(sum(duty != OFF for duty in team.duties()))
    return found


@pytest.mark.parametrize("fifo", [False, True])
def test_a_recipient_on_the_same_busy_cores_gets_no_more_senders_than_share_them(fifo: bool) -> None:
    async def scenario(team: Team) -> None:
        on_duty = await at_full_load(team, 4.0)
        # At first it isn't known that it takes longer because of the load.
        assert on_duty[-400:] == [4] * 400

    with patch.object(standby, "workers_for_cores", lambda: 4):
        play(scenario, 12, seconds=0.001, kind=BusyRecipient, waits=0.3, fifo=fifo)


@pytest.mark.parametrize(("kind", "waits"), [(Recipient, 0.3), (BusyRecipient, 0.05)])
def test_a_slow_recipient_beside_busy_programs_and_a_busy_one_elsewhere_get_all_senders(
    kind: type[Recipient], waits: float
) -> None:
    async def scenario(team: Team) -> None:
        on_duty = await at_full_load(team, 4.0)
        assert on_duty[-400:] == [12] * 400

    with patch.object(standby, "workers_for_cores", lambda: 4):
        play(scenario, 12, seconds=0.001 if kind is BusyRecipient else 0.2, kind=kind, waits=waits)


def test_a_recipient_that_takes_some_messages_quickly_gets_all_senders_while_cores_are_idle() -> None:
    async def scenario(team: Team) -> None:
        on_duty = await at_full_load(team, 4.0)
        assert on_duty[-400:] == [12] * 400

    class Uneven(Recipient):
        def seconds(self, what: int | str) -> float:
            return 0.001 if len(self.attempts) % 2 else 0.5

    with patch.object(standby, "workers_for_cores", lambda: 4):
        play(scenario, 12, kind=Uneven, waits=0.05)


def test_a_limit_for_the_whole_program_is_reached_and_kept_though_the_first_sender_has_no_share_of_it() -> None:
    async def scenario(team: Team) -> None:
        await asyncio.sleep(5.0)
        most = 0
        team.put(*[1] * 60)
        began = team.clock.now
        while len(team.delivered) < 60:
            assert team.clock.now < began + 60 * 0.5 / 3 + 2.0
            await asyncio.sleep(0.05)
            most = max(most, team.board.total(scoreboard.IN_FLIGHT, "sender"))
        assert most == 3

    play(scenario, 8, seconds=0.5, in_flight=3)


@pytest.mark.parametrize("rate", [2.0, 20.0, 400.0])
def test_a_rate_limit_is_reached_and_kept(rate: float) -> None:
    async def scenario(team: Team) -> None:
        await asyncio.sleep(5.0)
        count = int(rate * 20)
        began = team.clock.now
        for start in range(0, count, 50):
            team.put(*[1] * min(50, count - start))
            await team.until(lambda start=start: len(team.delivered) >= start, 40.0)  # type: ignore[misc]
        await team.until(lambda: len(team.delivered) >= count - 1, 40.0)
        took = team.clock.now - began
        assert count / took <= 1.1 * rate + 2
        assert count / took >= 0.85 * rate

    play(scenario, 8, rate=rate)


def test_a_message_under_a_rate_limit_is_sent_by_the_sender_whose_token_it_is_though_it_sleeps() -> None:
    async def scenario(team: Team) -> None:
        await asyncio.sleep(60.0)
        for _ in range(20):
            team.put(1)
            await asyncio.sleep(2.5)
        # One token a second, of any sender.
        assert max(team.waits()) <= 1.1

    play(scenario, 8, rate=1.0)


@pytest.mark.parametrize("sleep", [0.0, 3.0])
def test_a_pause_that_the_recipient_asks_for_ends_for_sleeping_senders_too(sleep: float) -> None:
    async def scenario(team: Team) -> None:
        await team.settle_down()
        team.board.slots("sender")[0].reals[scoreboard.PAUSED_UNTIL] = team.clock.now + 5.0
        await asyncio.sleep(sleep)
        before = len(team.recipient.attempts)
        team.put(*[1] * 40)
        await asyncio.sleep(4.0 - sleep)
        assert len(team.recipient.attempts) <= before + 4
        await team.until(lambda: len(team.delivered) == 41, 10.0)
        await team.settle_down()

    play(scenario, 8)


def test_an_outage_wakes_no_sender_that_holds_nothing_and_all_but_one_sleep_once_it_is_over() -> None:
    async def scenario(team: Team) -> None:
        await team.settle_down()
        begins, ends = team.clock.now, team.clock.now + 20.0
        team.recipient.behave = lambda at, _: 503 if begins <= at < ends else 200
        team.put(*[1] * 30)
        await asyncio.sleep(3.0)
        board = team.board
        held = [slot.words[scoreboard.IN_FLIGHT] + slot.words[scoreboard.KEPT] for slot in board.slots("sender")]
        on_duty = [duty != OFF for duty in team.duties()]
        assert sum(held) == 30
        assert on_duty == [count > 0 for count in held]
        await team.until(lambda: len(team.delivered) == 31, 60.0)
        await team.until(lambda: team.duties() == [HAS_ROOM] + [OFF] * 7, 10.0)

    play(scenario, 8)


def test_a_drain_of_all_releases_what_the_sleeping_ones_left_in_the_channel() -> None:
    async def scenario(team: Team) -> None:
        await team.settle_down()
        team.workers[0].loop.stop()
        team.put(1, 1, 1)
        team.board.supervisor.reals[scoreboard.DRAIN_DEADLINE] = team.clock.now + 5.0
        for worker in team.workers[1:]:
            worker.life.drain()
        await asyncio.sleep(1.0)
        assert not team.work.unread_bytes()
        assert team.board.total(scoreboard.RELEASED, "sender") == 3

    play(scenario, 4)


def test_one_message_and_then_nothing_is_taken_soon_whatever_was_stopped_before() -> None:
    async def scenario(team: Team) -> None:
        await team.settle_down()
        await asyncio.sleep(random.random())
        for index in range(3):
            team.workers[index].loop.stop()
            before = team.taken()
            team.put(1)
            await team.until(lambda before=before: team.taken() > before, BEAT + UNTAKEN_SECONDS + 0.01)  # type: ignore[misc]
        await asyncio.sleep(SILENT_SECONDS + BEAT)
        for worker in team.workers:
            worker.loop.go_on()
        await team.settle_down()

    for _ in range(10):
        play(scenario, 4)


@pytest.mark.parametrize("slots_taken", [0, 4])
def test_one_message_and_then_nothing_is_taken_at_once_after_a_kill(slots_taken: int) -> None:
    async def scenario(team: Team) -> None:
        await team.settle_down()
        team.put(*[1] * slots_taken)
        await asyncio.sleep(0.005)
        for index in range(3):
            before = team.taken()
            team.put(1)
            team.kill(index)
            await team.until(lambda before=before: team.taken() > before, 0.005)  # type: ignore[misc]

    play(scenario, 4, seconds=30.0)


@given(
    seed=st.integers(0, 1 << 32),
    senders=st.integers(1, 6),
    concurrency=st.integers(1, 4),
    seconds=st.sampled_from([0.005, 0.2, 2.0]),
    fifo=st.booleans(),
    in_flight=st.sampled_from([None, None, 1, 3, 9]),
    rate=st.sampled_from([None, None, 30.0]),
)
@settings(max_examples=examples(25), deadline=None, phases=[Phase.explicit, Phase.generate])
def test_whatever_is_killed_stopped_or_lost_a_packet_is_taken_within_a_beat_while_a_sender_can(
    seed: int, senders: int, concurrency: int, seconds: float, fifo: bool, in_flight: int | None, rate: float | None
) -> None:
    chance = random.Random(seed)
    # A token may belong to one that is stopped or silent, and counts again only once that is known.
    bound = BEAT + UNTAKEN_SECONDS + 0.05 + (0.0 if rate is None and in_flight is None else SILENT_SECONDS + BEAT)

    async def scenario(team: Team) -> None:
        dead: set[int] = set()
        for _ in range(60):
            index = chance.randrange(senders)
            match chance.randrange(8):
                case 0 if index not in dead:
                    team.kill(index)
                    dead.add(index)
                case 1 if index in dead:
                    team.begin(index)
                    dead.discard(index)
                case 2:
                    team.workers[index].loop.stop()
                case 3:
                    team.workers[index].loop.go_on()
                case 4:
                    # A ring that nobody hears.
                    team.bells.hush(index)
                case _:
                    team.put(*[chance.randrange(1, 4) for _ in range(chance.randrange(4))])
            since, taken = team.clock.now, team.taken()
            end = since + chance.choice([0.0, 0.01, 0.06, 0.5, 4.0])
            while team.clock.now < end:
                await asyncio.sleep(0.02)
                able = any(worker.is_able for worker in team.workers)
                if team.taken() != taken or not able or not team.work.unread_bytes():
                    since, taken = team.clock.now, team.taken()
                assert team.clock.now - since < bound, (team.duties(), [w.is_able for w in team.workers])
        for index in dead:
            team.begin(index)
        for worker in team.workers:
            worker.loop.go_on()
        await team.until(lambda: not team.work.unread_bytes(), 400.0)

    play(scenario, senders, seconds=seconds, concurrency=concurrency, fifo=fifo, in_flight=in_flight, rate=rate)
