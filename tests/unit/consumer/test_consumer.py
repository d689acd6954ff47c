from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from courier.audit.recorded_ids import RecordedIds, pack_ids
from courier.board import archive
from courier.board.audit_states import FAILING, LOSING
from courier.consumer.backlog import HELD_BYTES_CAP, HELD_CAP
from courier.consumer.consumer import Consumer, ConsumerOptions
from courier.consumer.handover import packets
from courier.consumer.intake import PATIENCE_SECONDS
from courier.consumer.pace import MOST_RECEIVES
from courier.errors import SqsError
from courier.message import DUPLICATE, RELEASE, RETRY, Handle, Message, pack_messages, unpack_messages
from courier.process import scoreboard
from courier.process.standby import HAS_ROOM
from courier.sqs.received import Received
from tests.unit.stage import Outcome, Surroundings, boottime, empty, ended, fill, message, of_kind, run
from tests.waiting import stays, until


def test_a_standard_queue_gives_packets_of_so_many_messages_whatever_their_groups() -> None:
    a, b, c = (message(name, group="tenant") for name in "abc")
    assert packets([a, b, c], fifo=False, bundle=1) == [[a], [b], [c]]
    assert packets([a, b, c], fifo=False, bundle=2) == [[a, b], [c]]


def test_a_fifo_queue_gives_a_run_for_each_group_in_order() -> None:
    a1, b1, a2 = message("a1", group="a"), message("b1", group="b"), message("a2", group="a")
    assert packets([a1, b1, a2], fifo=True, bundle=10) == [[a1, a2], [b1]]


FULL = None
"""An answer with as many messages as were asked for."""


class FakeSqs:
    """Answers each receive as the test scripts it: a batch, an error, or never; keeps what was asked for.

    The receives whose numbers are ``dead`` get no answer, whatever the script has.
    """

    def __init__(self) -> None:
        self.script: list[list[Message] | SqsError | None] = []
        self.dead: set[int] = set()
        self.hidden: list[tuple[Handle, float]] = []
        self.asked: list[int] = []
        self.waits: list[int] = []
        self.attempts: list[str | None] = []
        self.at: list[float] = []
        self.answered = 0
        self.cancelled = 0
        self.closed = False

    async def receive(self, count: int, wait: int, visibility: int, *, attempt_id: str | None = None) -> Received:
        number = len(self.asked)
        self.asked.append(count)
        self.waits.append(wait)
        self.attempts.append(attempt_id)
        self.at.append(time.monotonic())
        try:
            while not self.script or number in self.dead:
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        answer = self.script.pop(0)
        self.answered += 1
        if isinstance(answer, SqsError):
            raise answer
        return Received([message(str(n)) for n in range(count)] if answer is FULL else answer, 0, self.hidden)

    def close(self) -> None:
        self.closed = True


class Stage(Surroundings):
    """A consumer that runs, between an SQS in the test's hand and the slots of one sender and an auditor."""

    def __init__(self, *, slots: int = 16, busy: int = 0, recorded: RecordedIds | None = None, **intake: Any) -> None:
        super().__init__("consumer")
        self.sender = self.board.slots("sender")[0]
        self.auditor = self.board.slots("auditor")[0]
        for slot in (self.sender, self.auditor):
            slot.words[scoreboard.STATE] = scoreboard.READY
        self.sender.words[scoreboard.LIMIT] = slots
        self.sender.words[scoreboard.DUTY] = HAS_ROOM
        self.sender.reals[scoreboard.CLOSED_AT] = 1.0
        self.sender.words[scoreboard.IN_FLIGHT] = busy
        self.sender.reals[scoreboard.SLOT_SECONDS] = 0.001
        # For the whole of a test, and whoever takes the part of another worker in it.
        for role in ("consumer", "sender", "auditor"):
            for slot in self.board.slots(role):
                slot.reals[scoreboard.BEAT] = time.monotonic() + 3600.0
        given = {"batch_size": 10, "wait_time": 20, "poll_interval": 0.0, "visibility": 30}
        settings = ConsumerOptions(**({**given, "fifo": False} | intake))
        self.sqs = FakeSqs()
        self.started = time.monotonic()
        consumer = Consumer(self.life, self.work, self.acks, self.sqs, settings, recorded=recorded)
        self.role = self.run(consumer)

    def beat(self, ago: float = 0.0) -> None:
        self.auditor.reals[scoreboard.BEAT] = time.monotonic() - ago

    async def asks(self, count: int) -> None:
        await until(lambda: len(self.sqs.asked) >= count, explain=lambda: self.sqs.asked)


