"""Steps before a POST: what they make is sent, what they refuse is settled, and whoever waits can be given up."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable

import pytest

from courier.http.answer import CANCELLED, Answer, Failure
from courier.message import DELIVERED, EXTEND, RELEASE, RETRY
from courier.process import scoreboard
from courier.recipient.breaker import BreakerOptions
from courier.recipient.content import S3_FAILS, UNDECODABLE
from courier.recipient.policy import Backoff
from courier.request.content import Content, Made
from courier.sender.prepared import Prepared
from courier.sender.rejection import FailureQueue
from tests.unit.sender.stage import Stage, delivery_head, named
from tests.unit.stage import FakeTransport, Outcome, boottime, ended, message, of_kind
from tests.waiting import until


class Waiting:
    """A step that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.done: list[Callable[[Made], None]] = []
        self.contents: list[Content] = []
        self.cancelled = 0

    def __call__(self, content: Content, done: Callable[[Made], None]) -> Waiting:
        self.contents.append(content)
        self.done.append(done)
        return self

    def cancel(self) -> None:
        self.cancelled += 1


def shouted(content: Content, _: Callable[[Made], None]) -> Made:
    message = content.message
    loud = message.body if message.body.isupper() else message.body.upper()
    return content._replace(message=message._replace(body=loud), headers=b"X-Shouted: yes\r\n")


def refused(_: Content, __: Callable[[Made], None]) -> Made:
    return Failure(UNDECODABLE, "as the test wants it", 0.0)


def broken(_: Content, __: Callable[[Made], None]) -> Made:
    raise ZeroDivisionError


async def test_what_the_steps_make_is_sent_and_what_came_is_recorded() -> None:
    waiting = Waiting()
    stage = Stage(steps=[waiting, shouted])
    stage.put(message("a", body=b"quiet"))
    await until(lambda: waiting.done)
    assert not stage.transport.posts
    waiting.done[0](waiting.contents[0])
    await stage.sends(1)
    (post,) = stage.transport.posts
    assert post.body == b"QUIET"
    assert b"X-Shouted: yes\r\n" in post.head
    assert b"Content-Length: 5\r\n" in post.head
    post.answer()
    await stage.reports(Outcome(DELIVERED, "a"))
    assert b'"quiet"' in (stage.settlements[0].record or b"")


@pytest.mark.parametrize("status", [200, 422])
@pytest.mark.parametrize("body", [b"quiet", b"LOUD"])
async def test_a_record_says_what_was_sent_where_that_is_not_what_came(body: bytes, status: int) -> None:
    stage = Stage(steps=[shouted], records_sent=True, failure_queue=FailureQueue("queue"))
    stage.put(message("a", body=body))
    await stage.sends(1)
    stage.transport.posts[0].answer(status)
    await until(lambda: [each for each in stage.outcomes() if each.kind != EXTEND])
    record = json.loads(stage.settlements[0].record or b"")
    assert record["body"] == body.decode()
    sent = {"sha256": hashlib.sha256(b"QUIET").hexdigest(), "bytes": 5}
    assert record.get("sent") == (sent if body == b"quiet" else None)


@pytest.mark.parametrize("threshold", [10, 1], ids=["kept", "outage"])
async def test_a_message_without_a_slot_holds_nothing_that_was_prepared_and_is_prepared_again(
    threshold: int,
) -> None:
    limits = {"breaker": BreakerOptions(threshold, 0.05, 0.05)}
    stage = Stage(steps=[shouted], limits=limits, backoff=Backoff(0.2, 0.2, fixed=0.2))
    stage.put(message("a", body=b"quiet"))
    await stage.sends(1)
    (packet,) = stage.sender._taking._slots.active
    assert packet.content is not None
    stage.transport.posts[0].answer(503)
    assert packet.content is None
    await stage.sends(2)
    assert stage.transport.posts[1].body == b"QUIET"
    stage.transport.posts[1].answer(200)
    await stage.reports(Outcome(DELIVERED, "a"))


async def test_a_run_goes_on_behind_a_message_that_can_not_be_sent_only_when_that_is_settled() -> None:
    stage = Stage(steps=[refused], fifo=True, visibility=1)
    stage.put(*named("a", "b", group="g"))
    await stage.reports(Outcome(RETRY, "a"), Outcome(RELEASE, "b"))
    assert not stage.transport.posts


@pytest.mark.parametrize("waits", [False, True])
async def test_a_bug_in_a_step_returns_its_message_whether_it_comes_at_once_or_later(waits: bool) -> None:
    waiting = Waiting()
    stage = Stage(steps=[waiting, broken] if waits else [broken])
    stage.put(message("a"))
    if waits:
        await until(lambda: waiting.done)
        waiting.done[0](waiting.contents[0])
    await until(lambda: stage.word(scoreboard.INTERNAL_ERRORS) == 1)
    stage.life.drain()
    await ended(stage.role)
    assert Outcome(RETRY, "a") in stage.outcomes()
    assert not stage.transport.posts


