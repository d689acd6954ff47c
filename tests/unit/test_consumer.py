from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier import breaker
from courier.audit.committer import FAILING, LOSING
from courier.consumer import (
    AUDITOR_SILENCE_SECONDS,
    HELD_BYTES_CAP,
    HELD_CAP,
    PATIENCE_SECONDS,
    Consumer,
    Intake,
    RateMeter,
    packets,
    room,
    split_room,
)
from courier.errors import SqsError
from courier.message import RELEASE, Message, unpack_messages
from courier.process import scoreboard
from courier.sqs.received import Received
from tests.unit.stage import Surroundings, empty, ended, fill, message, of_kind, run, stays, until

if TYPE_CHECKING:
    from courier.sqs.client import SqsClient


def test_an_idle_program_has_room_for_every_slot() -> None:
    assert room(slots=64, busy=0, rate=0.0, visibility=30, queued=0) == 64


def test_what_is_queued_takes_its_room() -> None:
    assert room(slots=64, busy=64, rate=1000.0, visibility=30, queued=60) == 4


def test_a_slow_receiver_gets_only_what_it_takes_in_a_quarter_of_the_visibility_timeout() -> None:
    assert room(slots=64, busy=64, rate=1.0, visibility=30, queued=0) == 7
    assert room(slots=64, busy=64, rate=0.1, visibility=30, queued=0) == 0


def test_a_free_slot_may_be_filled_however_slow_the_receiver() -> None:
    assert room(slots=1, busy=0, rate=0.001, visibility=3, queued=0) == 1
    assert room(slots=1, busy=1, rate=0.001, visibility=3, queued=0) == 0


@given(
    slots=st.integers(1, 1000),
    busy=st.integers(0, 1000),
    rate=st.floats(0, 1e6),
    visibility=st.integers(1, 43_200),
    queued=st.integers(0, 2000),
)
def test_room_and_queue_never_pass_the_slots(slots: int, busy: int, rate: float, visibility: int, queued: int) -> None:
    space = room(slots, min(busy, slots), rate, visibility, queued)
    assert space <= 0 or space + queued <= slots


@given(asks=st.lists(st.integers(0, 10), min_size=1, max_size=16), space=st.integers(0, 100))
def test_asks_made_at_the_same_instant_share_the_room_without_passing_it(asks: list[int], space: int) -> None:
    granted = [split_room(index, asks, space) for index in range(len(asks))]
    assert sum(granted) <= max(space, 0)
    assert sum(granted) == min(space, sum(asks))


def test_a_standard_queue_gives_a_packet_for_each_message() -> None:
    a, b = message("a", group="tenant"), message("b", group="tenant")
    assert packets([a, b], fifo=False, rate=100.0) == [[a], [b]]


def test_at_thousands_a_second_a_packet_holds_what_is_started_within_a_millisecond() -> None:
    batch = [message(str(n)) for n in range(10)]
    assert packets(batch, fifo=False, rate=4_000.0) == [batch[:4], batch[4:8], batch[8:]]
    assert packets(batch, fifo=False, rate=40_000.0) == [batch]


def test_a_fifo_queue_gives_a_run_for_each_group_in_order() -> None:
    a1, b1, a2 = message("a1", group="a"), message("b1", group="b"), message("a2", group="a")
    assert packets([a1, b1, a2], fifo=True, rate=40_000.0) == [[a1, a2], [b1]]


def test_the_rate_is_measured_over_the_last_seconds_only() -> None:
    meter = RateMeter(0.0, 0)
    for tick in range(1, 101):
        rate = meter.rate(tick * 0.1, tick * 10)
    assert round(rate) == 100
    for tick in range(101, 201):
        rate = meter.rate(tick * 0.1, 1000)
    assert rate == 0