async def test_room_for_a_batch_is_asked_for_and_claimed_on_the_board_and_the_batch_is_put_into_the_channel() -> None:
    stage = Stage()
    await stage.asks(1)
    assert stage.sqs.asked == [10]
    assert stage.word(scoreboard.ASKED) == 10
    stage.sqs.script.append([message("a"), message("b")])
    await until(lambda: stage.word(scoreboard.PUT) == 2)
    received = stage.work.receive()
    assert received is not None
    assert [m.message_id for m in unpack_messages(*received)] == ["a", "b"]


async def test_few_free_slots_are_used_after_a_moment_rather_than_never() -> None:
    stage = Stage(slots=16, busy=13)
    await stage.asks(1)
    assert stage.sqs.asked == [3]
    assert stage.sqs.at[0] - stage.started >= PATIENCE_SECONDS


async def test_a_sender_that_leaves_with_long_deliveries_takes_no_room_from_those_that_stay() -> None:
    stage = Stage(slots=16, busy=16)
    leaving = stage.board.slots("sender")[1]
    leaving.words[scoreboard.IN_FLIGHT] = 16
    leaving.words[scoreboard.STATE] = scoreboard.DRAINING
    await stays(lambda: not stage.sqs.asked, 0.1)
    stage.sender.words[scoreboard.IN_FLIGHT] = 0
    await stage.asks(1)
    assert stage.sqs.asked == [10]


async def test_intake_pauses_while_the_auditor_shows_no_beat() -> None:
    stage = Stage()
    stage.beat(ago=scoreboard.SILENT_SECONDS)
    await stays(lambda: not stage.sqs.asked)
    stage.beat()
    await stage.asks(1)


@pytest.mark.parametrize(
    ("word", "too_much"), [(scoreboard.HELD, HELD_CAP + 1), (scoreboard.HELD_BYTES, HELD_BYTES_CAP + 1)]
)
async def test_intake_pauses_while_the_auditor_holds_too_much(word: int, too_much: int) -> None:
    stage = Stage()
    stage.auditor.words[word] = too_much
    await stays(lambda: not stage.sqs.asked, 0.15)
    stage.auditor.words[word] = 0
    await stage.asks(1)


async def test_intake_pauses_while_the_audit_log_fails_and_goes_on_where_it_loses_records_by_policy() -> None:
    stage = Stage()
    stage.auditor.words[scoreboard.AUDIT_FAILING] = FAILING
    await stays(lambda: not stage.sqs.asked)
    stage.auditor.words[scoreboard.AUDIT_FAILING] = LOSING
    await stage.asks(1)


async def test_intake_pauses_while_files_that_wait_for_the_archive_fill_the_disk_and_not_while_it_only_fails() -> None:
    stage = Stage()
    stage.auditor.words[scoreboard.ARCHIVE_STATE] = archive.FULL
    await stays(lambda: not stage.sqs.asked)
    stage.auditor.words[scoreboard.ARCHIVE_STATE] = archive.BEHIND
    await stage.asks(1)


async def test_what_cannot_be_put_into_a_full_channel_is_released_at_a_drain() -> None:
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


async def test_what_waits_for_a_full_channel_is_put_when_there_is_room() -> None:
    stage = Stage()
    await stage.asks(1)
    fill(stage.work)
    stage.sqs.script.append([message("a"), message("b")])
    await until(lambda: stage.word(scoreboard.RECEIVED) == 2)
    empty(stage.work)
    await until(lambda: stage.word(scoreboard.PUT) == 2)
    assert not stage.outcomes()


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