async def test_a_step_that_waits_is_given_up_at_the_end_of_a_drain_and_its_message_released() -> None:
    waiting = Waiting()
    stage = Stage(steps=[waiting])
    stage.put(*named("a"))
    await until(lambda: waiting.done)
    stage.drain_all(0.5)
    await ended(stage.role)
    assert stage.outcomes() == of_kind(RELEASE, ["a"])
    assert waiting.cancelled == 1
    waiting.done[0](waiting.contents[0])
    assert not stage.transport.posts


async def test_the_lease_of_a_message_is_kept_alive_while_a_step_waits() -> None:
    waiting = Waiting()
    stage = Stage(steps=[waiting], visibility=1)
    stage.put(message("a", lease=1.0))
    await until(lambda: waiting.done)
    over = boottime() + 1.5
    await until(lambda: boottime() > over)
    waiting.done[0](waiting.contents[0])
    await stage.sends(1)
    stage.transport.posts[0].answer()
    await until(lambda: Outcome(DELIVERED, "a") in stage.outcomes())


@pytest.mark.parametrize("fifo", [False, True])
async def test_a_message_whose_lease_ends_while_a_step_waits_is_not_sent(fifo: bool) -> None:
    """As after a suspend, or a stop of the process: somebody else may have the message, and those behind it."""
    waiting = Waiting()
    stage = Stage(steps=[waiting], fifo=fifo)
    stage.put(*named("a", "b", group="g"))
    await until(lambda: waiting.done)
    (packet, *_) = [each for each in stage.sender._taking._slots.active if each.message.message_id == "a"]
    packet.messages[0] = packet.messages[0]._replace(lease=boottime() - 1.0)
    waiting.done[0](waiting.contents[0])
    assert stage.word(scoreboard.LAPSED) == 1
    if fifo:
        await stage.reports(Outcome(RELEASE, "b"))
    stage.drain_all(0.5)
    await ended(stage.role)
    assert not stage.transport.posts
    assert "a" not in {each.message_id for each in stage.outcomes()}


async def test_a_message_that_can_not_be_fetched_has_one_turn_as_a_probe() -> None:
    """It says nothing about the recipient, which may be back, so another message is next."""
    tried: list[str] = []

    def fetch(content: Content, _: Callable[[Made], None]) -> Made:
        tried.append(content.message.message_id)
        return Failure(S3_FAILS, "as the test wants it", 0.0) if content.message.body == b"pointer" else content

    stage = Stage(steps=[fetch], limits={"breaker": BreakerOptions(1, 0.05, 0.05)})
    stage.put(message("first", body=b"bad"))
    await stage.sends(1)
    stage.transport.posts[0].answer(503)
    stage.put(*[message(name, body=b"pointer") for name in "abc"], message("good", body=b"good"))

    def good_is_sent() -> bool:
        for post in stage.transport.open():
            post.answer(200 if post.body == b"good" else 503)
        for dial in stage.transport.dials:
            dial(Answer(200, [], b"", False, True, 0.0, 0.0))
        stage.transport.dials.clear()
        return "good" in tried

    await until(good_is_sent)
    assert max(tried.count(name) for name in "abc") == 1


class Packet:
    """The part of a packet that an attempt needs."""

    def __init__(self) -> None:
        self.content: Content | None = None
        self.message = message("a")
        self.answers: list[object] = []
        self.answered = self.answers.append

    def ends_lapsed(self) -> bool:
        return False


@pytest.mark.parametrize("in_step", [False, True])
async def test_giving_up_ends_an_attempt_once_whatever_its_stage(in_step: bool) -> None:
    waiting, transport, packet = Waiting(), FakeTransport(), Packet()
    prepared = Prepared(asyncio.get_running_loop(), transport, delivery_head(), [waiting])
    attempt = prepared.send(packet)  # type: ignore[arg-type]
    if not in_step:
        waiting.done[0](waiting.contents[0])
    attempt.cancel()
    attempt.cancel()
    waiting.done[0](waiting.contents[0])
    assert packet.answers == []
    await until(lambda: packet.answers)
    await asyncio.sleep(0)
    (answer,) = packet.answers
    assert isinstance(answer, Failure)
    assert answer.reason == CANCELLED
    assert waiting.cancelled == int(in_step)


async def test_what_was_not_fetched_is_hidden_as_long_as_the_step_asks_and_never_given_up_at_the_last_receive() -> None:
    def away(_: Content, __: Callable[[Made], None]) -> Made:
        return Failure(S3_FAILS, "as the test wants it", 0.0, 77.0)

    stage = Stage(steps=[away], failure_queue=FailureQueue("queue"), max_receives=2)
    stage.put(*named("a", receives=2))
    await stage.reports(Outcome(RETRY, "a"))
    assert stage.settlements[0].delay >= 77.0
    assert not stage.transport.posts
    assert stage.word(scoreboard.FAULTS_IN_ROW) == 0
    # Other messages, and the breaker of the recipient, know nothing of it.
    assert stage.word(scoreboard.REJECTED) == 0
