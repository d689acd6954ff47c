"""A sender on its loop: what it takes, sends, reports and gives back, with the receiver in the test's hand."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from courier import breaker
from courier.audit.record import recorder
from courier.endpoint import SPIKE_MINIMUM, Limits, write_view
from courier.failure import FailureQueue
from courier.http.answer import CONNECT_REFUSED, Answer
from courier.http.delivery_head import DeliveryHead
from courier.http.target import parse_target
from courier.message import DELIVERED, EXTEND, REJECTED, RELEASE, RETRY
from courier.outbox import CAPACITY
from courier.policy import DEFAULT_RULES, MAX_HIDDEN_SECONDS, Backoff
from courier.process import scoreboard
from courier.sender import CUT_MARGIN_SECONDS, LATE_SECONDS, SWEEP_SECONDS, Delivery, Sender
from tests.unit.stage import (
    FakeTransport,
    Outcome,
    Surroundings,
    boottime,
    empty,
    ended,
    fill,
    message,
    no_descriptor_left,
    of_kind,
    run,
    stays,
    until,
)

NO_BREAKER = breaker.Settings(0, 1.0, 1.0)


class Stage(Surroundings):
    """A sender that runs."""

    def __init__(
        self,
        *,
        fifo: bool = False,
        visibility: int = 30,
        backoff: Backoff = Backoff(0.0, 0.0),  # noqa: B008 (immutable)
        limits: dict[str, Any] | None = None,
        transport: FakeTransport | None = None,
        **delivery: Any,
    ) -> None:
        super().__init__("sender")
        given: dict[str, Any] = {"concurrency": 4, "rate": None, "in_flight": None, "adaptive": False}
        given |= {"breaker": NO_BREAKER, "reject_share": 0.0, "reject_window": 60.0}
        self.transport = transport or FakeTransport()
        settings = Delivery(
            limits=Limits(**(given | (limits or {}))),
            visibility=visibility,
            fifo=fifo,
            rules=DEFAULT_RULES,
            backoff=backoff,
            recorder=recorder("json", "full"),
            **delivery,
        )
        head = DeliveryHead(parse_target("http://receiver.test/in"), "queue")
        self.sender = Sender(self.life, (self.work, self.acks), self.transport, head, settings)
        self.role = asyncio.get_running_loop().create_task(self.sender.run())

    def sent(self) -> list[str]:
        return [body.decode() for body in self.transport.bodies()]

    async def sends(self, count: int) -> None:
        await until(lambda: len(self.transport.posts) >= count, explain=self.sent)

    async def reports(self, *outcomes: Outcome) -> None:
        """Wait until exactly these have been reported, in any order."""
        await until(lambda: sorted(self.outcomes()) == sorted(outcomes), explain=self.outcomes)


def named(*names: str, **fields: Any) -> list[Any]:
    return [message(name, body=name.encode(), **fields) for name in names]


def test_a_success_is_reported_with_its_record() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.put(*named("a"))
        await stage.sends(1)
        stage.transport.posts[0].answer(201)
        await stage.reports(Outcome(DELIVERED, "a"))
        assert b'"a"' in (stage.settlements[0].record or b"")
        stage.life.drain()
        await ended(stage.role)
        assert stage.transport.closed

    run(scenario)


def test_a_lost_body_is_tried_again_later_and_told() -> None:
    async def scenario() -> None:
        stage = Stage(backoff=Backoff(1.0, 10.0, fixed=7.0))
        with capture_logs() as logs:
            # Nothing awaits between the two, so the packet is in the channel when no descriptor can be received.
            stage.put(message("large", body=b"x" * 100_000))
            with no_descriptor_left():
                await stage.reports(Outcome(RETRY, "large"))
        assert stage.settlements[0].delay == 7.0
        assert stage.word(scoreboard.TAKEN_BYTES) == 100_000
        assert not stage.transport.posts
        assert [line["messages"] for line in logs if "large body was lost" in line["event"]] == [1]
        stage.put(*named("next"))
        await stage.sends(1)

    run(scenario)


def test_the_lapsed_head_of_a_run_is_dropped_and_its_tail_released_without_being_sent() -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True)
        stage.put(*named("head", group="g", lease=-0.1), *named("second", "third", group="g"))
        await stage.reports(*of_kind(RELEASE, ["second", "third"]))
        await stays(lambda: not stage.transport.posts, 0.1)
        assert stage.word(scoreboard.LAPSED) == 1
        assert stage.word(scoreboard.IN_FLIGHT) == 0

    run(scenario)


def test_a_lease_that_lapses_while_earlier_ones_of_the_run_are_sent_stops_the_run() -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True, visibility=1)
        stage.put(*named("first", group="g"), *named("second", group="g", lease=0.01), *named("third", group="g"))
        await stage.sends(1)
        over = boottime() + 0.02
        await until(lambda: boottime() > over)
        stage.transport.posts[0].answer()
        await stage.reports(Outcome(DELIVERED, "first"), Outcome(RELEASE, "third"))
        assert stage.sent() == ["first"]

    run(scenario)


def test_a_failing_head_is_tried_in_place_while_its_pauses_fit_inside_one_visibility_timeout() -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True, visibility=2, backoff=Backoff(1.0, 1.0, fixed=0.7))
        stage.put(*named("head", "tail", group="g", lease=20.0))
        for attempt in range(1, 4):
            await stage.sends(attempt)
            assert not [outcome for outcome in stage.outcomes() if outcome.kind != EXTEND]
            stage.transport.posts[-1].answer(503)
        await stage.reports(Outcome(RETRY, "head"), Outcome(RELEASE, "tail"))
        assert stage.sent() == ["head"] * 3

    run(scenario)


def test_the_pauses_of_one_message_of_a_run_take_nothing_from_the_patience_with_the_next() -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True, visibility=2, backoff=Backoff(1.0, 1.0, fixed=0.7))
        stage.put(*named("a", "b", "c", group="g", lease=20.0))
        for count, status in enumerate((503, 503, 200, 503, 503, 200, 200), 1):
            await stage.sends(count)
            stage.transport.posts[-1].answer(status)
        await stage.reports(*of_kind(DELIVERED, ["a", "b", "c"]))
        assert stage.sent() == ["a", "a", "a", "b", "b", "b", "c"]

    run(scenario)


@pytest.mark.parametrize("status", [503, 422])
def test_a_head_that_is_refused_at_once_and_asked_for_at_once_is_not_tried_in_a_hot_loop(status: int) -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True, visibility=1, backoff=Backoff(1.0, 1.0, fixed=0.0))
        stage.put(*named("head", "tail", group="g", lease=20.0))

        def refused() -> bool:
            for post in stage.transport.open():
                post.answer(status, (b"retry-after", b"0"))
            return len(stage.transport.posts) > 21 or Outcome(RELEASE, "tail") in stage.outcomes()

        await until(refused)
        assert 2 <= len(stage.transport.posts) <= 21, "a pause of 50 ms, for a second at most"
        await stage.reports(Outcome(RETRY, "head"), Outcome(RELEASE, "tail"))

    run(scenario)


def test_the_attempts_of_a_failing_head_count_for_the_patience_with_it_as_its_pauses_do() -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True, visibility=1, backoff=Backoff(1.0, 1.0, fixed=0.0))
        stage.put(*named("head", "tail", group="g", lease=20.0))
        await stage.sends(1)
        stage.transport.posts[0].answer(503)
        await stage.sends(2)
        over = time.monotonic() + 1.0
        await until(lambda: time.monotonic() > over)
        stage.transport.posts[1].answer(503)
        await until(lambda: Outcome(RETRY, "head") in stage.outcomes())
        assert stage.sent() == ["head"] * 2

    run(scenario)


def test_without_a_failure_queue_a_rejection_backs_off_as_any_failure_and_heeds_a_retry_after() -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True, backoff=Backoff(0.05, 1e9))
        # Each attempt in place doubles the longest delay, as each receive does.
        with patch("courier.sender.random.random", return_value=0.999):
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

    run(scenario)


def test_the_last_of_a_run_is_not_waited_for_in_place() -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True, backoff=Backoff(1.0, 1.0, fixed=0.1))
        stage.put(*named("a", "b", group="g"))
        for count, status in enumerate((200, 503), 1):
            await stage.sends(count)
            stage.transport.posts[-1].answer(status)
        await stage.reports(Outcome(DELIVERED, "a"), Outcome(RETRY, "b"))

    run(scenario)


def test_what_is_past_half_of_its_lease_is_extended_and_its_outcome_carries_the_new_end() -> None:
    async def scenario() -> None:
        stage = Stage(visibility=2)
        stage.put(*named("slow", lease=0.8))
        await until(lambda: Outcome(EXTEND, "slow") in stage.outcomes())
        stage.transport.posts[0].answer()
        await until(lambda: Outcome(DELIVERED, "slow") in stage.outcomes())
        assert stage.settlements[-1].lease > stage.settlements[0].lease

    run(scenario)


def test_a_sender_whose_outcomes_nobody_reads_takes_no_more_and_goes_on_when_they_are_read() -> None:
    async def scenario() -> None:
        stage = Stage()
        names = [f"m{n}" for n in range(500)]
        for start in range(0, 500, 25):
            stage.put(*named(*names[start : start + 25]))
        fill(stage.acks)

        def answer_all() -> bool:
            for post in stage.transport.open():
                post.answer()
            return len(stage.transport.posts) >= CAPACITY

        await until(answer_all)
        answer_all()
        await stays(lambda: answer_all() and len(stage.transport.posts) <= CAPACITY + 4)
        assert stage.work.unread_bytes()
        empty(stage.acks)
        await until(lambda: answer_all() and len(stage.outcomes()) == 500, explain=lambda: len(stage.settlements))
        assert sorted(stage.sent()) == sorted(names)

    run(scenario)


def test_a_sender_that_drains_alone_finishes_its_own_and_leaves_the_channel_to_others() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"concurrency": 2})
        for name in ("a", "b", "c", "d"):
            stage.put(*named(name))
        await stage.sends(2)
        unread = stage.work.unread_bytes()
        assert unread
        stage.life.drain()
        await stays(lambda: not stage.role.done() and stage.work.unread_bytes() == unread, 0.1)
        for post in stage.transport.posts:
            post.answer()
        await ended(stage.role)
        assert stage.outcomes() == of_kind(DELIVERED, ["a", "b"])
        assert stage.work.unread_bytes() == unread

    run(scenario)


def test_a_sender_that_drains_alone_gives_back_what_it_took_and_had_no_slot_for() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"concurrency": 1})
        stage.put(*named("a", "b", "c"))
        await stage.sends(1)
        stage.life.drain()
        await stage.reports(*of_kind(RELEASE, ["b", "c"]))
        stage.transport.posts[0].answer()
        await ended(stage.role)
        await stage.reports(*of_kind(RELEASE, ["b", "c"]), Outcome(DELIVERED, "a"))

    run(scenario)


def test_a_sender_that_drains_alone_leaves_the_probe_to_others_when_one_of_its_own_opens_the_breaker() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"breaker": breaker.Settings(1, 0.05, 0.05)})
        stage.put(*named("long"))
        stage.put(*named("fails"))
        await stage.sends(2)
        stage.life.drain()
        await until(lambda: stage.word(scoreboard.LIMIT) == 0)
        stage.transport.posts[1].fail(CONNECT_REFUSED)
        await stage.reports(Outcome(RETRY, "fails"))
        stage.put(*named("probe"))
        unread = stage.work.unread_bytes()
        await stays(lambda: stage.work.unread_bytes() == unread)
        stage.transport.posts[0].answer()
        await ended(stage.role)
        await stage.reports(Outcome(RETRY, "fails"), Outcome(DELIVERED, "long"))
        assert stage.work.unread_bytes() == unread

    run(scenario)


def test_what_is_taken_at_the_very_end_of_its_lease_is_extended_as_it_is_sent() -> None:
    async def scenario() -> None:
        stage = Stage(visibility=30)
        await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
        stage.put(*named("late", lease=0.9 * LATE_SECONDS))
        await stage.sends(1)
        await stage.reports(Outcome(EXTEND, "late"))
        await stays(lambda: stage.outcomes() == [Outcome(EXTEND, "late")])
        stage.transport.posts[0].answer(200)
        await stage.reports(Outcome(EXTEND, "late"), Outcome(DELIVERED, "late"))

    run(scenario)


def test_what_is_held_as_its_twelve_hours_end_is_told_of_and_only_what_is_under_way_goes_on() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"concurrency": 1})
        received = boottime() - MAX_HIDDEN_SECONDS + 1.0
        end = received + MAX_HIDDEN_SECONDS
        old = [m._replace(received_at=received, lease=end) for m in named("old", "waiting")]
        with capture_logs() as logs:
            stage.put(*old)
            await stage.sends(1)
            await until(lambda: stage.word(scoreboard.EXPIRED) == 2)
            await stays(lambda: stage.word(scoreboard.EXPIRED) == 2)
        told = {line["message_id"]: line["waits_for"] for line in logs if "12 hours" in line["event"]}
        assert told == {"old": "its answer", "waiting": "its turn"}
        assert {line["log_level"] for line in logs if "12 hours" in line["event"]} == {"warning"}
        stage.transport.posts[0].answer(200)
        await stage.reports(Outcome(DELIVERED, "old"))
        assert stage.settlements[0].record
        assert stage.settlements[0].lease == 0.0
        assert stage.sent() == ["old"]
        assert stage.word(scoreboard.LAPSED) == 1

    run(scenario)


def test_a_drain_of_all_releases_what_is_queued_and_finishes_what_is_under_way() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"concurrency": 2})
        for name in ("a", "b", "c", "d", "e"):
            stage.put(*named(name))
        await stage.sends(2)
        stage.drain_all()
        await stage.reports(*of_kind(RELEASE, ["c", "d", "e"]))
        stage.transport.posts[0].answer()
        stage.transport.posts[1].answer(503)
        await ended(stage.role)
        await stage.reports(*of_kind(RELEASE, ["c", "d", "e"]), Outcome(DELIVERED, "a"), Outcome(RETRY, "b"))
        assert stage.word(scoreboard.UNSETTLED) == stage.word(scoreboard.CUT) == 0
        assert stage.word(scoreboard.LIMIT) == 0

    run(scenario)


def test_a_run_that_waits_for_its_next_attempt_is_given_back_at_a_drain() -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True, backoff=Backoff(1.0, 1.0, fixed=20.0))
        stage.put(*named("head", "tail", group="g"))
        await stage.sends(1)
        stage.transport.posts[0].answer(503)
        stage.drain_all()
        await ended(stage.role)
        assert stage.outcomes() == of_kind(RELEASE, ["head", "tail"])

    run(scenario)


def test_a_deadline_that_moves_closer_cuts_in_time_and_what_is_cut_is_released() -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True)
        stage.put(*named("a1", "a2", group="a"))
        stage.put(*named("b1", group="b"))
        await stage.sends(2)
        stage.drain_all(300.0)
        await stays(lambda: not stage.role.done())
        stage.board.supervisor.reals[scoreboard.DRAIN_DEADLINE] = closer = time.monotonic() + 0.2 + CUT_MARGIN_SECONDS
        await ended(stage.role)
        assert time.monotonic() < closer
        await stage.reports(*of_kind(RELEASE, ["a1", "a2", "b1"]))
        assert all(post.cancelled for post in stage.transport.posts)
        assert stage.word(scoreboard.CUT) == 2

    run(scenario)


def test_the_death_of_the_supervisor_cuts_what_a_drain_would_have_waited_for() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"concurrency": 1})
        stage.put(*named("a"))
        stage.put(*named("b"))
        await stage.sends(1)
        stage.life.orphan()
        await ended(stage.role, 2.0)
        await stage.reports(*of_kind(RELEASE, ["a", "b"]))

    run(scenario)


def test_an_open_breaker_gives_back_everything_that_waits_and_sends_nothing() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"concurrency": 2, "breaker": breaker.Settings(2, 60.0, 60.0)})
        stage.put(*named("a", "b", "c", "d"))
        stage.put(*named("e"))
        await stage.sends(2)
        stage.transport.posts[0].answer(503)
        stage.transport.posts[1].answer(503)
        await stage.reports(*of_kind(RETRY, ["a", "b"]), *of_kind(RELEASE, ["c", "d", "e"]))
        # What failed once the breaker was open stays hidden until it may be half-open.
        assert max(s.delay for s in stage.settlements if s.kind == RETRY) > 55.0
        assert min(s.delay for s in stage.settlements if s.kind == RELEASE) > 55.0
        stage.put(*named("late"))
        await until(lambda: Outcome(RELEASE, "late") in stage.outcomes())
        assert stage.sent() == ["a", "b"]
        assert stage.word(scoreboard.BREAKER) == breaker.OPEN

    run(scenario)


def test_an_open_breaker_gives_back_what_comes_long_after_it_opened() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"breaker": breaker.Settings(1, 60.0, 60.0)})
        stage.put(*named("fails"))
        await stage.sends(1)
        stage.transport.posts[0].fail(CONNECT_REFUSED)
        await until(lambda: stage.word(scoreboard.BREAKER) == breaker.OPEN)
        await stays(lambda: len(stage.transport.posts) == 1, 3 * SWEEP_SECONDS)
        stage.put(*named("late"))
        await until(lambda: (RELEASE, "late") in stage.outcomes(), explain=stage.outcomes)
        # Shown at once, the next open poll would receive it.
        assert stage.settlements[-1].delay > 50.0

    run(scenario)


CONNECTED = Answer(0, [], b"", False, True, 0.0, 0.01)


def test_a_delivery_from_before_the_outage_keeps_neither_the_probe_back_nor_what_follows_it() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"concurrency": 4, "breaker": breaker.Settings(1, 0.05, 0.05)})
        stage.put(*named("long", "fails"))
        await stage.sends(2)
        stage.transport.posts[1].fail(CONNECT_REFUSED)
        await until(lambda: stage.transport.dials)
        stage.transport.dials[0](CONNECTED)
        stage.put(*named("probe"))
        stage.put(*named("next"))
        await stage.sends(3)
        await stays(lambda: stage.sent() == ["long", "fails", "probe"], 3 * SWEEP_SECONDS)
        stage.transport.posts[2].answer(200)
        await stage.sends(4)
        assert stage.sent()[3] == "next"
        assert stage.word(scoreboard.IN_FLIGHT) == 2

    run(scenario)


def test_a_probe_is_asked_for_once_however_long_it_takes_and_again_where_it_is_lost() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"breaker": breaker.Settings(1, 0.05, 0.05)})
        stage.put(*named("fails"))
        await stage.sends(1)
        stage.transport.posts[0].fail(CONNECT_REFUSED)
        for dials in (1, 2):
            await until(lambda dials=dials: len(stage.transport.dials) == dials)  # type: ignore[misc]
            stage.transport.dials[-1](CONNECTED)
        stage.put(*named("probe"))
        await stage.sends(2)
        wanted, dials = stage.slot.reals[scoreboard.PROBE_WANTED], len(stage.transport.dials)
        await stays(lambda: stage.slot.reals[scoreboard.PROBE_WANTED] == wanted, 0.8)
        assert len(stage.transport.dials) == dials

    with patch("courier.endpoint.LOST_PROBE_SECONDS", 0.2):
        run(scenario)


def test_while_the_receiver_wants_a_pause_whatever_fails_stays_hidden_until_its_end() -> None:
    async def scenario() -> None:
        stage = Stage(backoff=Backoff(1.0, 900.0, fixed=0.3), limits={"breaker": breaker.Settings(10, 60.0, 60.0)})
        stage.put(*named("a", "b", "c"))
        await stage.sends(3)
        stage.transport.posts[0].answer(503, (b"retry-after", b"30"))
        stage.transport.posts[1].answer(500)
        stage.transport.posts[2].fail("timeout")
        await stage.reports(*of_kind(RETRY, ["a", "b", "c"]))
        assert min(s.delay for s in stage.settlements) > 25.0

    run(scenario)


def test_what_is_given_back_stays_hidden_until_the_open_polls_have_ended() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"concurrency": 1, "breaker": breaker.Settings(1, 5.0, 5.0)})
        stage.board.slots("consumer")[1].reals[scoreboard.POLLS_UNTIL] = time.monotonic() + 20.0
        stage.put(*named("fails", "waits"))
        await stage.sends(1)
        stage.transport.posts[0].fail(CONNECT_REFUSED)
        await stage.reports(Outcome(RETRY, "fails"), Outcome(RELEASE, "waits"))
        assert min(s.delay for s in stage.settlements) > 15.0

    run(scenario)


def test_an_opening_breaker_gives_back_a_run_that_waits_in_place() -> None:
    async def scenario() -> None:
        settings = breaker.Settings(2, 60.0, 60.0)
        stage = Stage(fifo=True, backoff=Backoff(1.0, 1.0, fixed=10.0), limits={"breaker": settings})
        stage.put(*named("a1", "a2", group="a"))
        stage.put(*named("b1", group="b"))
        await stage.sends(2)
        stage.transport.posts[0].answer(503)
        stage.transport.posts[1].answer(503)
        await stage.reports(Outcome(RETRY, "b1"), *of_kind(RELEASE, ["a1", "a2"]))

    run(scenario)


def test_a_half_open_breaker_is_probed_by_a_connection_then_by_one_message_and_closes() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"breaker": breaker.Settings(1, 0.05, 0.05)})
        stage.put(*named("a"))
        await stage.sends(1)
        stage.transport.posts[0].fail(CONNECT_REFUSED)
        await until(lambda: stage.transport.dials)
        assert len(stage.transport.posts) == 1
        stage.put(*named("probe"))
        stage.put(*named("next"))
        await stage.sends(2)
        await stays(lambda: len(stage.transport.posts) == 2)
        stage.transport.posts[1].answer()
        await stage.sends(3)
        assert stage.sent() == ["a", "probe", "next"]
        assert stage.word(scoreboard.BREAKER) == breaker.CLOSED

    run(scenario)


def test_a_token_of_the_rate_limit_is_taken_before_the_packet_so_that_nobody_waits_holding_one() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"rate": 1.0})
        for name in ("a", "b", "c"):
            stage.put(*named(name))
        await stage.sends(1)
        await stays(lambda: stage.word(scoreboard.TAKEN) == 1 and stage.word(scoreboard.IN_FLIGHT) == 1)
        await stage.sends(2)
        assert stage.word(scoreboard.TAKEN) == 2

    run(scenario)


def test_a_sender_that_listens_and_has_no_token_leaves_the_packet_to_others() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"rate": 0.1, "breaker": breaker.Settings(1, 0.05, 0.05)})
        stage.put(*named("a"))
        await stage.sends(1)
        stage.transport.posts[0].fail(CONNECT_REFUSED)
        # While the breaker is open it listens to give back what comes; the next token is ten seconds away.
        await until(lambda: stage.transport.dials)
        stage.put(*named("probe"))
        await stays(lambda: stage.word(scoreboard.TAKEN) == 1)

    run(scenario)


@pytest.mark.parametrize("fifo", [False, True])
def test_a_packet_whose_lease_is_over_costs_no_token(fifo: bool) -> None:
    async def scenario() -> None:
        stage = Stage(fifo=fifo, limits={"rate": 0.01})
        stage.put(*named("late", lease=-0.1))
        await until(lambda: stage.word(scoreboard.LAPSED) == 1)
        stage.put(*named("a"))
        await stage.sends(1)
        assert stage.sent() == ["a"]

    run(scenario)


def test_a_token_that_found_no_packet_is_kept_for_the_one_that_comes() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"rate": 0.01})
        await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
        await stays(lambda: not stage.transport.posts, 0.1)
        stage.put(*named("a"))
        await stage.sends(1)

    run(scenario)


def test_a_rejected_message_is_reported_with_its_letter_and_the_run_goes_on() -> None:
    async def scenario() -> None:
        stage = Stage(fifo=True, failure_queue=FailureQueue("queue"))
        stage.put(*named("a", "b", group="g"))
        await stage.sends(1)
        stage.transport.posts[0].answer(422, body=b"no")
        await stage.sends(2)
        stage.transport.posts[1].answer()
        await stage.reports(Outcome(REJECTED, "a"), Outcome(DELIVERED, "b"))
        assert stage.settlements[0].record
        assert stage.settlements[0].letter

    run(scenario)


def test_a_rejected_probe_after_a_spike_of_rejections_is_tried_again_once_the_breaker_may_be_half_open() -> None:
    async def scenario() -> None:
        limits = {"concurrency": 64, "breaker": breaker.Settings(0, 0.05, 60.0), "reject_share": 0.5}
        stage = Stage(limits=limits, failure_queue=FailureQueue("queue"))
        names = [f"m{n}" for n in range(SPIKE_MINIMUM)]
        stage.put(*named(*names))
        await stage.sends(len(names))
        for post in stage.transport.posts:
            post.answer(404)
        await until(lambda: stage.transport.dials)
        stage.transport.dials[0](Answer(200, [], b"", False, True, boottime(), 0.01))
        stage.put(*named("probe"))
        await stage.sends(len(names) + 1)
        stage.transport.posts[-1].answer(404)
        await stage.reports(*of_kind(REJECTED, names[:-1]), *of_kind(RETRY, [names[-1], "probe"]))
        assert stage.word(scoreboard.OPENINGS) == 2
        assert stage.word(scoreboard.TRIPS) == 2

    run(scenario)


def test_without_a_failure_queue_a_rejected_message_is_tried_again() -> None:
    async def scenario() -> None:
        stage = Stage()
        stage.put(*named("a"))
        await stage.sends(1)
        stage.transport.posts[0].answer(422)
        await stage.reports(Outcome(RETRY, "a"))

    run(scenario)


def open_for_all(stage: Stage) -> None:
    """Open the breaker, as another sender would that has seen the endpoint fail."""
    now = time.monotonic()
    write_view(stage.board.slots("sender")[1], breaker.View(opened_at=now, open_until=now + 60.0, trips=1))


def test_a_quiet_sender_looks_at_the_endpoint_before_it_sends_what_woke_it() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"breaker": breaker.Settings(5, 60.0, 60.0)})
        await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
        open_for_all(stage)
        stage.put(*named("a"))
        await stage.reports(Outcome(RELEASE, "a"))
        assert not stage.transport.posts

    run(scenario)


def test_a_quiet_sender_looks_around_when_it_beats_and_at_nothing_in_between() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"breaker": breaker.Settings(5, 60.0, 60.0)})
        await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
        open_for_all(stage)
        await stays(lambda: stage.word(scoreboard.BREAKER) == breaker.CLOSED)
        stage.life.beat()
        assert stage.word(scoreboard.BREAKER) == breaker.OPEN
        assert stage.word(scoreboard.LIMIT) == 0

    run(scenario)


def test_what_is_taken_without_being_woken_by_it_is_extended_too() -> None:
    async def scenario() -> None:
        stage = Stage(visibility=2, limits={"rate": 2.0})
        stage.put(*named("quick"))
        stage.put(*named("slow", lease=1.3))
        await stage.sends(1)
        stage.transport.posts[0].answer()
        # Nothing is held until the next token comes, half a second later, and that is a timer's word.
        await until(lambda: Outcome(EXTEND, "slow") in stage.outcomes())

    run(scenario)


def test_what_deliveries_took_is_on_the_board_while_it_works_and_at_the_end() -> None:
    def counted(stage: Stage) -> tuple[int, int]:
        return sum(stage.board.totals(scoreboard.LATENCY)), sum(stage.board.totals(scoreboard.AGE))

    async def scenario() -> None:
        stage = Stage()
        sent_ms = int(time.time() * 1000)
        stage.put(*[m._replace(sent_ms=sent_ms) for m in named("a", "b", "c", "d")])
        await stage.sends(4)
        for post in stage.transport.posts[:3]:
            post.answer()
        await until(lambda: counted(stage) == (3, 3))
        stage.life.drain()
        stage.transport.posts[3].answer(503)
        await ended(stage.role)
        assert counted(stage) == (4, 3)
        assert stage.board.total_real(scoreboard.LATENCY_SUM) == pytest.approx(0.04)

    run(scenario)