async def test_what_a_poll_brings_at_a_drain_is_given_back_when_no_consumer_polls_any_more() -> None:
    stage = Stage()
    other = stage.board.slots("consumer")[1]
    other.words[scoreboard.STATE] = scoreboard.READY
    other.words[scoreboard.ASKED] = 10
    await stage.asks(1)
    stage.drain_all()
    await until(stage.life.draining.is_set)
    stage.sqs.script.append([message("a")])
    await until(lambda: stage.word(scoreboard.RECEIVED) == 1)
    # The other's poll would receive it, and give it back, again and again.
    await stays(lambda: not stage.outcomes())
    other.words[scoreboard.ASKED] = 0
    await ended(stage.role)
    assert stage.outcomes() == of_kind(RELEASE, ["a"])


async def test_a_failed_receive_is_told_once_and_the_next_polls_are_short_until_one_succeeds() -> None:
    stage = Stage()
    with capture_logs() as logs:
        stage.sqs.script += [SqsError("ReceiveMessage", "InternalFailure", "", retriable=True)] * 2
        await stage.asks(3)
        stage.sqs.script.append([])
        await stage.asks(4)
    assert stage.sqs.waits == [20, 0, 0, 20]
    events = [line["event"] for line in logs]
    assert events == ["cannot receive, trying again", "receiving again"]


async def test_receives_that_go_on_failing_are_told_again_with_their_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courier.log.outage.EVERY_SECONDS", 0.0)

    stage = Stage()
    stage.sqs.script.append([])
    await stage.asks(2)
    with capture_logs() as logs:
        stage.sqs.script += [SqsError("ReceiveMessage", "AccessDenied", "", retriable=False)] * 2
        await stage.asks(4)
        # Where several consumers fail, the first one speaks for all.
        stage.life.slot.reals[scoreboard.BEAT] = 0.0
        stage.sqs.script += [SqsError("ReceiveMessage", "AccessDenied", "", retriable=False)]
        await stage.asks(5)
    assert [line["failures"] for line in logs] == [1, 2]
    assert {line["last_worked"][:2] for line in logs} == {"20"}
    assert all("sqs:ReceiveMessage" in line["advice"] for line in logs)


async def test_on_a_fifo_queue_a_receive_without_an_answer_is_asked_for_again_under_the_same_attempt_id() -> None:
    stage = Stage(fifo=True)
    stage.sqs.script.append(SqsError("ReceiveMessage", "network", "", retriable=True))
    stage.sqs.script.append(SqsError("ReceiveMessage", "InternalFailure", "", retriable=True))
    stage.sqs.script.append(SqsError("ReceiveMessage", "AccessDenied", "", retriable=False))
    await stage.asks(4)
    lost, again, once_more, after_a_refusal = stage.sqs.attempts
    assert lost
    assert lost == again == once_more
    assert after_a_refusal != lost


async def test_an_open_breaker_stops_intake_and_a_half_open_one_lets_a_single_message_in() -> None:
    stage = Stage(slots=0)
    await stays(lambda: not stage.sqs.asked, 0.2)
    stage.sender.reals[scoreboard.PROBE_WANTED] = time.monotonic()
    stage.life.ready()
    await stage.asks(1)
    assert stage.sqs.asked == [1]
    stage.sqs.script.append([message("probe")])
    await until(lambda: stage.word(scoreboard.PUT) == 1)
    await stays(lambda: len(stage.sqs.asked) == 1, 0.2)


