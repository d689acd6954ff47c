"""The auditor's look at how much the queues hold: when it asks, what it writes, and that no failure harms it."""

from __future__ import annotations

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from courier.auditor import depth_watch
from courier.auditor.depth_watch import DepthWatch, WatchedQueue
from courier.board.depths import ASK_EVERY_SECONDS, DEAD_LETTERS, FAILURE, SOURCE, read_answer
from courier.errors import SqsError
from courier.process import scoreboard
from courier.sqs.queue import QueueDepth
from tests.unit.stage import Surroundings
from tests.waiting import stays, until

DENIED = SqsError("GetQueueAttributes", "AccessDenied", "no", retriable=False, status=403)
THROTTLED = SqsError("GetQueueAttributes", "RequestThrottled", "slower", retriable=True, status=400)
GONE = SqsError("GetQueueUrl", "QueueDoesNotExist", "no", retriable=False, status=400)


class FakeQueue:
    """A queue that answers with a depth or an error, and counts how often it was asked."""

    def __init__(self, answer: QueueDepth | SqsError) -> None:
        self.answer = answer
        self.asked = 0

    async def ask(self) -> QueueDepth:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, SqsError):
            raise self.answer
        return self.answer


class Stage(Surroundings):
    """A watch of the three queues."""

    def __init__(self) -> None:
        super().__init__("auditor")
        self.source = FakeQueue(QueueDepth(3, 2, 1))
        self.dead = FakeQueue(QueueDepth(4, 0, 1))
        self.failure = FakeQueue(QueueDepth(0, 0, 6))
        self.watch = DepthWatch(
            self.life,
            [
                WatchedQueue(SOURCE, "orders", self.source.ask),
                WatchedQueue(DEAD_LETTERS, "orders-dead", self.dead.ask),
                WatchedQueue(FAILURE, "orders-failed", self.failure.ask),
            ],
        )
        self.task = self.life.start(self.watch.run())

    def shown(self, queue: int) -> tuple[list[int], str]:
        answer = read_answer(self.board, queue, time.monotonic())
        return list(answer.numbers), answer.problem


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth_watch, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(depth_watch, "ASK_EVERY_SECONDS", 0.02)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth_watch, "FIRST_SECONDS", 0.0)


@pytest.mark.usefixtures("at_once")
async def test_all_queues_are_asked_once_and_then_not_for_half_a_minute() -> None:
    stage = Stage()
    await until(lambda: stage.shown(FAILURE)[0] == [6])
    assert stage.shown(SOURCE) == ([3, 2, 1], "")
    assert stage.shown(DEAD_LETTERS) == ([5], "")
    await stays(lambda: (stage.source.asked, stage.dead.asked, stage.failure.asked) == (1, 1, 1))
    assert ASK_EVERY_SECONDS == 30.0


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("age", [0.0, 5.0, -500.0])
async def test_a_successor_waits_for_the_rest_of_the_period(age: float) -> None:
    stage = Stage()
    stage.slot.reals[scoreboard.DEPTHS_ASKED_AT] = time.monotonic() - age
    await stays(lambda: stage.source.asked == 0)


@pytest.mark.usefixtures("often")
async def test_what_cannot_be_asked_is_shown_with_advice_logged_once_and_harms_no_other_queue() -> None:
    with capture_logs() as logs:
        stage = Stage()
        stage.dead.answer = GONE
        stage.failure.answer = DENIED
        await until(lambda: stage.source.asked > 3)
        # A denied call may raise an alarm, and only a person changes what it says.
        assert (stage.dead.asked, stage.failure.asked) == (1, 1)
        assert stage.shown(SOURCE) == ([3, 2, 1], "")
        numbers, problem = stage.shown(DEAD_LETTERS)
        assert (numbers, "redrive policy" in problem) == ([], True)
        assert stage.shown(FAILURE)[1] == (
            "GetQueueAttributes failed: AccessDenied; "
            "allow the IAM action sqs:GetQueueAttributes on the queue (deploy/iam)"
        )
        assert not stage.task.done()
    assert depth_watch.REFUSED_SECONDS >= 20 * ASK_EVERY_SECONDS
    assert sorted((line["queue"], line["code"]) for line in logs) == [
        ("orders-dead", "QueueDoesNotExist"),
        ("orders-failed", "AccessDenied"),
    ]
    assert all(line["advice"] for line in logs)


@pytest.mark.usefixtures("often")
async def test_a_throttled_call_is_made_again_and_its_problem_is_gone_once_sqs_answers() -> None:
    stage = Stage()
    stage.source.answer = THROTTLED
    await until(lambda: stage.shown(SOURCE)[1])
    stage.source.answer = QueueDepth(9, 0, 0)
    await until(lambda: stage.shown(SOURCE) == ([9, 0, 0], ""))


@pytest.mark.usefixtures("often")
async def test_a_permission_that_is_given_later_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth_watch, "REFUSED_SECONDS", 0.05)
    stage = Stage()
    stage.dead.answer = DENIED
    await until(lambda: stage.dead.asked > 1)
    stage.dead.answer = QueueDepth(7, 0, 0)
    await until(lambda: stage.shown(DEAD_LETTERS) == ([7], ""))


@pytest.mark.usefixtures("often")
async def test_the_last_answer_stays_while_a_later_one_fails() -> None:
    stage = Stage()
    await until(lambda: stage.shown(SOURCE)[0] == [3, 2, 1])
    stage.source.answer = DENIED
    await until(lambda: stage.shown(SOURCE)[1])
    assert stage.shown(SOURCE)[0] == [3, 2, 1]


@pytest.mark.usefixtures("often")
async def test_nothing_is_asked_during_a_drain() -> None:
    stage = Stage()
    await until(lambda: stage.source.asked > 1)
    stage.life.drain()
    await until(stage.task.done)
    asked = stage.source.asked
    await stays(lambda: stage.source.asked == asked)
