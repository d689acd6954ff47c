"""Failed attempts: what counts against the recipient, and bugs of ours around one message."""

from __future__ import annotations

import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from courier.audit.record import recorder
from courier.board.tally import REASONS
from courier.http.answer import RESET
from courier.http.secret_mask import Mask
from courier.message import DELIVERED, EXTEND, REJECTED, RELEASE, RETRY
from courier.process import scoreboard
from courier.process.internal_errors import INTERNAL_ERROR
from courier.recipient import breaker
from courier.recipient.policy import AnswerRules, Backoff, parse_statuses
from courier.sender.rejection import FailureQueue
from tests.unit.sender.stage import Stage, delivery_head, named
from tests.unit.stage import (
    Outcome,
    of_kind,
)
from tests.waiting import stays, until


async def test_a_reset_that_comes_back_while_others_are_answered_does_not_count_against_the_recipient() -> None:
    limits = {"breaker": breaker.BreakerOptions(3, 10.0, 10.0), "concurrency": 16}
    stage = Stage(limits=limits)
    stage.put(*named("first"))
    await stage.sends(1)
    stage.transport.posts[-1].answer(200)
    for round_number in range(1, 20):
        stage.put(*named("poison", receives=round_number), *named(f"good-{round_number}"))
        await stage.sends(1 + 2 * round_number)
        poison, good = stage.transport.posts[-2:]
        good.answer(200)
        poison.fail(RESET)
        # The first one counts, until another is delivered; those that come back don't.
        assert stage.word(scoreboard.FAULTS_IN_ROW) == (1 if round_number == 1 else 0)
    assert stage.word(scoreboard.RETRIED) == 19
    assert stage.word(scoreboard.OPENINGS) == 0


async def test_resets_of_an_outage_open_the_breaker_though_each_message_had_been_reset_before() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(3, 10.0, 10.0)})
    stage.put(*named("first"))
    await stage.sends(1)
    stage.transport.posts[-1].answer(200)
    await stage.reports(Outcome(DELIVERED, "first"))
    # A request that fails in the tests' hands began a hundredth of a second before: after that answer, here.
    answered = time.monotonic()
    await until(lambda: time.monotonic() > answered + 0.02)
    for n in range(3):
        stage.put(*named(f"m{n}", receives=2))
        await stage.sends(2 + n)
        stage.transport.posts[-1].fail(RESET)
    assert stage.word(scoreboard.OPENINGS) == 1


@pytest.mark.parametrize("status", [413, 431])
async def test_a_message_too_large_for_the_recipient_never_counts_against_it(status: int) -> None:
    rules = AnswerRules.of(*map(parse_statuses, ("200-299", "400-599", "")))
    stage = Stage(limits={"breaker": breaker.BreakerOptions(3, 10.0, 10.0)}, rules=rules)
    stage.put(*named("first"))
    await stage.sends(1)
    stage.transport.posts[-1].answer(200)
    for n in range(10):
        stage.put(*named(f"m{n}"))
        await stage.sends(2 + n)
        stage.transport.posts[-1].answer(status)
        assert stage.word(scoreboard.FAULTS_IN_ROW) == 0
    assert stage.word(scoreboard.RETRIED) == 10
    assert stage.word(scoreboard.OPENINGS) == 0


class FailingFor:
    """A head or a recorder that raises for some messages, as a bug would; ``kinds`` of exceptions take turns."""

    def __init__(self, names: set[str], *, sound: Any) -> None:
        self.names = names
        self.sound = sound
        self.dropped = 0
        self.mask = Mask()

    def mask_of(self, given: Any) -> Mask:
        return self.mask

    def refresh(self) -> None:
        return

    def _check(self, given: Any) -> None:
        if given.message_id in self.names:
            raise ZeroDivisionError(f"a bug met {given.message_id}")

    def render(self, given: Any) -> bytes:
        self._check(given)
        return bytes(self.sound.render(given))

    def __call__(self, given: Any, *rest: Any) -> bytes:
        self._check(given)
        return bytes(self.sound(given, *rest))


def bugs_told(logs: Any) -> list[Any]:
    return [line for line in logs if "a bug in Courier" in line["event"]]