async def test_receives_that_come_back_full_are_joined_by_more_and_an_empty_one_leaves_a_single_long_poll() -> None:
    stage = Stage(slots=64)
    await stage.asks(1)
    assert stage.word(scoreboard.ASKED) == 10
    for count in (2, 3, 4):
        stage.sqs.script.append(FULL)
        await until(lambda count=count: len(stage.sqs.asked) - stage.sqs.answered == count)  # type: ignore[misc]
        assert stage.word(scoreboard.ASKED) == 10 * count
        empty(stage.work)
        stage.sender.words[scoreboard.TAKEN] = stage.word(scoreboard.PUT)
    # All find out soon that the queue is empty, and that a connection is dead, as long as messages come.
    assert stage.sqs.waits == [20, *[1] * 6], stage.sqs.waits
    stage.sqs.script += [[]] * 4
    await until(lambda: len(stage.sqs.asked) - stage.sqs.answered == 1)
    await stays(lambda: len(stage.sqs.asked) - stage.sqs.answered == 1)
    assert stage.sqs.waits[-1] == 2
    assert stage.word(scoreboard.ASKED) == 10


def test_never_are_more_receives_under_way_than_there_is_room_for_nor_than_the_most() -> None:
    async def scenario(slots: int, most: int) -> None:
        stage = Stage(slots=slots)
        for _ in range(60):
            stage.sqs.script.append(FULL)
            await until(lambda: not stage.sqs.script)
            empty(stage.work)
            assert stage.word(scoreboard.ASKED) <= slots
            assert len(stage.sqs.asked) - stage.sqs.answered <= most
        await until(lambda: len(stage.sqs.asked) - stage.sqs.answered == most)

    run(lambda: scenario(slots=40, most=4))
    run(lambda: scenario(slots=100_000, most=MOST_RECEIVES))


async def asks_beating(stage: Stage, count: int) -> None:
    """Let the consumer beat until it has made so many receives."""
    while len(stage.sqs.asked) < count:
        assert time.monotonic() - stage.started < 30.0
        stage.life.beat()
        await asyncio.sleep(0.02)


async def test_once_sqs_answers_again_receives_are_as_many_and_as_long_as_before_beside_one_without_an_answer() -> None:
    stage = Stage(slots=64, wait_time=1)
    stage.sqs.dead.add(0)
    await asks_beating(stage, 2)
    stage.sqs.script.append(FULL)
    await stage.asks(4)
    assert stage.sqs.waits == [1, 0, 1, 1]


async def test_a_receive_on_a_dead_connection_holds_up_no_other() -> None:
    stage = Stage(slots=10, wait_time=0)
    await stage.asks(1)
    # All the room was asked for by the one that gets no answer; it is there again for the next.
    await asks_beating(stage, 2)
    assert stage.sqs.asked == [10, 10]
    assert stage.word(scoreboard.ASKED) == 10
    # A late answer still counts. The receives that follow get none.
    stage.sqs.dead = {2, 3}
    stage.sqs.script += [[message("a")], [message("b")]]
    await until(lambda: stage.word(scoreboard.PUT) == 2)
    await until(lambda: stage.word(scoreboard.ASKED) == sum(stage.sqs.asked[2:]))


async def test_with_a_poll_interval_one_receive_follows_another() -> None:
    stage = Stage(slots=64, poll_interval=0.05)
    for count in (1, 2, 3):
        await stage.asks(count)
        await stays(lambda count=count: len(stage.sqs.asked) == count, 0.1)  # type: ignore[misc]
        stage.sqs.script.append([message(str(n)) for n in range(10)])
    assert stage.sqs.at[2] - stage.sqs.at[1] >= 0.05


async def test_receives_that_fail_together_are_one_failure_and_each_of_a_fifo_queue_is_asked_for_again() -> None:
    stage = Stage(slots=64, fifo=True)
    await stage.asks(1)
    stage.sqs.script.append([message(str(n), group=str(n)) for n in range(10)])
    await stage.asks(3)
    lost = set(stage.sqs.attempts[1:3])
    assert len(lost) == 2
    with capture_logs() as logs:
        stage.sqs.script += [SqsError("ReceiveMessage", "network", "", retriable=True)] * 2
        await stage.asks(4)
        stage.sqs.script.append([message("a", group="a")] * 10)
        await until(lambda: lost <= set(stage.sqs.attempts[3:]), explain=lambda: stage.sqs.attempts)
    told = [(line["event"], line.get("failures")) for line in logs]
    assert told == [("cannot receive, trying again", 1), ("receiving again", 1)]


