"""A shortage of ours: what counts as one, how far a sender steps back, and that it comes forward again."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.board.shortage import (
    GROW_SECONDS,
    LASTING_SECONDS,
    LOG_SECONDS,
    RESOURCES,
    Shortage,
    lasting_shortage,
    shortages,
)
from courier.board.tally import RESULTS, result_place
from courier.http.answer import (
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    DENIED,
    NO_DESCRIPTORS,
    NO_MEMORY,
    NO_PORTS,
    SHORTAGES,
    Failure,
    NoAnswer,
)
from courier.http.dial import Resolver, connect_reason, decisive_reason, shortage_reason
from courier.message import DELIVERED, RELEASE
from courier.process import scoreboard
from courier.process.scoreboard import READY, Scoreboard
from courier.recipient import breaker
from courier.recipient.policy import DEFAULT_RULES, Backoff, Retry, judge
from courier.sqs.errors import no_answer
from tests.unit.sender.stage import Stage, named
from tests.unit.stage import Outcome, of_kind
from tests.waiting import stays, until

OURS = {
    errno.EMFILE: NO_DESCRIPTORS,
    errno.ENFILE: NO_DESCRIPTORS,
    errno.EADDRNOTAVAIL: NO_PORTS,
    errno.ENOBUFS: NO_MEMORY,
    errno.ENOMEM: NO_MEMORY,
}
FAILURE = Failure(NO_DESCRIPTORS, "127.0.0.1 port 80: Too many open files", 0.001)


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_each_error_of_the_system_is_ours_or_not(number: int) -> None:
    error = OSError(number, os.strerror(number))
    assert shortage_reason(error) == OURS.get(number)
    assert (connect_reason(error) in SHORTAGES) == (number in OURS)


def test_a_resolver_without_a_descriptor_is_ours_and_an_unknown_name_is_not() -> None:
    async def failing(error: OSError) -> str:
        async def lookup(host: str, port: int) -> list[tuple[object, ...]]:
            raise error

        resolver = Resolver(asyncio.get_running_loop(), "recipient.test", 80, lookup)
        with pytest.raises(NoAnswer) as raised:
            await resolver.addresses()
        return raised.value.reason

    assert asyncio.run(failing(OSError(errno.EMFILE, "Too many open files"))) == NO_DESCRIPTORS
    assert asyncio.run(failing(socket.gaierror(socket.EAI_MEMORY, "no memory"))) == NO_MEMORY
    # The numbers of getaddrinfo are its own: this one is that of another error of the system.
    assert asyncio.run(failing(socket.gaierror(errno.EMFILE, "?"))) not in SHORTAGES
    assert asyncio.run(failing(socket.gaierror(socket.EAI_NONAME, "unknown"))) not in SHORTAGES


def test_the_addresses_that_were_reached_decide_unless_a_shortage_hid_one() -> None:
    assert decisive_reason([CONNECT_REFUSED]) == CONNECT_REFUSED
    assert decisive_reason([DENIED, CONNECT_REFUSED, CONNECT_TIMEOUT]) == CONNECT_TIMEOUT
    assert decisive_reason([DENIED, CONNECT_REFUSED, NO_DESCRIPTORS]) == NO_DESCRIPTORS
    assert decisive_reason([DENIED, NO_MEMORY, CONNECT_REFUSED]) == NO_MEMORY
    assert decisive_reason([DENIED, NO_PORTS, NO_PORTS]) == NO_PORTS
    # A machine without IPv6 says of ::1 that it has no such address: that doesn't excuse the recipient.
    assert decisive_reason([DENIED, CONNECT_REFUSED, NO_PORTS]) == CONNECT_REFUSED
    assert decisive_reason([DENIED, NO_PORTS, CONNECT_REFUSED]) == CONNECT_REFUSED


@pytest.mark.parametrize("reason", SHORTAGES)
def test_a_shortage_is_nobodys_fault_and_a_call_that_met_one_may_be_repeated(reason: str) -> None:
    outcome = judge(Failure(reason, "", 0.0), 1, DEFAULT_RULES, Backoff(1.0, 1.0), 0.5, 0.0)
    assert isinstance(outcome, Retry)
    assert not outcome.fault
    error = no_answer("ReceiveMessage", Failure(reason, "detail", 0.0))
    assert error.retriable
    assert RESULTS[result_place(error.code)] == "shortage"


def board() -> Scoreboard:
    board = Scoreboard.create({"sender": 2})
    for slot in board.slots("sender"):
        slot.words[scoreboard.STATE] = READY
    return board


@settings(deadline=None)
@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.sampled_from(SHORTAGES), st.integers(0, 64), st.floats(0.0, 3.0)), max_size=60),
)
def test_it_steps_back_to_what_works_and_always_comes_forward_again(
    most: int, strikes: list[tuple[str, int, float]]
) -> None:
    slot = board().slots("sender")[0]
    short, now = Shortage(slot, most), 100.0
    with capture_logs() as lines:
        for reason, under_way, pause in strikes:
            now += pause
            short.raise_cap(now)
            short.record_failure(Failure(reason, "", 0.0), under_way, now)
            assert 1 <= short.cap <= most
            assert short.cap <= max(1, under_way)
            assert short.is_stuck == (under_way == 0)
            assert slot.words[scoreboard.SHORT_OF] == SHORTAGES.index(reason) + 1
        steps = 0
        while short.reason:
            now += GROW_SECONDS
            short.raise_cap(now)
            steps += 1
            assert steps <= 32, "some 16 s from 1 to 64"
    assert short.cap == most
    assert slot.words[scoreboard.SHORT_OF] == 0
    assert sum(slot.words[scoreboard.SHORTAGES : scoreboard.SHORTAGES + 4]) == len(strikes)
    assert len([line for line in lines if line["log_level"] == "warning"]) <= 1 + (now - 100.0) / LOG_SECONDS


def test_what_senders_are_short_of_is_shown_of_those_that_beat_and_counts_when_it_lasts() -> None:
    those = board()
    first, second = those.slots("sender")
    for slot in (first, second):
        slot.reals[scoreboard.BEAT] = 100.0
    Shortage(first, 4).record_failure(FAILURE, 0, 100.0)
    assert shortages(those, 100.0) == {"file descriptors": 1}
    later = 100.0 + LASTING_SECONDS
    first.reals[scoreboard.BEAT] = second.reals[scoreboard.BEAT] = later
    assert lasting_shortage(those, later) == "", "the other one works"
    Shortage(second, 4).record_failure(FAILURE, 0, 100.0)
    assert lasting_shortage(those, later - 0.1) == ""
    assert lasting_shortage(those, later) == "file descriptors"
    assert lasting_shortage(those, later + scoreboard.SILENT_SECONDS) == "", "silent workers say nothing"
    assert set(RESOURCES) == {"file descriptors", "local ports", "memory", "threads"}


@pytest.mark.parametrize("reason", SHORTAGES)
async def test_a_message_that_found_no_connection_waits_for_one_and_is_charged_nothing(reason: str) -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(1, 60.0, 60.0)}, backoff=Backoff(60.0, 60.0))
    stage.put(*named("a"))
    stage.put(*named("b"))
    await stage.sends(2)
    stage.transport.posts[1].fail(reason)
    await until(lambda: stage.word(scoreboard.LIMIT) == 1)
    assert stage.word(scoreboard.IN_FLIGHT) == 2, "it is still held here"
    await stays(lambda: len(stage.transport.posts) == 2, 0.2)
    stage.transport.posts[0].answer()
    await stage.sends(3)
    assert stage.transport.posts[2].body == b"b"
    stage.transport.posts[2].answer()
    await stage.reports(*of_kind(DELIVERED, ["a", "b"]))
    assert stage.word(scoreboard.RETRIED) == stage.word(scoreboard.FAULTS_IN_ROW) == 0
    await until(lambda: stage.word(scoreboard.LIMIT) == 4)


async def test_with_no_connection_at_all_it_tries_again_in_place_and_says_that_it_takes_nothing() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(1, 60.0, 60.0)}, fifo=True)
    stage.put(*named("head", "tail", group="g"))
    await stage.sends(1)
    for attempt in range(1, 4):
        stage.transport.posts[-1].fail(NO_DESCRIPTORS)
        assert stage.word(scoreboard.LIMIT) == 0
        await stage.sends(attempt + 1)
    assert stage.sent() == ["head"] * 4
    stage.transport.posts[-1].fail(NO_DESCRIPTORS)
    stage.life.drain()
    await stage.reports(*of_kind(RELEASE, ["head", "tail"]))


async def test_a_probe_that_finds_no_descriptor_leaves_the_breaker_as_it_is_and_is_made_again() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(1, 0.05, 0.05)})
    stage.put(*named("a"))
    await stage.sends(1)
    stage.transport.posts[0].fail(CONNECT_REFUSED)
    await until(lambda: stage.transport.dials)
    openings = stage.word(scoreboard.OPENINGS)
    for attempt in range(1, 4):
        stage.transport.dials[-1](FAILURE)
        await until(lambda attempt=attempt: len(stage.transport.dials) > attempt)  # type: ignore[misc]
    assert stage.word(scoreboard.OPENINGS) == openings


async def test_what_is_held_for_want_of_a_connection_is_kept_when_the_breaker_opens() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(1, 60.0, 60.0)}, backoff=Backoff(60.0, 60.0))
    stage.put(*named("a"))
    stage.put(*named("b"))
    await stage.sends(2)
    stage.transport.posts[1].fail(NO_DESCRIPTORS)
    stage.transport.posts[0].fail(CONNECT_REFUSED)
    await until(lambda: stage.state() == breaker.OPEN)
    await stays(lambda: not stage.outcomes())
    stage.drain_all()
    await until(lambda: Outcome(RELEASE, "b") in stage.outcomes(), explain=stage.outcomes)