class FakeSqs:
    """Answers each receive as the test scripts it: a batch, an error, or never; keeps what was asked for."""

    def __init__(self) -> None:
        self.script: list[list[Message] | SqsError] = []
        self.asked: list[int] = []
        self.waits: list[int] = []
        self.attempts: list[str | None] = []
        self.at: list[float] = []
        self.cancelled = 0
        self.closed = False

    async def receive(self, count: int, wait: int, visibility: int, *, attempt_id: str | None = None) -> Received:
        self.asked.append(count)
        self.waits.append(wait)
        self.attempts.append(attempt_id)
        self.at.append(time.monotonic())
        try:
            while not self.script:
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        answer = self.script.pop(0)
        if isinstance(answer, SqsError):
            raise answer
        return Received(answer, 0)

    def close(self) -> None:
        self.closed = True


class Stage(Surroundings):
    """A consumer that runs, between an SQS in the test's hand and the slots of one sender and an auditor."""

    def __init__(self, *, slots: int = 16, busy: int = 0, **intake: Any) -> None:
        super().__init__("consumer")
        self.sender = self.board.slots("sender")[0]
        self.auditor = self.board.slots("auditor")[0]
        for slot in (self.sender, self.auditor):
            slot.words[scoreboard.STATE] = scoreboard.READY
        self.sender.words[scoreboard.LIMIT] = slots
        self.sender.words[scoreboard.IN_FLIGHT] = busy
        self.beat()
        given = {"concurrency": 16, "batch_size": 10, "wait_time": 20, "poll_interval": 0.0, "visibility": 30}
        settings = Intake(**({**given, "fifo": False} | intake))
        self.sqs = FakeSqs()
        self.started = time.monotonic()
        consumer = Consumer(self.life, self.work, self.acks, cast("SqsClient", self.sqs), settings)
        self.role = asyncio.get_running_loop().create_task(consumer.run())

    def beat(self, ago: float = 0.0) -> None:
        self.auditor.reals[scoreboard.BEAT] = time.monotonic() - ago

    async def asks(self, count: int) -> None:
        await until(lambda: len(self.sqs.asked) >= count, explain=lambda: self.sqs.asked)


def test_room_for_a_batch_is_asked_for_and_claimed_on_the_board_and_the_batch_is_put_into_the_channel() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.asks(1)
        assert stage.sqs.asked == [10]
        assert stage.word(scoreboard.ASKED) == 10
        stage.sqs.script.append([message("a"), message("b")])
        await until(lambda: stage.word(scoreboard.PUT) == 2)
        received = stage.work.receive()
        assert received is not None
        assert [m.message_id for m in unpack_messages(*received)] == ["a"]

    run(scenario)


def test_few_free_slots_are_used_after_a_moment_rather_than_never() -> None:
    async def scenario() -> None:
        stage = Stage(slots=16, busy=13)
        await stage.asks(1)
        assert stage.sqs.asked == [3]
        assert stage.sqs.at[0] - stage.started >= PATIENCE_SECONDS

    run(scenario)


def test_a_sender_that_leaves_with_long_deliveries_takes_no_room_from_those_that_stay() -> None:
    async def scenario() -> None:
        stage = Stage(slots=16, busy=16)
        leaving = stage.board.slots("sender")[1]
        leaving.words[scoreboard.IN_FLIGHT] = 16
        leaving.words[scoreboard.STATE] = scoreboard.DRAINING
        await stays(lambda: not stage.sqs.asked, 0.1)
        stage.sender.words[scoreboard.IN_FLIGHT] = 0
        await stage.asks(1)
        assert stage.sqs.asked == [10]

    run(scenario)


def test_intake_pauses_while_the_auditor_shows_no_beat() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.beat(ago=AUDITOR_SILENCE_SECONDS)
        await stays(lambda: not stage.sqs.asked)
        stage.beat()
        await stage.asks(1)

    run(scenario)


@pytest.mark.parametrize(
    ("word", "too_much"), [(scoreboard.HELD, HELD_CAP + 1), (scoreboard.HELD_BYTES, HELD_BYTES_CAP + 1)]
)
def test_intake_pauses_while_the_auditor_holds_too_much(word: int, too_much: int) -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.auditor.words[word] = too_much
        await stays(lambda: not stage.sqs.asked, 0.15)
        stage.auditor.words[word] = 0
        await stage.asks(1)

    run(scenario)