async def test_a_receive_that_succeeds_after_a_later_one_failed_ends_no_back_off() -> None:
    stage = Stage(slots=64)
    await stage.asks(1)
    stage.sqs.script.append(FULL)
    await stage.asks(3)
    with capture_logs() as logs:
        stage.sqs.script += [SqsError("ReceiveMessage", "ThrottlingException", "", retriable=True), FULL]
        await until(lambda: stage.sqs.answered == 3)
        await stays(lambda: len(stage.sqs.asked) == 3, 0.04)
    assert [line["event"] for line in logs] == ["cannot receive, trying again"]
    await stage.asks(4)


async def test_empty_answers_that_come_at_once_are_asked_for_ever_more_rarely_and_a_message_ends_that() -> None:
    async def scenario(**intake: Any) -> None:
        stage = Stage(**intake)
        at = stage.sqs.at
        stage.sqs.script += [[]] * 7
        await stage.asks(8)
        # Counted from when each began, of which a busy machine may make one late, but not all of them.
        assert at[7] - at[0] >= sum((0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0)) - 0.5, at
        stage.sqs.script.append([message("a")])
        await stage.asks(9)
        stage.sqs.script.append([])
        answered = time.monotonic()
        await stage.asks(10)
        # Another empty answer would have been followed by a second.
        assert at[8] - at[7] < 0.9
        assert at[9] - answered < 0.9

    settings = ({"wait_time": 0}, {"wait_time": 20}, {"wait_time": 0, "poll_interval": 0.01}, {"fifo": True})

    await asyncio.gather(*(scenario(**intake) for intake in settings))


async def test_an_error_between_empty_answers_makes_them_no_more_frequent() -> None:
    stage = Stage(wait_time=0)
    failure = SqsError("ReceiveMessage", "InternalFailure", "", retriable=True)
    stage.sqs.script += [[], [], [], failure, []]
    await stage.asks(6)
    assert stage.sqs.at[5] - stage.sqs.at[4] >= 0.4 - 0.001


async def test_receives_that_come_back_empty_together_are_one_empty_answer() -> None:
    stage = Stage(slots=128, wait_time=0)
    for count in range(1, 7):
        await until(lambda count=count: len(stage.sqs.asked) - stage.sqs.answered == count)  # type: ignore[misc]
        stage.sqs.script.append(FULL)
        await until(lambda: not stage.sqs.script)
        empty(stage.work)
        stage.sender.words[scoreboard.TAKEN] = stage.word(scoreboard.PUT)
    await until(lambda: len(stage.sqs.asked) - stage.sqs.answered == 7)
    before = len(stage.sqs.asked)
    stage.sqs.script += [[]] * 7
    came = time.monotonic()
    await stage.asks(before + 1)
    # Seven, one after another, would be followed by a second.
    assert stage.sqs.at[before] - came < 0.9