@pytest.mark.parametrize("where", ["render", "record", "judge"])
async def test_an_exception_around_a_message_gives_it_back_later_and_stops_no_other(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing: dict[str, Any] = {}
    if where == "render":
        failing["head"] = FailingFor({"bad", "worse"}, sound=delivery_head())
    elif where == "record":
        failing["recorder"] = FailingFor({"bad", "worse"}, sound=recorder("json", "full"))
    else:
        monkeypatch.setattr("courier.sender.failures.Failures._report_to_gate", lambda *_, **__: 1 / 0)
    stage = Stage(backoff=Backoff(1.0, 10.0, fixed=7.0), **failing)
    with capture_logs() as logs:
        stage.put(*named("bad", "good", "worse", "better"))
        await stage.sends(2 if where == "render" else 4)
        for post in stage.transport.posts:
            post.answer(503 if where == "judge" and post.body in (b"bad", b"worse") else 200)
        await stage.reports(*of_kind(RETRY, ["bad", "worse"]), *of_kind(DELIVERED, ["good", "better"]))
    assert [s.delay for s in stage.settlements if s.kind == RETRY] == [7.0, 7.0]
    # One line, with the stack, for the place; both are counted.
    (line,) = bugs_told(logs)
    assert line["message_id"] == "bad"
    assert line["exc_info"]
    assert stage.word(scoreboard.INTERNAL_ERRORS) == 2
    assert stage.word(scoreboard.RETRIED) == 2
    assert stage.word(scoreboard.RETRIED_BY + REASONS.index(INTERNAL_ERROR)) == 2
    assert stage.word(scoreboard.FAULTS_IN_ROW) == 0 or where == "judge"
    assert not stage.sender._slots.active


async def test_a_message_that_raises_at_its_last_receive_goes_to_the_failure_queue() -> None:
    head = FailingFor({"bad", "last"}, sound=delivery_head())
    stage = Stage(failure_queue=FailureQueue("queue"), max_receives=3, head=head)
    stage.put(*named("bad", receives=2), *named("last", receives=3))
    await stage.reports(Outcome(RETRY, "bad"), Outcome(REJECTED, "last"))
    assert b"internal error at receive 3" in (stage.settlements[-1].record or b"")


async def test_a_message_whose_record_raises_too_is_tried_again_and_left_to_the_redrive_policy() -> None:
    failing = FailingFor({"last"}, sound=recorder("json", "full"))
    stage = Stage(failure_queue=FailureQueue("queue"), max_receives=3, recorder=failing)
    stage.put(*named("last", receives=3), *named("good"))
    await stage.sends(2)
    for post in stage.transport.posts:
        post.answer(200)
    await stage.reports(Outcome(RETRY, "last"), Outcome(DELIVERED, "good"))
    assert stage.word(scoreboard.INTERNAL_ERRORS) == 2


async def test_the_head_of_a_run_that_raises_is_tried_in_place_and_what_is_behind_it_released_in_order() -> None:
    head = FailingFor({"bad"}, sound=delivery_head())
    stage = Stage(fifo=True, visibility=1, backoff=Backoff(1.0, 10.0, fixed=0.3), head=head)
    stage.put(*named("bad", "second", "third", group="g"))
    await until(lambda: stage.word(scoreboard.INTERNAL_ERRORS) > 1)
    stage.put(*named("other", group="h"))
    await stage.sends(1)
    await until(lambda: Outcome(RETRY, "bad") in stage.outcomes(), explain=stage.outcomes)
    shown = [outcome for outcome in stage.outcomes() if outcome.kind != EXTEND]
    assert shown == [Outcome(RETRY, "bad"), Outcome(RELEASE, "second"), Outcome(RELEASE, "third")]
    assert stage.sent() == ["other"]


async def test_while_the_recipient_wants_a_pause_whatever_fails_is_kept_and_not_sent() -> None:
    stage = Stage(backoff=Backoff(1.0, 900.0, fixed=0.3), limits={"breaker": breaker.BreakerOptions(10, 60.0, 60.0)})
    stage.put(*named("a", "b", "c"))
    await stage.sends(3)
    stage.transport.posts[0].answer(503, (b"retry-after", b"30"))
    stage.transport.posts[1].answer(500)
    stage.transport.posts[2].fail("timeout")
    await stays(lambda: not stage.outcomes() and len(stage.sent()) == 3)


async def test_a_message_that_fails_again_while_others_are_delivered_does_not_open_the_breaker() -> None:
    stage = Stage(fifo=True, backoff=Backoff(0.0, 0.0), limits={"breaker": breaker.BreakerOptions(3, 60.0, 60.0)})
    stage.put(*named("head", "tail", group="g"))
    for attempt in range(1, 7):
        await until(lambda: stage.sent().count("head") == attempt)  # noqa: B023
        for post in stage.transport.open():
            post.answer(503)
        stage.put(*named(f"good{attempt}", group=f"h{attempt}"))
        await until(lambda: f"good{attempt}" in stage.sent())  # noqa: B023
        next(post for post in stage.transport.open() if post.body.startswith(b"good")).answer(200)
    assert stage.state() == breaker.CLOSED
    assert stage.word(scoreboard.FAULTS_IN_ROW) <= 1
