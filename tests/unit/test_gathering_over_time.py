"""Outcomes and records that wait for others, on a clock of our own: for how long, in which order, and what it saves.

A real outbox, channel and auditor. SQS answers from memory, and the audit log takes its time on that clock.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple, cast
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from courier.auditor import auditor as auditor_module
from courier.auditor.auditor import Auditor, AuditorOptions
from courier.auditor.committer import GATHER_SECONDS, IDLE_GATHER_SECONDS, MANY_RECORDS, Committer
from courier.auditor.log_thread import AuditLog, LogThread
from courier.errors import AuditError
from courier.lease import fresh_seconds, lease_end
from courier.message import DELIVERED, EXTEND, REJECTED, RELEASE, RETRY, Letter, Message, pack_letter
from courier.message import unpack_settlements as unpack
from courier.outbox import GATHER_SECONDS as OUTBOX_SECONDS
from courier.outbox import OUTCOMES_PER_PACKET, SOON_SECONDS, Outbox
from courier.sqs.client import SqsClient
from tests.examples import examples
from tests.unit.stage import Surroundings, ended
from tests.unit.virtual_time import Clock, run_virtually

ROUNDING: Final = 1e-6
"""Seconds by which sums of times on the clock may be off."""

CALL_SECONDS: Final = 0.01
LINGER_SECONDS: Final = 0.1
LETTER: Final = pack_letter(Letter(b"rejected", (), ""))


class LogOnTheClock(LogThread):
    """A log whose calls take time on the clock, which wouldn't wait for a thread."""

    seconds = 0.0

    async def append(self, lines: Sequence[bytes], events: Sequence[bytes] = ()) -> int:
        await asyncio.sleep(self.seconds)
        self._used_at = time.monotonic()
        return self._log.append_with_events(lines, events)

    async def probe(self) -> None:
        await asyncio.sleep(0)
        self._used_at = time.monotonic()
        self._log.probe()

    async def finish(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self._log.finish(seconds)


class Log(AuditLog):
    """An audit log in memory. Its next calls fail as ``failures`` say: as a whole, or for some lines, or not."""

    def __init__(self, clock: Clock, failures: Sequence[str] = ()) -> None:
        self.durable: dict[bytes, float] = {}
        self.commits: list[tuple[float, int]] = []
        self._clock = clock
        self._failures = list(failures)
        self.fails_until = 0.0

    def finish(self, seconds: float, /) -> None: ...

    def append(self, lines: Sequence[bytes], /) -> None:
        self.probe()
        failure = self._failures.pop(0) if self._failures else ""
        if failure == "whole":
            raise AuditError("nothing was taken")
        failed = range(0, len(lines), 2) if failure == "part" else ()
        self.durable.update((line, self._clock.now) for n, line in enumerate(lines) if n not in failed)
        self.commits.append((self._clock.now, len(lines)))
        if failed:
            raise AuditError("a part wasn't taken", failed)

    def probe(self) -> None:
        if self._clock.now < self.fails_until:
            raise AuditError("the disk is full")

    def rotate(self) -> None: ...

    def close(self) -> None: ...


class Sqs:
    """The queue and the failure queue: when each message was deleted, changed, or sent as a letter."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self.deleted: dict[str, float] = {}
        self.changed: dict[str, float] = {}
        self.not_durable: list[str] = []
        self._clock = clock
        self._log = log

    async def delete(self, receipts: Sequence[str]) -> list[None]:
        self.not_durable += [receipt for receipt in receipts if f"{receipt}\n".encode() not in self._log.durable]
        self.deleted.update((receipt, self._clock.now) for receipt in receipts)
        await asyncio.sleep(CALL_SECONDS)
        return [None] * len(receipts)

    async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> list[None]:
        self.changed.update((receipt, self._clock.now) for receipt, _ in entries)
        await asyncio.sleep(CALL_SECONDS)
        return [None] * len(entries)

    async def send(self, entries: Sequence[object]) -> list[None]:
        await asyncio.sleep(CALL_SECONDS)
        return [None] * len(entries)

    def close(self) -> None: ...


class Reported(NamedTuple):
    """An outcome to report ``gap`` seconds after the one before; ``gone`` is the share of its lease that is gone."""

    gap: float
    kind: int
    gone: float
    group: str


GAPS: Final = st.one_of(st.sampled_from([0.0, 0.0, 0.001, 0.01, 0.05]), st.floats(0.0, 0.2))
REPORTED: Final = st.builds(
    Reported,
    GAPS,
    st.sampled_from([DELIVERED, DELIVERED, DELIVERED, RETRY, RELEASE, EXTEND, REJECTED]),
    st.one_of(st.floats(0.0, 0.6), st.floats(0.15, 0.2)),
    st.sampled_from("abc"),
)
VISIBILITY: Final = st.sampled_from([1, 2, 5, 30, 43_200])


def message_of(number: int, reported: Reported, visibility: int, now: float) -> Message:
    length = lease_end(0.0, visibility, 0.0)
    received_at = now - reported.gone * length
    name = f"{reported.group}{number}"
    return Message(name, name, received_at + length, received_at, 1, 0, 0, "", reported.group, "", (), b"")


def run(scenario: Callable[[Clock], Coroutine[Any, Any, None]]) -> None:
    clock = Clock()
    run_virtually(clock, scenario(clock))


@settings(max_examples=examples(100))
@example(reports=[Reported(0.0, DELIVERED, 0.19, "a")], fifo=False, visibility=1)
@example(
    reports=[Reported(0.0, DELIVERED, 0.0, "a"), Reported(0.018, RETRY, 0.0, "a"), Reported(0.001, RETRY, 0.0, "a")],
    fifo=False,
    visibility=30,
)
@given(reports=st.lists(REPORTED, min_size=1, max_size=80), fifo=st.booleans(), visibility=VISIBILITY)
def test_no_outcome_waits_in_the_outbox_longer_than_its_kind_and_its_lease_allow(
    reports: list[Reported], fifo: bool, visibility: int
) -> None:
    async def scenario(clock: Clock) -> None:
        stage, loop = Surroundings("sender"), asyncio.get_running_loop()
        outbox = Outbox(loop, stage.acks, stage.slot, lambda: None, fifo=fifo, visibility=visibility)
        added: list[tuple[float, Reported, Message]] = []
        came: list[str] = []

        def receive() -> None:
            while (received := stage.acks.receive()) is not None:
                packet = unpack(*received)
                assert len(packet) <= OUTCOMES_PER_PACKET
                for outcome in packet:
                    at, reported, message = added[len(came)]
                    came.append(outcome[1])
                    waited, left = clock.now - at, message.lease - clock.now
                    is_patient = not fifo and reported.kind == DELIVERED and left >= fresh_seconds(visibility)
                    bound = 0.0 if fifo else OUTBOX_SECONDS if is_patient else SOON_SECONDS
                    assert waited <= bound + ROUNDING

        loop.add_reader(stage.acks.reader_fileno(), receive)
        for number, reported in enumerate(reports):
            if reported.gap:
                await asyncio.sleep(reported.gap)
            message = message_of(number, reported, visibility, clock.now)
            added.append((clock.now, reported, message))
            outbox.add(reported.kind, message, message.lease)
        await asyncio.sleep(1.0)
        assert came == [message.message_id for _, _, message in added]
        loop.remove_reader(stage.acks.reader_fileno())
        stage.close()

    run(scenario)


async def test_told_to_stop_an_outbox_keeps_nothing_back() -> None:
    stage = Surroundings("sender")
    outbox = Outbox(asyncio.get_running_loop(), stage.acks, stage.slot, lambda: None, fifo=False, visibility=30)
    for number in range(5):
        message = message_of(number, Reported(0.0, DELIVERED, -1.0, ""), 30, 1e9)
        outbox.add(DELIVERED, message, message.lease)
    assert not stage.outcomes()
    outbox.stop_gathering()
    assert len(stage.outcomes()) == 5
    stage.close()


class Added(NamedTuple):
    """When an item came to the committer, and until when it was patient."""

    at: float
    patient_until: float


@settings(max_examples=examples(100))
@example(packets=[(0.0, 40, 1.0), (0.001, 40, 1.0)], write_seconds=0.0, hurry_at=None)
@given(
    packets=st.lists(st.tuples(GAPS, st.integers(1, 40), st.floats(-0.1, 0.2)), min_size=1, max_size=20),
    write_seconds=st.sampled_from([0.0, 0.003, 0.2]),
    hurry_at=st.one_of(st.none(), st.floats(0.0, 0.5)),
)
def test_no_record_waits_for_others_longer_than_their_number_and_their_patience_allow(
    packets: list[tuple[float, int, float]], write_seconds: float, hurry_at: float | None
) -> None:
    async def scenario(clock: Clock) -> None:
        log = Log(clock)
        thread = LogOnTheClock(log)
        thread.seconds = write_seconds
        added: list[Added] = []
        done: list[int] = []
        free_at = stopped_at = clock.now if hurry_at is None else clock.now + hurry_at

        def durable(items: Sequence[int]) -> None:
            nonlocal free_at
            assert all(f"{item}\n".encode() in log.durable for item in items)
            began = clock.now - write_seconds
            group = [added[item] for item in items]
            since = max(free_at, group[0].at)
            # What comes in the same instant is seen together.
            as_ever = since + (GATHER_SECONDS if len(group) > 1 else 0.0)
            bounds = [since + IDLE_GATHER_SECONDS, *(max(each.at, each.patient_until, as_ever) for each in group)]
            if len(group) >= MANY_RECORDS:
                bounds.append(max(as_ever, group[MANY_RECORDS - 1].at))
            if hurry_at is not None:
                bounds.append(max(since, stopped_at))
            assert began <= min(bounds) + ROUNDING
            done.extend(items)
            free_at = clock.now

        free_at = clock.now
        committer: Committer[int] = Committer(thread, durable, lambda _: None)
        running = asyncio.create_task(committer.run())
        if hurry_at is not None:
            asyncio.get_running_loop().call_later(hurry_at, committer.stop_gathering)
        for gap, count, patience in packets:
            if gap:
                await asyncio.sleep(gap)
            numbers = range(len(added), len(added) + count)
            added += [Added(clock.now, clock.now + patience)] * count
            committer.extend(numbers, [b"%d\n" % number for number in numbers], clock.now + patience)
        await asyncio.sleep(1.0)
        assert done == list(range(len(added)))
        assert not running.done()
        running.cancel()
        committer.close()

    run(scenario)


class Chain:
    """An outbox and an auditor behind it."""

    def __init__(self, clock: Clock, log: Log, *, fifo: bool, required: bool, audited: bool, visibility: int) -> None:
        self.stage = Surroundings("auditor")
        self.sqs = Sqs(clock, log)
        self.clock = clock
        self.visibility = visibility
        self.added: list[tuple[float, Reported, str]] = []
        self._audited = audited
        loop, sender = asyncio.get_running_loop(), self.stage.board.slots("sender")[0]
        self.outbox = Outbox(loop, self.stage.acks, sender, lambda: None, fifo=fifo, visibility=visibility)
        client = cast("SqsClient", self.sqs)
        options = AuditorOptions(visibility, fifo, required)
        auditor = Auditor(self.stage.life, self.stage.acks, log if audited else None, (client, client), options)
        self.role = self.stage.run(auditor)

    def report(self, reported: Reported, line: bytes = b"") -> None:
        message = message_of(len(self.added), reported, self.visibility, self.clock.now)
        self.added.append((self.clock.now, reported, message.receipt))
        record = f"{message.receipt}\n".encode() if reported.kind in (DELIVERED, REJECTED) and self._audited else line
        letter = LETTER if reported.kind == REJECTED else b""
        self.outbox.add(reported.kind, message, message.lease, 0.0, record, letter)

    async def drain(self) -> float:
        """Drain as the program does; return the seconds that it took."""
        began = self.clock.now
        self.outbox.stop_gathering()
        self.stage.acks.keep(reading=True, writing=False)
        self.stage.drain_all()
        await ended(self.role)
        return self.clock.now - began


@settings(max_examples=examples(100))
@given(
    reports=st.lists(REPORTED, min_size=1, max_size=60),
    fifo=st.booleans(),
    required=st.booleans(),
    audited=st.sampled_from([True, True, False]),
    visibility=VISIBILITY,
    write_seconds=st.sampled_from([0.0, 0.003, 0.03]),
    failures=st.lists(st.sampled_from(["whole", "part", ""]), max_size=3),
)
def test_whatever_gathers_each_record_is_durable_before_its_delete_and_a_group_keeps_its_order(
    reports: list[Reported],
    fifo: bool,
    required: bool,
    audited: bool,
    visibility: int,
    write_seconds: float,
    failures: list[str],
) -> None:
    failed = [*failures] if required and audited else []

    async def scenario(clock: Clock) -> None:
        log = Log(clock, failed)
        with (
            patch.object(auditor_module, "LogThread", LogOnTheClock),
            patch.object(LogOnTheClock, "seconds", write_seconds),
        ):
            chain = Chain(clock, log, fifo=fifo, required=required, audited=audited, visibility=visibility)
        with patch.object(LogOnTheClock, "seconds", write_seconds):
            for reported in reports:
                if reported.gap:
                    await asyncio.sleep(reported.gap)
                chain.report(reported)
            # Most of it is still on its way.
            assert await chain.drain() <= 2 * write_seconds + 3.0 * len(failed) + 10 * CALL_SECONDS + 0.1
        sqs = chain.sqs
        final = {name: each for _, each, name in chain.added if each.kind in (DELIVERED, REJECTED)}
        assert set(sqs.deleted) == set(final)
        if audited:
            assert not sqs.not_durable
        if fifo:
            for group in "abc":
                names = [name for name, each in final.items() if each.group == group]
                assert [name for name in sqs.deleted if name[0] == group] == names

    run(scenario)


@settings(max_examples=examples(50))
@given(reports=st.lists(REPORTED, min_size=1, max_size=60), fifo=st.booleans(), visibility=VISIBILITY)
def test_gathering_delays_no_change_and_no_delete_beyond_its_sum(
    reports: list[Reported], fifo: bool, visibility: int
) -> None:
    async def scenario(clock: Clock) -> None:
        with patch.object(auditor_module, "LogThread", LogOnTheClock):
            chain = Chain(clock, Log(clock), fifo=fifo, required=True, audited=True, visibility=visibility)
        for reported in reports:
            if reported.gap:
                await asyncio.sleep(reported.gap)
            chain.report(reported)
        await asyncio.sleep(1.0)
        for at, reported, name in chain.added:
            if reported.kind in (RETRY, RELEASE):
                assert chain.sqs.changed[name] - at <= (0.0 if fifo else SOON_SECONDS) + 0.005 + ROUNDING
            elif reported.kind == DELIVERED and not fifo:
                most = OUTBOX_SECONDS + IDLE_GATHER_SECONDS + LINGER_SECONDS
                if reported.gone > 0.2:
                    # It may wait for the call that extends its lease, and then for another batch.
                    most += CALL_SECONDS + LINGER_SECONDS
                assert chain.sqs.deleted[name] - at <= most + ROUNDING
        await chain.drain()

    run(scenario)


@pytest.mark.parametrize(("fifo", "gone", "least"), [(False, 0.0, 4.0), (True, 0.0, 1.0), (False, 0.3, 1.0)])
def test_a_steady_trickle_shares_its_syncs_unless_somebody_waits(fifo: bool, gone: float, least: float) -> None:
    async def scenario(clock: Clock) -> None:
        log = Log(clock)
        with patch.object(auditor_module, "LogThread", LogOnTheClock):
            chain = Chain(clock, log, fifo=fifo, required=True, audited=True, visibility=30)
        for _ in range(200):
            await asyncio.sleep(0.0101)
            chain.report(Reported(0.0, DELIVERED, gone, "a"))
        await chain.drain()
        share = 200 / len(log.commits)
        assert share >= least
        assert least > 1.0 or share <= 2.0

    run(scenario)


def test_lease_shares_are_those_of_the_lease_and_not_of_the_timeout() -> None:
    for visibility in (1, 2, 30, 43_200):
        assert math.isclose(fresh_seconds(visibility), 0.8 * (visibility - min(1.0, visibility / 10)))
