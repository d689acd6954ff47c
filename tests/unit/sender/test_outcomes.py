"""Outcomes: what is returned to its queue or rejected, and with what delay."""

from __future__ import annotations

import time
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from courier.http.answer import CONNECT_REFUSED
from courier.message import DELIVERED, REJECTED, RELEASE, RETRY
from courier.process import scoreboard
from courier.recipient import breaker
from courier.recipient.policy import Backoff
from courier.sender.rejection import FailureQueue
from tests.unit.sender.stage import Stage, named
from tests.unit.stage import (
    Outcome,
    message,
    no_descriptor_left,
    of_kind,
)
from tests.waiting import stays, until


def test_messages_whose_names_were_lost_with_their_bulk_are_left_to_their_lease() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.put(message("long", body=b"x" * 100_000)._replace(receipt="r" * 70_000))
        with no_descriptor_left():
            await until(lambda: stage.word(scoreboard.TAKEN) == 1)
        stage.put(*named("next"))
        await stage.sends(1)
        assert stage.outcomes() == []


async def test_a_lost_body_is_tried_again_later_and_told() -> None:
    stage = Stage(backoff=Backoff(1.0, 10.0, fixed=7.0))
    with capture_logs() as logs:
        # Nothing awaits between the two, so the packet is in the channel when no descriptor can be received.
        stage.put(message("large", body=b"x" * 100_000))
        with no_descriptor_left():
            await stage.reports(Outcome(RETRY, "large"))
    assert stage.settlements[0].delay == 7.0
    assert stage.word(scoreboard.TAKEN_BYTES) == 100_000
    assert not stage.transport.posts
    assert [line["times"] for line in logs if "large bodies were lost" in line["event"]] == [1]
    stage.put(*named("next"))
    await stage.sends(1)


async def test_a_lost_body_does_not_come_again_at_once_even_where_retries_do() -> None:
    stage = Stage(backoff=Backoff(1.0, 10.0, fixed=0.0))
    stage.put(message("large", body=b"x" * 100_000))
    with no_descriptor_left():
        await stage.reports(Outcome(RETRY, "large"))
    assert stage.settlements[0].delay == 1.0


async def test_without_a_failure_queue_a_rejection_backs_off_as_any_failure_and_heeds_a_retry_after() -> None:
    stage = Stage(fifo=True, backoff=Backoff(0.05, 1e9))
    # Each attempt in place doubles the longest delay, as each receive does.
    with patch("courier.sender.failures.random.random", return_value=0.999):
        stage.put(*named("head", "tail", group="g"))
        for attempt in range(3):
            await stage.sends(attempt + 1)
            before = time.monotonic()
            stage.transport.posts[attempt].answer(422)
        await stage.sends(4)
        assert time.monotonic() - before > 0.19
        stage.transport.posts[3].answer(422, (b"retry-after", b"7200"))
        await stage.reports(Outcome(RETRY, "head"), Outcome(RELEASE, "tail"))
    assert stage.settlements[0].delay == 7200.0


async def test_what_is_returned_while_the_recipient_wants_a_pause_stays_hidden_until_its_end() -> None:
    stage = Stage(backoff=Backoff(1.0, 900.0, fixed=0.3), limits={"breaker": breaker.BreakerOptions(0, 60.0, 60.0)})
    stage.put(*named("a", "b", "c"))
    await stage.sends(3)
    stage.transport.posts[0].answer(503, (b"retry-after", b"30"))
    stage.transport.posts[1].answer(500)
    stage.transport.posts[2].fail("timeout")
    await stage.reports(*of_kind(RETRY, ["a", "b", "c"]))
    assert min(s.delay for s in stage.settlements) > 25.0


async def test_a_rejected_message_is_reported_with_its_letter_and_the_run_goes_on() -> None:
    stage = Stage(fifo=True, failure_queue=FailureQueue("queue"))
    stage.put(*named("a", "b", group="g"))
    await stage.sends(1)
    stage.transport.posts[0].answer(422, body=b"no")
    await stage.sends(2)
    stage.transport.posts[1].answer()
    await stage.reports(Outcome(REJECTED, "a"), Outcome(DELIVERED, "b"))
    assert stage.settlements[0].record
    assert stage.settlements[0].letter


@pytest.mark.parametrize("status", [503, 408])
async def test_at_its_last_receive_a_message_is_rejected_only_once_it_is_known_to_be_its_own_fault(status: int) -> None:
    limits = {"reject_share": 0.5, "breaker": breaker.BreakerOptions(100, 60.0, 60.0)}
    stage = Stage(limits=limits, failure_queue=FailureQueue("queue"), max_receives=2)
    stage.put(*named("bad", receives=2))
    await stage.sends(1)
    stage.transport.posts[0].answer(status)
    await stays(lambda: not stage.outcomes())
    stage.put(*named("good"))

    def settled() -> bool:
        # Once others are delivered, it has another attempt: the recipient may be back.
        for post in stage.transport.open():
            post.answer(200 if post.body == b"good" else status)
        return sorted(stage.outcomes()) == [Outcome(DELIVERED, "good"), Outcome(REJECTED, "bad")]

    await until(settled, explain=stage.outcomes)


async def test_without_a_failure_queue_a_rejected_message_is_tried_again() -> None:
    stage = Stage()
    stage.put(*named("a"))
    await stage.sends(1)
    stage.transport.posts[0].answer(422)
    await stage.reports(Outcome(RETRY, "a"))


async def test_without_a_breaker_a_message_that_was_never_sent_is_given_back() -> None:
    stage = Stage()
    stage.put(*named("a"))
    await stage.sends(1)
    stage.transport.posts[0].fail(CONNECT_REFUSED)
    await stage.reports(Outcome(RETRY, "a"))