def test_intake_pauses_while_the_audit_log_fails_and_goes_on_where_it_loses_records_by_policy() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.auditor.words[scoreboard.AUDIT_FAILING] = FAILING
        await stays(lambda: not stage.sqs.asked)
        stage.auditor.words[scoreboard.AUDIT_FAILING] = LOSING
        await stage.asks(1)

    run(scenario)


def test_what_cannot_be_put_into_a_full_channel_is_released_at_a_drain() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.asks(1)
        fill(stage.work)
        stage.sqs.script.append([message("a"), message("b"), message("c")])
        await until(lambda: stage.word(scoreboard.RECEIVED) == 3)
        assert not stage.outcomes()
        stage.drain_all()
        await ended(stage.role)
        assert stage.outcomes() == of_kind(RELEASE, ["a", "b", "c"])
        assert (stage.word(scoreboard.PUT), stage.word(scoreboard.RELEASED)) == (0, 3)
        assert stage.word(scoreboard.ASKED) == 0
        assert stage.sqs.closed

    run(scenario)


def test_what_waits_for_a_full_channel_is_put_when_there_is_room() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.asks(1)
        fill(stage.work)
        stage.sqs.script.append([message("a"), message("b")])
        await until(lambda: stage.word(scoreboard.RECEIVED) == 2)
        empty(stage.work)
        await until(lambda: stage.word(scoreboard.PUT) == 2)
        assert not stage.outcomes()

    run(scenario)


def test_an_open_poll_that_answers_within_its_grace_is_released_and_one_that_does_not_is_cut() -> None:
    async def scenario(answers: bool) -> None:
        stage = Stage()
        await stage.asks(1)
        stage.drain_all(1.5)
        await stays(lambda: not stage.role.done(), 0.1)
        if answers:
            stage.sqs.script.append([message("a")])
        await ended(stage.role)
        assert stage.outcomes() == (of_kind(RELEASE, ["a"]) if answers else [])
        assert stage.sqs.cancelled == (0 if answers else 1)
        assert stage.word(scoreboard.ASKED) == 0

    run(lambda: scenario(answers=True))
    run(lambda: scenario(answers=False))


def test_a_failed_receive_is_told_once_and_the_next_polls_are_short_until_one_succeeds() -> None:
    async def scenario() -> None:
        stage = Stage()
        with capture_logs() as logs:
            stage.sqs.script += [SqsError("ReceiveMessage", "InternalFailure", "", retriable=True)] * 2
            await stage.asks(3)
            stage.sqs.script.append([])
            await stage.asks(4)
        assert stage.sqs.waits == [20, 1, 1, 20]
        events = [line["event"] for line in logs]
        assert events == ["cannot receive, trying again", "receiving again"]

    run(scenario)


def test_on_a_fifo_queue_a_receive_without_an_answer_is_asked_for_again_under_the_same_attempt_id() -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True)
        stage.sqs.script.append(SqsError("ReceiveMessage", "network", "", retriable=True))
        stage.sqs.script.append(SqsError("ReceiveMessage", "InternalFailure", "", retriable=True))
        await stage.asks(3)
        lost, again, after_an_answer = stage.sqs.attempts
        assert lost
        assert lost == again
        assert again != after_an_answer

    run(scenario)


def test_an_open_breaker_stops_intake_and_a_half_open_one_lets_a_single_message_in() -> None:
    async def scenario() -> None:
        stage = Stage(slots=0)
        stage.sender.words[scoreboard.BREAKER] = breaker.OPEN
        await stays(lambda: not stage.sqs.asked, 0.2)
        stage.sender.words[scoreboard.BREAKER] = breaker.HALF_OPEN
        stage.sender.reals[scoreboard.PROBE_WANTED] = time.monotonic()
        stage.life.ready()
        await stage.asks(1)
        assert stage.sqs.asked == [1]
        stage.sqs.script.append([message("probe")])
        await until(lambda: stage.word(scoreboard.PUT) == 1)
        await stays(lambda: len(stage.sqs.asked) == 1, 0.2)

    run(scenario)
