"""Redrives and drops on a clock of our own: nothing is lost, whatever fails and whenever they are stopped or killed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import orjson
from hypothesis import given
from hypothesis import strategies as st

from courier.dlq.carrier import Dropping, Redriving, Target
from courier.dlq.dead_letter import DeadLetter
from courier.dlq.move_record import DROPPED, REDRIVEN, move_recorder
from courier.dlq.mover import Moved, Mover
from courier.dlq.origins import always
from courier.dlq.returns import Returns
from courier.dlq.scan import Scan, letter_of
from courier.errors import AuditError, SqsError
from courier.message import REDRIVE_OF, Attribute, Message
from courier.sqs.batch import Outgoing
from tests.unit.dlq.dead_queue import DeadQueue
from tests.unit.dlq.test_redriven import queue as queue_info
from tests.unit.virtual_time import Clock, run_virtually


class Log:
    """A log on a disk that fails as a test says."""

    def __init__(self, fails: float = 0.0, seed: int = 0) -> None:
        self.lines: list[bytes] = []
        self._fails = fails
        self._random = random.Random(seed)

    async def append(self, lines: Sequence[bytes], /) -> None:
        await asyncio.sleep(0.002)
        if self._random.random() < self._fails:
            raise AuditError("the disk is full; make room")
        self.lines += lines

    @property
    def ids(self) -> set[str]:
        return {orjson.loads(line)["message_id"] for line in self.lines}


async def read(messages: Sequence[Message]) -> list[DeadLetter]:
    return [letter_of(message) for message in messages]


def redrive_of(copy: Outgoing) -> str:
    return next(each.value for each in copy.attributes if each.name == REDRIVE_OF)


@given(
    count=st.integers(1, 120),
    fails=st.floats(0.0, 0.25),
    fifo=st.booleans(),
    to_fifo=st.booleans(),
    limit=st.one_of(st.none(), st.integers(1, 60)),
    rate=st.one_of(st.none(), st.floats(0.5, 500.0)),
    wanted=st.sampled_from(["all", "even", "none"]),
    ends=st.sampled_from(["by itself", "stopped", "killed"]),
    after=st.floats(0.0, 30.0),
    log_fails=st.sampled_from([0.0, 0.0, 0.2]),
    seed=st.integers(0, 1000),
)
def test_each_dead_letter_is_in_its_queue_or_copied_whatever_fails_and_whenever_it_ends(
    count: int,
    fails: float,
    fifo: bool,
    to_fifo: bool,
    limit: int | None,
    rate: float | None,
    wanted: str,
    ends: str,
    after: float,
    log_fails: float,
    seed: int,
) -> None:
    clock = Clock()
    dead, target = (
        DeadQueue(clock, fifo=fifo, fails=fails, seed=seed),
        DeadQueue(clock, fifo=to_fifo, fails=fails, seed=seed),
    )
    target.refuses = frozenset({b"m5"})
    ids = [f"m{n}" for n in range(count)]
    for number, each in enumerate(ids):
        dead.put(each, group=f"g{number % 3}" if fifo else "")
    log = Log(log_fails, seed)
    is_chosen: dict[str, Callable[[int], bool]] = {
        "all": lambda _: True,
        "even": lambda n: n % 2 == 0,
        "none": lambda _: False,
    }
    chosen = is_chosen[wanted]
    met: list[Moved] = []

    async def scenario() -> None:
        scan = Scan(dead)
        info = queue_info(fifo=to_fifo)
        mover = Mover(
            scan,
            Redriving(always(Target(info, target))),
            log,
            move_recorder(REDRIVEN, "dead", "full"),
            read,
            lambda letter: chosen(int(letter.message_id[1:])),
            limit=limit,
            rate=rate,
            returns=Returns(clock.now, clock.now),
            count=dead.depth,
        )
        met.append(mover.moved)

        async def run() -> None:
            async with scan:
                await mover.run()

        running = asyncio.create_task(run())
        if ends == "by itself":
            await running
            return
        await asyncio.wait([running], timeout=after)
        if ends == "stopped":
            mover.stop()
            await running
            return
        # What is under way is cut where it is, and nothing is shown again: as by SIGKILL.
        dead.fails = 1.0
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    run_virtually(clock, scenario())
    moved = met[0]
    copied = Counter(redrive_of(copy) for copy in target.taken)
    gone = set(ids) - set(dead.stored)
    assert gone <= set(copied), "a message left its queue without a copy"
    assert gone <= log.ids, "a message left its queue without a record"
    assert all(chosen(int(each[1:])) for each in copied)
    assert "m5" not in copied
    if limit is not None and not fails and not log_fails:
        assert len(copied) <= limit
    if ends == "killed":
        return
    assert not dead.hidden() or fails
    assert moved.moved == len(gone)
    if not fails and not log_fails and ends == "by itself":
        expected = {each for each in ids if chosen(int(each[1:])) and each != "m5"}
        if limit is None and (not fifo or wanted == "all") and not (fifo and "m5" in ids):
            assert set(copied) == gone == expected
        assert max(copied.values(), default=1) == 1
    if to_fifo and fifo and not log_fails and ends == "by itself" and not fails:
        for number in range(3):
            order = [int(redrive_of(c)[1:]) for c in target.taken if c.group == f"g{number}"]
            assert order == sorted(order)


@given(st.integers(0, 500), st.floats(0.0, 0.2))
def test_what_a_killed_redrive_left_is_copied_by_the_next_ones(seed: int, fails: float) -> None:
    clock = Clock()
    dead, target = DeadQueue(clock, fails=fails, seed=seed), DeadQueue(clock, fails=fails, seed=seed)
    ids = [f"m{n}" for n in range(100)]
    dead.put(*ids)
    chance = random.Random(seed)

    async def scenario() -> None:
        for _ in range(100):
            scan = Scan(dead)
            carrier = Redriving(always(Target(queue_info(), target)))
            mover = Mover(scan, carrier, Log(), move_recorder(REDRIVEN, "dead", "none"), read, lambda _: True)

            async def run(scan: Scan = scan, mover: Mover = mover) -> None:
                async with scan:
                    await mover.run()

            running = asyncio.create_task(run())
            await asyncio.wait([running], timeout=chance.random() * 0.5)
            keeper = dead.fails
            dead.fails = 1.0
            running.cancel()
            await asyncio.wait([running])
            dead.fails = keeper
            # They come back by themselves.
            await asyncio.sleep(130)
            if not dead.stored:
                return

    run_virtually(clock, scenario())
    copied = Counter(redrive_of(copy) for copy in target.taken)
    assert not dead.stored
    assert set(copied) == set(ids)


def test_what_comes_back_is_left_and_pauses_the_redrive() -> None:
    clock = Clock()
    dead, target = DeadQueue(clock, fifo=False), DeadQueue(clock)
    dead.put(*(f"m{n}" for n in range(2000)))
    said: list[str] = []

    class Failing:
        """A queue whose consumer refuses everything at once."""

        async def send(self, messages: Sequence[Outgoing], /) -> list[None]:
            for message in messages:
                name = f"copy-{len(dead.stored)}-{redrive_of(message)}"
                dead.put(name)
                dead.stored[name].attributes = (Attribute(REDRIVE_OF, "String", redrive_of(message)),)
                dead.stored[name].sent_ms = int(clock.now * 1000)
            return [None] * len(messages)

        def close(self) -> None:
            """Do nothing."""

    async def scenario() -> None:
        scan = Scan(dead)
        mover = Mover(
            scan,
            Redriving(always(Target(queue_info(), Failing()))),  # type: ignore[arg-type]
            Log(),
            move_recorder(REDRIVEN, "dead", "full"),
            read,
            lambda _: True,
            rate=50.0,
            returns=Returns(clock.now, clock.now, late=0.0),
            count=dead.depth,
            say=said.append,
        )
        running = asyncio.create_task(_within(scan, mover))
        await asyncio.sleep(25)
        assert said
        assert "come back" in said[0]
        assert mover.moved.moved <= 500
        mover.stop()
        await running

    run_virtually(clock, scenario())
    assert target.taken == []
    assert dead.hidden() == []


def test_a_drop_deletes_only_what_is_recorded_with_its_body_and_attributes() -> None:
    clock = Clock()
    dead, log = DeadQueue(clock), Log()
    dead.put(*(f"m{n}" for n in range(30)))
    for stored in dead.stored.values():
        stored.attributes = (Attribute("tenant", "String", "acme"),)

    async def scenario() -> None:
        scan = Scan(dead)
        mover = Mover(
            scan, Dropping(), log, move_recorder(DROPPED, "dead", "full"), read, lambda each: each.message_id != "m7"
        )
        await _within(scan, mover)
        assert mover.moved.moved == 29

    run_virtually(clock, scenario())
    assert list(dead.stored) == ["m7"]
    assert dead.hidden() == []
    for line in log.lines:
        fields = orjson.loads(line)
        assert fields["body"] == fields["message_id"]
        assert fields["attributes"] == {"tenant": {"type": "String", "value": "acme"}}
        assert (fields["outcome"], fields["queue"]) == ("dropped", "dead")


async def _within(scan: Scan, mover: Mover) -> None:
    async with scan:
        await mover.run()


def test_a_queue_that_denies_ends_the_redrive_and_shows_everything_again() -> None:
    clock = Clock()
    dead = DeadQueue(clock)
    dead.put(*(f"m{n}" for n in range(50)))

    class Denying:
        async def send(self, messages: Sequence[Outgoing], /) -> list[None]:
            raise SqsError("SendMessageBatch", "AccessDenied", "no", retriable=False, status=403)

        def close(self) -> None:
            """Do nothing."""

    async def scenario() -> None:
        began = clock.now
        carrier = Redriving(always(Target(queue_info(), Denying())))  # type: ignore[arg-type]
        scan = Scan(dead)
        mover = Mover(scan, carrier, Log(), move_recorder(REDRIVEN, "dead", "full"), read, lambda _: True)
        await _within(scan, mover)
        assert isinstance(mover.error, SqsError)
        assert mover.moved.moved == 0
        assert clock.now - began < 10.0

    run_virtually(clock, scenario())
    assert len(dead.stored) == 50
    assert dead.hidden() == []


def test_a_queue_that_is_down_for_a_while_is_waited_for() -> None:
    clock = Clock()
    dead, target = DeadQueue(clock), DeadQueue(clock, fails=1.0)
    dead.put(*(f"m{n}" for n in range(50)))

    async def scenario() -> None:
        carrier = Redriving(always(Target(queue_info(), target)))
        scan = Scan(dead)
        mover = Mover(scan, carrier, Log(), move_recorder(REDRIVEN, "dead", "full"), read, lambda _: True)
        running = asyncio.create_task(_within(scan, mover))
        await asyncio.sleep(60)
        target.fails = 0.0
        await running
        assert mover.error is None
        assert mover.moved.moved == 50

    run_virtually(clock, scenario())
    assert not dead.stored
    assert {redrive_of(copy) for copy in target.taken} == {f"m{n}" for n in range(50)}
