"""Event lines on a clock of our own: one for each outcome, and none that makes a settle wait.

Programs with outages, slow recipients and failure queues for the first; a real outbox and auditor for the second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final
from unittest.mock import patch

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.audit.event import LAPSED, RELEASED, RETRY, event_recorder
from courier.auditor import auditor as auditor_module
from courier.auditor import event_buffer
from courier.board.tally import REASONS, reason_place
from courier.http.answer import CONNECT_REFUSED, FIRST_BYTE_TIMEOUT, RESET
from courier.message import DELIVERED, EXTEND, RELEASE
from courier.message import RETRY as TRY_AGAIN
from courier.process import scoreboard
from tests.examples import examples
from tests.unit.test_gathering_over_time import ROUNDING, Chain, Log, LogOnTheClock, Reported, message_of
from tests.unit.test_gathering_over_time import run as run_chain
from tests.unit.virtual_program import World, play
from tests.unit.virtual_time import Clock

LINE: Final = event_recorder("sender 0")
FAILURES: Final[list[int | str]] = [503, 500, 404, 401, 429, 408, RESET, FIRST_BYTE_TIMEOUT, CONNECT_REFUSED]


def fields_of(world: World) -> list[dict[str, Any]]:
    return [orjson.loads(line) for program in world.programs for line in program.event_lines]


@settings(max_examples=examples(30), deadline=None)
@given(
    failure=st.sampled_from(FAILURES),
    outage=st.tuples(st.floats(0.0, 20.0), st.sampled_from([0.5, 5.0, 90.0])),
    poison=st.sampled_from([0, 7]),
    failure_queue=st.booleans(),
    rejects_at=st.sampled_from([0, 2]),
    threshold=st.sampled_from([0, 3, 10]),
    reject_share=st.sampled_from([0.0, 0.5]),
    visibility=st.sampled_from([5, 30]),
    concurrency=st.sampled_from([1, 16]),
    rate=st.sampled_from([None, 2.0]),
)
def test_each_counted_outcome_leaves_one_line_with_the_reason_by_which_it_is_counted(
    failure: int | str, outage: tuple[float, float], poison: int, **options: Any
) -> None:
    began, lasts = outage
    start: list[float] = []

    def behave(now: float, name: str) -> int | str:
        since = now - start[0] if start else 0.0
        if poison and name.endswith(str(poison)):
            return 422
        return failure if began <= since < began + lasts else 200

    async def scenario(world: World) -> None:
        start.append(world.clock.now)
        for n in range(60):
            world.queue.send(f"m{n}")
            await asyncio.sleep(0.5)
        await asyncio.sleep(lasts + 60.0)
        lines, board = fields_of(world), world.programs[0].board
        outcomes = Counter(line["outcome"] for line in lines)
        tried = [line for line in lines if line["outcome"] in (RETRY, "rejected")]
        assert len(tried) == board.total(scoreboard.RETRIED, "sender")
        counted = dict(zip(REASONS, board.totals(scoreboard.RETRIED_BY, "sender"), strict=False))
        by_reason = Counter(REASONS[reason_place(line["status"], line["reason"])] for line in tried)
        assert by_reason == Counter({reason: count for reason, count in counted.items() if count})
        assert outcomes[RELEASED] == board.total(scoreboard.RELEASED)
        assert outcomes[LAPSED] == board.total(scoreboard.LAPSED, "sender")
        assert all(line["attempt"] >= line["receive_count"] >= 1 for line in tried)
        assert ("rejected" in outcomes) <= (not options["failure_queue"])
        assert all(line["worker"].startswith(("sender ", "consumer ")) for line in lines)

    play(scenario, behave, events=True, **options)


def test_without_the_option_no_outcome_has_a_line() -> None:
    async def scenario(world: World) -> None:
        world.queue.send("m")
        await asyncio.sleep(30.0)
        assert world.programs[0].board.total(scoreboard.RETRIED, "sender")
        assert not world.programs[0].event_lines

    play(scenario, lambda now, name: 503)


STEADY: Final = st.lists(
    st.builds(
        Reported,
        st.one_of(st.sampled_from([0.0, 0.001, 0.01, 0.05]), st.floats(0.0, 0.2)),
        st.sampled_from([DELIVERED, DELIVERED, TRY_AGAIN, RELEASE, EXTEND]),
        st.one_of(st.floats(0.0, 0.6), st.floats(0.15, 0.2)),
        st.sampled_from("abc"),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=examples(60), deadline=None)
@given(
    reports=STEADY,
    fifo=st.booleans(),
    visibility=st.sampled_from([2, 30]),
    write_seconds=st.sampled_from([0.0, 0.003, 0.03]),
    noise=st.integers(1, 40),
)
def test_under_load_event_lines_delay_no_delete_no_change_and_no_extension(
    reports: list[Reported], fifo: bool, visibility: int, write_seconds: float, noise: int
) -> None:
    # A record comes at least each second, so that no event line is written alone.
    reports = [*reports, *[Reported(0.5, DELIVERED, 0.0, "a")] * 3]
    plain, _ = settled(reports, 0, fifo=fifo, visibility=visibility, write_seconds=write_seconds)
    noisy, log = settled(reports, noise, fifo=fifo, visibility=visibility, write_seconds=write_seconds)
    assert set(plain) == set(noisy)
    for name, at in plain.items():
        assert abs(noisy[name] - at) <= ROUNDING, name
    events = [line for line in log.durable if b'"worker"' in line]
    assert len(events) == len(reports) * noise + sum(each.kind in (TRY_AGAIN, RELEASE) for each in reports)


def settled(
    reports: Sequence[Reported], noise: int, *, fifo: bool, visibility: int, write_seconds: float
) -> tuple[dict[str, float], Log]:
    """Return when each message was settled, seconds after the start, with so many event lines at each step."""
    times: dict[str, float] = {}
    logs: list[Log] = []

    async def scenario(clock: Clock) -> None:
        log = Log(clock)
        logs.append(log)
        with patch.object(auditor_module, "LogThread", LogOnTheClock):
            chain = Chain(clock, log, fifo=fifo, required=True, audited=True, visibility=visibility)
        began = clock.now
        with patch.object(LogOnTheClock, "seconds", write_seconds):
            for number, reported in enumerate(reports):
                if reported.gap:
                    await asyncio.sleep(reported.gap)
                about = message_of(number, reported, visibility, clock.now)
                for n in range(noise):
                    chain.outbox.note(LINE(about, RETRY, f"{number}.{n}", clock.now))
                line = LINE(about, RETRY, "own", clock.now) if noise and reported.kind in (TRY_AGAIN, RELEASE) else b""
                chain.report(reported, line)
            await asyncio.sleep(2.0)
            times.update({name: at - began for name, at in {**chain.sqs.changed, **chain.sqs.deleted}.items()})
            await chain.drain()

    run_chain(scenario)
    return times, logs[0]


@pytest.mark.parametrize("fails_seconds", [0.0, 20.0])
def test_on_a_disk_with_nothing_but_event_lines_they_are_bounded_and_a_record_goes_first(fails_seconds: float) -> None:
    async def scenario(clock: Clock) -> None:
        log = Log(clock)
        with patch.object(auditor_module, "LogThread", LogOnTheClock):
            chain = Chain(clock, log, fifo=False, required=True, audited=True, visibility=30)
        began = clock.now
        log.fails_until = began + fails_seconds
        about = message_of(0, Reported(0.0, TRY_AGAIN, 0.0, "a"), 30, clock.now)
        with patch.object(event_buffer, "MOST_BYTES", 40_000):
            for n in range(300):
                await asyncio.sleep(0.1)
                chain.outbox.note(LINE(about, RETRY, f"{n}", clock.now))
                if n == 150:
                    chain.report(Reported(0.0, DELIVERED, 0.0, "a"))
            await asyncio.sleep(15.0)
        words = chain.stage.slot.words
        events = [line for line in log.durable if b'"worker"' in line]
        assert len(events) == words[scoreboard.EVENTS_WRITTEN]
        assert len(events) + words[scoreboard.EVENTS_LOST] == 300
        assert bool(words[scoreboard.EVENTS_LOST]) == bool(fails_seconds)
        # Once it can be written the record is, and without waiting for an event line.
        [at] = chain.sqs.deleted.values()
        assert at - began <= max(15.1, fails_seconds) + 2.0
        await chain.drain()

    run_chain(scenario)


def test_a_drain_writes_the_last_event_lines() -> None:
    async def scenario(clock: Clock) -> None:
        log = Log(clock)
        with patch.object(auditor_module, "LogThread", LogOnTheClock):
            chain = Chain(clock, log, fifo=False, required=True, audited=True, visibility=30)
        about = message_of(0, Reported(0.0, TRY_AGAIN, 0.0, "a"), 30, clock.now)
        for n in range(1000):
            chain.outbox.note(LINE(about, RETRY, f"{n}", clock.now))
        await chain.drain()
        assert len(log.durable) == 1000

    run_chain(scenario)