async def test_a_message_that_cannot_be_packed_is_given_back_later_and_the_others_are_put(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pack(messages: Sequence[Message]) -> tuple[bytes, bytes]:
        if any(m.message_id == "bad" for m in messages):
            raise ZeroDivisionError("a bug met one message")
        return pack_messages(messages)

    monkeypatch.setattr("courier.consumer.handover.pack_messages", pack)
    stage = Stage()
    with capture_logs() as logs:
        stage.sqs.script.append([message("a"), message("bad"), message("b")])
        await until(lambda: stage.word(scoreboard.PUT) == 2)
        await until(lambda: stage.outcomes() == of_kind(RETRY, ["bad"]), explain=stage.outcomes)
    put = []
    while (received := stage.work.receive()) is not None:
        put += [m.message_id for m in unpack_messages(*received)]
    assert put == ["a", "b"]
    assert stage.word(scoreboard.INTERNAL_ERRORS) == 1
    assert [line["message_id"] for line in logs if "a bug in Courier" in line["event"]] == ["bad"]
    assert stage.word(scoreboard.RELEASED) == 0
    await stage.asks(2)


async def test_a_run_that_no_channel_can_carry_is_given_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the codec never makes: a head beyond all bounds.
    monkeypatch.setattr(
        "courier.consumer.handover.pack_messages", lambda messages: (b"x" * (1 << 20), b"bulk" * 20_000)
    )
    stage = Stage(fifo=True)
    stage.sqs.script.append([message("head", group="g"), message("tail", group="g")])
    await until(
        lambda: stage.outcomes() == [*of_kind(RETRY, ["head"]), *of_kind(RELEASE, ["tail"])],
        explain=stage.outcomes,
    )
    assert not stage.role.done()


async def test_a_message_that_is_corrupt_again_is_hidden_for_longer_by_the_auditor() -> None:
    stage = Stage()
    now = boottime()
    stage.sqs.hidden = [(Handle("bad", "receipt-bad", now + 30.0, now, ""), 120.0)]
    stage.sqs.script = [[message("good")]]
    await until(lambda: stage.outcomes() == [Outcome(RETRY, "bad")])
    (settlement,) = stage.settlements
    assert (settlement.receipt, settlement.delay) == ("receipt-bad", 120.0)


def window_with(*recorded: Message) -> RecordedIds:
    window = RecordedIds.create(100)
    window.add(*pack_ids([each.message_id for each in recorded], [each[4:7] for each in recorded]))
    return window


def times(name: str, receives: int = 1, group: str = "") -> Message:
    made = message(name, group=group)
    return made._replace(receive_count=receives, sent_ms=1_764_000_000_000, first_received_ms=1_764_000_000_009)


@pytest.mark.parametrize("fifo", [False, True])
async def test_what_is_recorded_goes_to_the_auditor_and_the_rest_of_its_run_to_a_sender(fifo: bool) -> None:
    stage = Stage(fifo=fifo, recorded=window_with(times("a1"), times("a3"), times("b1")))
    a1, a2, a3, b1 = times("a1", 2, "a"), times("a2", 2, "a"), times("a3", 3, "a"), times("b1", 2, "b")
    stage.sqs.script.append([a1, a2, a3, b1])
    # What follows a message of its group that is delivered is delivered again, so that the recipient gets it last.
    duplicates, delivered = (["a1", "b1"], ["a2", "a3"]) if fifo else (["a1", "a3", "b1"], ["a2"])
    await until(lambda: len(stage.outcomes()) == len(duplicates))
    assert stage.outcomes() == of_kind(DUPLICATE, duplicates)
    await until(lambda: stage.work.unread_bytes())
    received = stage.work.receive()
    assert received is not None
    assert [each.message_id for each in unpack_messages(*received)] == delivered
    assert stage.work.receive() is None
    assert stage.word(scoreboard.RECEIVED) == 4


async def test_a_first_receive_is_delivered_whatever_is_recorded() -> None:
    stage = Stage(recorded=window_with(times("a")._replace(receive_count=0)))
    stage.sqs.script.append([times("a")])
    await until(lambda: stage.work.unread_bytes())
    assert stage.outcomes() == []


async def test_of_two_messages_with_one_receipt_only_the_recorded_one_is_not_delivered() -> None:
    stage = Stage(recorded=window_with(times("a")))
    stage.sqs.script.append([times("a", 2), times("b", 2)._replace(receipt=times("a", 2).receipt)])
    await until(lambda: stage.work.unread_bytes())
    received = stage.work.receive()
    assert received is not None
    assert [each.message_id for each in unpack_messages(*received)] == ["b"]


async def test_what_a_poll_brings_at_a_drain_is_deleted_if_it_is_recorded() -> None:
    stage = Stage(recorded=window_with(times("a")))
    await stage.asks(1)
    stage.drain_all()
    stage.sqs.script.append([times("a", 2), times("b", 2)])
    await until(lambda: len(stage.outcomes()) == 2)
    assert stage.outcomes() == [*of_kind(DUPLICATE, ["a"]), *of_kind(RELEASE, ["b"])]
