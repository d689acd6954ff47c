"""Batches: which messages share a POST, and what its answer means for each of them."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import Any

import pytest

from courier.board.tally import reason_place
from courier.http.answer import NO_DESCRIPTORS, RESET
from courier.http.file_body import FileBody
from courier.http.spool import Spool
from courier.message import DELIVERED, EXTEND, RELEASE, RETRY
from courier.process import scoreboard
from courier.recipient import breaker
from courier.recipient.batch_reasons import FUNCTION_ERROR, ITEM_FAILED
from courier.recipient.content import NOT_TEXT
from courier.recipient.policy import AnswerRules, Backoff
from courier.request.content import Content, Made
from courier.request.lambda_event import EventSource
from courier.sender.batch import batch_limit
from courier.sender.options import BatchOptions
from courier.sender.parked import MOST_BYTES
from tests.unit.sender.stage import Stage, named, open_for_all
from tests.unit.stage import Outcome, boottime, ended, message, of_kind
from tests.waiting import stays, until

SOURCE = EventSource("arn:aws:sqs:local:0:orders", "local")
RULES = AnswerRules.of(range(200, 300), (), ())
FAULTS = breaker.BreakerOptions(2, 60.0, 60.0)


def batches(size: int = 10, wait: float = 0.0, posts: int = 4, **more: Any) -> dict[str, Any]:
    return {"batches": BatchOptions(size, wait, posts, SOURCE, **more), "rules": RULES, "limits": {"concurrency": 40}}


def sent(stage: Stage) -> list[list[str]]:
    """Return the bodies of each POST."""
    return [[record["body"] for record in json.loads(body)["Records"]] for body in stage.transport.bodies()]


def failures(*names: str) -> bytes:
    return json.dumps({"batchItemFailures": [{"itemIdentifier": name} for name in names]}).encode()


def left(stage: Stage) -> list[Outcome]:
    return [outcome for outcome in stage.outcomes() if outcome.kind != EXTEND]


async def gone(stage: Stage, *outcomes: Outcome) -> None:
    await until(lambda: sorted(left(stage)) == sorted(outcomes), explain=lambda: (left(stage), sent(stage)))


async def test_messages_that_are_there_together_go_in_one_post_and_each_has_its_record() -> None:
    stage = Stage(**batches())
    for name in "abc":
        stage.put(*named(name))
    await stage.sends(1)
    assert sent(stage) == [["a", "b", "c"]]
    stage.transport.posts[0].answer(200, body=failures())
    await gone(stage, *of_kind(DELIVERED, "abc"))
    records = {s.message_id: json.loads(s.record or b"") for s in stage.settlements}
    assert {name: record["message_id"] for name, record in records.items()} == {name: name for name in "abc"}
    assert stage.word(scoreboard.DELIVERED) == 3
    assert stage.word(scoreboard.BATCHES) == 1
    assert stage.word(scoreboard.IN_FLIGHT) == 0


async def test_only_the_named_messages_are_tried_again() -> None:
    stage = Stage(**batches(), backoff=Backoff(1.0, 100.0, fixed=17.0))
    stage.put(*named("a", "b", "c", lease=20.0))
    await stage.sends(1)
    stage.transport.posts[0].answer(200, body=failures("b"))
    await gone(stage, Outcome(DELIVERED, "a"), Outcome(DELIVERED, "c"), Outcome(RETRY, "b"))
    assert {s.message_id: s.delay for s in stage.settlements if s.kind == RETRY} == {"b": 17.0}


async def test_a_batch_has_at_most_so_many_messages() -> None:
    stage = Stage(**batches(size=3))
    stage.put(*named(*"abcdefgh"))
    await stage.sends(3)
    assert sent(stage) == [["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]


async def test_a_batch_has_at_most_six_megabytes_and_what_alone_has_more_is_refused() -> None:
    stage = Stage(**batches(), backoff=Backoff(1.0, 100.0, fixed=17.0))
    for name in "abc":
        stage.put(message(name, body=name.encode() * 2_500_000))
    stage.put(message("d", body=b"d" * 6_300_000))
    await stage.sends(2)
    assert [[body[0] for body in bodies] for bodies in sent(stage)] == [["a", "b"], ["c"]]
    for post in stage.transport.posts:
        post.answer(200)
    await gone(stage, *of_kind(DELIVERED, "abc"), Outcome(RETRY, "d"))


async def test_a_body_that_is_no_text_is_refused_and_the_others_go_on() -> None:
    stage = Stage(**batches(), backoff=Backoff(1.0, 100.0, fixed=17.0))
    stage.put(*named("a"), message("binary", body=b"\xff"), *named("b"))
    await stage.sends(1)
    assert sent(stage) == [["a", "b"]]
    stage.transport.posts[0].answer(200)
    await gone(stage, *of_kind(DELIVERED, "ab"), Outcome(RETRY, "binary"))
    assert stage.word(scoreboard.RETRIED_BY + _place(NOT_TEXT)) == 1


async def test_a_batch_that_isn_t_full_waits_so_long_and_a_full_one_doesn_t() -> None:
    stage = Stage(**batches(size=2, wait=0.5))
    stage.put(*named("a", "b", "c"))
    await stage.sends(1)
    assert sent(stage) == [["a", "b"]]
    began = time.monotonic()
    stage.put(*named("d"))
    await stage.sends(2)
    assert sent(stage)[1] == ["c", "d"]
    assert time.monotonic() - began < 0.5
    stage.put(*named("e"))
    await stays(lambda: len(stage.transport.posts) == 2, 0.3)
    await stage.sends(3)


async def test_no_batch_waits_when_no_other_message_can_come() -> None:
    given = batches(wait=300.0)
    given["limits"] = {"concurrency": 2}
    stage = Stage(**given)
    stage.put(*named("a", "b", "c"))
    await stage.sends(1)
    assert sent(stage) == [["a", "b"]]


async def test_messages_that_wait_for_a_post_to_end_share_the_next_one() -> None:
    stage = Stage(**batches(posts=1))
    stage.put(*named("a"))
    await stage.sends(1)
    for name in "bcd":
        stage.put(*named(name))
    await stays(lambda: len(stage.transport.posts) == 1, 0.1)
    stage.transport.posts[0].answer(200)
    await stage.sends(2)
    assert sent(stage)[1] == ["b", "c", "d"]


@pytest.mark.parametrize("status", [500, 400, 404])
async def test_a_failed_batch_is_one_failure_of_the_recipient_and_a_retry_of_each_message(status: int) -> None:
    given = batches()
    given["limits"] |= {"breaker": FAULTS}
    stage = Stage(**given, backoff=Backoff(1.0, 100.0, fixed=17.0))
    stage.put(*named(*"abcde", lease=20.0))
    await stage.sends(1)
    stage.transport.posts[0].answer(status)
    await until(lambda: stage.word(scoreboard.RETRIED) == 5)
    assert stage.word(scoreboard.FAULTS_IN_ROW) == (1 if status == 500 else 0)
    assert not stage.sender._gate.phase.is_outage


async def test_a_recipient_that_refuses_whole_batches_is_seen_as_soon_as_one_that_refuses_messages() -> None:
    given = batches()
    given["limits"] |= {"breaker": FAULTS, "reject_share": 0.5}
    stage = Stage(**given)
    for number in range(30):
        stage.put(*named(f"m{number}", lease=20.0))
    await stage.sends(3)
    for post in stage.transport.open():
        post.answer(404)
    await until(lambda: stage.sender._gate.phase.is_outage)


async def test_a_function_that_failed_is_a_failed_batch_although_the_status_is_200() -> None:
    stage = Stage(**batches(), backoff=Backoff(1.0, 100.0, fixed=17.0))
    stage.put(*named("a", "b", lease=20.0))
    await stage.sends(1)
    stage.transport.posts[0].answer(200, body=b'{"errorType": "ValueError", "errorMessage": "no"}')
    await gone(stage, *of_kind(RETRY, "ab"))
    assert stage.word(scoreboard.RETRIED_BY + _place(FUNCTION_ERROR)) == 2


def test_a_message_shares_half_as_large_a_batch_at_each_attempt_until_it_is_alone() -> None:
    assert [batch_limit(10, attempt) for attempt in (1, 2, 3, 4, 5, 100)] == [10, 5, 2, 1, 1, 1]
    assert [batch_limit(1, attempt) for attempt in (1, 2)] == [1, 1]


async def test_messages_that_failed_before_share_no_batch_with_new_ones() -> None:
    stage = Stage(**batches())
    stage.put(*named("a", "b"), *named("c", "d", receives=4), *named("e", receives=3))
    await stage.sends(4)
    assert sorted(sent(stage)) == [["a", "b"], ["c"], ["d"], ["e"]]


async def test_a_run_goes_in_one_batch_in_order_together_with_other_groups() -> None:
    stage = Stage(fifo=True, **batches(size=5))
    stage.put(*named("a1", "a2", "a3", group="a"))
    stage.put(*named("b1", "b2", group="b"))
    stage.put(*named("c1", group="c"))
    await stage.sends(2)
    assert sent(stage) == [["a1", "a2", "a3", "b1", "b2"], ["c1"]]
    stage.transport.posts[0].answer(200)
    await gone(stage, *of_kind(DELIVERED, ["a1", "a2", "a3", "b1", "b2"]))
    assert [s.message_id for s in stage.settlements if s.message_id[0] == "a"] == ["a1", "a2", "a3"]


async def test_an_attempt_from_memory_counts_as_a_receive() -> None:
    stage = Stage(fifo=True, visibility=20, **batches(), backoff=Backoff(1.0, 1.0, fixed=0.2))
    stage.put(*named("a", "b", group="g", lease=20.0, receives=1))
    for attempt in (1, 2, 3):
        await stage.sends(attempt)
        records = json.loads(stage.transport.posts[-1].body)["Records"]
        counts = {record["body"]: record["attributes"]["ApproximateReceiveCount"] for record in records}
        assert counts["a"] == str(attempt)
        assert counts.get("b", "1") == "1"
        stage.transport.posts[-1].answer(200, body=failures("a"))


async def test_a_long_run_goes_in_one_batch_after_another() -> None:
    stage = Stage(fifo=True, **batches(size=2))
    stage.put(*named(*"abcde", group="g"))
    for number in range(3):
        await stage.sends(number + 1)
        stage.transport.posts[number].answer(200)
    await gone(stage, *of_kind(DELIVERED, "abcde"))
    assert sent(stage) == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_group_stops_at_its_first_failure_and_the_others_don_t() -> None:
    stage = Stage(fifo=True, **batches(), backoff=Backoff(100.0, 100.0, fixed=100.0))
    stage.put(*named("a1", "a2", "a3", group="a", lease=20.0))
    stage.put(*named("b1", "b2", group="b", lease=20.0))
    await stage.sends(1)
    stage.transport.posts[0].answer(200, body=failures("a2"))
    await gone(
        stage,
        *of_kind(DELIVERED, ["a1", "b1", "b2"]),
        Outcome(RETRY, "a2"),
        Outcome(RELEASE, "a3"),
    )


async def test_a_failed_message_of_a_run_is_tried_again_in_place_and_those_behind_it_are_sent_again() -> None:
    stage = Stage(fifo=True, visibility=20, **batches(), backoff=Backoff(1.0, 1.0, fixed=0.2))
    stage.put(*named("a", "b", "c", group="g", lease=20.0))
    await stage.sends(1)
    stage.transport.posts[0].answer(200, body=failures("b"))
    await stage.sends(2)
    stage.transport.posts[1].answer(200)
    await gone(stage, *of_kind(DELIVERED, "abc"))
    assert sent(stage) == [["a", "b", "c"], ["b", "c"]]


async def test_a_lease_that_lapses_while_a_batch_waits_takes_only_its_message_out() -> None:
    stage = Stage(visibility=30, **batches(posts=1))
    stage.put(*named("first"))
    await stage.sends(1)
    stage.put(*named("a", "b", "c"))
    await until(lambda: len(stage.sender._slots.active) == 4)
    # As after a suspend: no sweep could extend it.
    for packet in stage.sender._slots.active:
        if packet.message.message_id == "b":
            packet.messages[0] = packet.messages[0]._replace(lease=boottime())
    stage.transport.posts[0].answer(200)
    await stage.sends(2)
    assert sent(stage)[1] == ["a", "c"]
    assert stage.word(scoreboard.LAPSED) == 1


async def test_a_drain_gives_back_what_waits_and_awaits_what_is_in_flight() -> None:
    stage = Stage(**batches(size=2, wait=300.0))
    stage.put(*named("a", "b", "c"))
    await stage.sends(1)
    stage.life.drain()
    await gone(stage, Outcome(RELEASE, "c"))
    stage.transport.posts[0].answer(200)
    await gone(stage, *of_kind(DELIVERED, "ab"), Outcome(RELEASE, "c"))
    await ended(stage.role)


async def test_the_end_of_the_drain_timeout_cuts_a_batch_once_and_gives_all_of_it_back() -> None:
    stage = Stage(**batches())
    stage.put(*named("a", "b"))
    await stage.sends(1)
    stage.drain_all(0.6)
    await ended(stage.role)
    assert stage.transport.posts[0].cancelled
    assert sorted(left(stage)) == sorted(of_kind(RELEASE, "ab"))


async def test_an_outage_that_begins_while_a_batch_waits_keeps_its_messages_and_sends_none() -> None:
    stage = Stage(**batches(wait=0.3), visibility=30)
    stage.put(*named("a", "b"))
    await until(lambda: len(stage.sender._slots.active) == 2)
    open_for_all(stage)
    await until(lambda: len(stage.sender._slots.waiting) == 2)
    await stays(lambda: not stage.transport.posts, 0.5)
    assert not left(stage)


async def test_a_shortage_keeps_all_messages_of_the_batch_and_none_counts_an_attempt() -> None:
    stage = Stage(**batches())
    stage.put(*named("a", "b", "c"))
    await stage.sends(1)
    stage.transport.posts[0].fail(NO_DESCRIPTORS)
    await until(lambda: _answer_all(stage) and len(left(stage)) == 3, explain=lambda: (left(stage), sent(stage)))
    assert sorted(left(stage)) == sorted(of_kind(DELIVERED, "abc"))
    assert stage.word(scoreboard.RETRIED) == 0


def _answer_all(stage: Stage) -> bool:
    for post in stage.transport.open():
        post.answer(200)
    return True


async def test_a_reset_of_the_first_batch_is_a_retry_of_all() -> None:
    stage = Stage(**batches(), backoff=Backoff(1.0, 100.0, fixed=17.0))
    stage.put(*named("a", "b", lease=20.0))
    await stage.sends(1)
    stage.transport.posts[0].fail(RESET)
    await gone(stage, *of_kind(RETRY, "ab"))


async def test_prepared_messages_share_a_batch_and_one_that_can_t_be_prepared_doesn_t() -> None:
    def shouted(content: Content, _: object) -> Made:
        if content.message.body == b"bad":
            raise ZeroDivisionError
        return Content(content.message._replace(body=content.message.body.upper()))

    stage = Stage(**batches(), steps=[shouted], backoff=Backoff(1.0, 100.0, fixed=17.0))
    stage.put(*named("a", "bad", "c", lease=20.0))
    await stage.sends(1)
    assert sent(stage) == [["A", "C"]]
    stage.transport.posts[0].answer(200, body=failures("c"))
    await gone(stage, Outcome(DELIVERED, "a"), *of_kind(RETRY, ["bad", "c"]))


LARGE = 5_000_000


def in_a_file(content: Content, _: object) -> Made:
    with closing(Spool(1)) as spool:
        spool.write(content.message.body * LARGE)
        body = spool.body()
    assert isinstance(body, FileBody)
    return content._replace(message=content.message._replace(body=b""), file=body)


async def test_large_bodies_wait_in_their_files_until_there_is_room_in_memory() -> None:
    stage = Stage(**batches(size=1, posts=40), steps=[in_a_file])
    names = "abcdefghijklmnopqrst"
    stage.put(*named(*names))

    most = 0

    def all_delivered() -> bool:
        nonlocal most
        most = max(most, sum(len(post.body) for post in stage.transport.open()))
        for post in stage.transport.open()[:1]:
            post.answer(200)
        return len(left(stage)) == len(names)

    await until(all_delivered)
    await gone(stage, *of_kind(DELIVERED, names))
    assert most <= MOST_BYTES + 1000 * len(names)
    assert {json.loads(post.body)["Records"][0]["body"][0] for post in stage.transport.posts} == set(names)


@pytest.mark.parametrize("end", ["drain", "outage"])
async def test_large_bodies_that_wait_are_given_back_or_kept_like_all_others(end: str) -> None:
    stage = Stage(**batches(size=1, posts=40), steps=[in_a_file])
    stage.put(*named(*"abcdefghij"))
    await stage.sends(1)
    await stays(lambda: len(stage.transport.posts) < 10, 0.3)
    in_flight = [json.loads(post.body)["Records"][0]["messageId"] for post in stage.transport.open()]
    waiting = sorted(set("abcdefghij") - set(in_flight))
    assert waiting
    if end == "outage":
        open_for_all(stage)
        await until(lambda: len(stage.sender._slots.waiting) == len(waiting))
        return
    stage.drain_all(5.0)
    await until(lambda: len(left(stage)) == len(waiting))
    for post in stage.transport.open():
        post.answer(200)
    await gone(stage, *of_kind(RELEASE, waiting), *of_kind(DELIVERED, in_flight))
    assert len(stage.transport.posts) == len(in_flight)


async def test_the_rate_limit_counts_messages() -> None:
    given = batches()
    given["limits"] |= {"rate": 10.0}
    stage = Stage(fifo=True, **given)
    stage.put(*named(*"abcdefghij", group="g"))
    await stage.sends(1)
    assert len(sent(stage)[0]) < 10


async def test_a_refused_item_counts_for_the_guard_and_not_for_the_breaker() -> None:
    given = batches()
    given["limits"] |= {"breaker": FAULTS, "reject_share": 0.5}
    stage = Stage(**given, backoff=Backoff(1.0, 100.0, fixed=17.0))
    stage.put(*named("a", "b", "c", lease=20.0))
    await stage.sends(1)
    stage.transport.posts[0].answer(200, body=failures("a", "b", "c"))
    await until(lambda: stage.word(scoreboard.RETRIED_BY + _place(ITEM_FAILED)) == 3)
    assert stage.word(scoreboard.FAULTS_IN_ROW) == 0


def _place(reason: str) -> int:
    return reason_place(None, reason)
