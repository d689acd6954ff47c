"""What a sender may send: its part of limits, and the endpoint's state as all senders know it. Time is passed in."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest

from courier.breaker import CLOSED, HALF_OPEN, OPEN, Settings
from courier.endpoint import (
    LOST_PROBE_SECONDS,
    SPIKE_MINIMUM,
    STARTING_SECONDS,
    WORTH_RELEASING_SECONDS,
    Endpoint,
    Limits,
    breaker_state,
    paused_until,
)
from courier.policy import Rejected, Retry
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard

START = 1000.0
LATER = START + STARTING_SECONDS
BREAKER = Settings(3, 5.0, 60.0)
FAULT = Retry(0.0, "status 503", 503, fault=True)
REJECTED = Rejected("status 404", 404)


class Senders:
    """The endpoints of several senders on one scoreboard, all alive."""

    def __init__(self, count: int = 1, **limits: Any) -> None:
        self.board = Scoreboard.create({"sender": count + 1, "consumer": 1})
        given: dict[str, Any] = {"concurrency": 8, "rate": None, "in_flight": None, "adaptive": False}
        given |= {"breaker": BREAKER, "reject_share": 0.0, "reject_window": 60.0, "senders": count}
        self.limits = Limits(**(given | limits))
        self.all: list[Endpoint] = []
        for index in range(count):
            self.board.slots("sender")[index].words[scoreboard.STATE] = scoreboard.READY
            self.all.append(self.join(index, START))
        self.look(START)

    def join(self, index: int, now: float) -> Endpoint:
        return Endpoint(self.board.slots("sender")[index], self.board, self.limits, now)

    def look(self, now: float) -> None:
        for endpoint in self.all:
            endpoint.look(now)

    def gone(self, index: int) -> None:
        self.board.slots("sender")[index].words[scoreboard.STATE] = scoreboard.EMPTY


def test_the_limit_stands_on_the_board_for_the_consumers() -> None:
    senders = Senders(2)
    assert [endpoint.limit for endpoint in senders.all] == [8, 8]
    assert senders.board.total(scoreboard.LIMIT) == 16


def test_each_fault_in_a_row_takes_a_slot_down_to_one_and_a_good_answer_gives_all_back() -> None:
    senders = Senders(breaker=Settings(0, 1.0, 1.0))
    (endpoint,) = senders.all
    limits = []
    for n in range(9):
        endpoint.bad(FAULT, 0.1, 1, LATER + n / 100)
        limits.append(endpoint.limit)
    assert limits == [7, 6, 5, 4, 3, 2, 1, 1, 1]
    assert endpoint.good(0.1, 1, LATER + 1)
    assert endpoint.limit == 8
    assert not endpoint.good(0.1, 1, LATER + 1)


def test_a_failure_that_is_no_fault_of_the_endpoint_takes_no_slot() -> None:
    senders = Senders()
    senders.all[0].bad(Retry(1.0, "status 404", 404), 0.1, 1, LATER)
    assert senders.all[0].limit == 8


def test_the_faults_of_all_senders_open_the_breaker_for_all() -> None:
    senders = Senders(3)
    for n, endpoint in enumerate(senders.all):
        endpoint.bad(FAULT, 0.1, 1, LATER + n / 100)
    senders.look(LATER + 0.1)
    assert {endpoint.state for endpoint in senders.all} == {OPEN}
    assert all(endpoint.shut and endpoint.limit == 0 for endpoint in senders.all)
    assert breaker_state(senders.board) == OPEN
    assert senders.all[0].seconds_shut(LATER + 1.02) == pytest.approx(4.0)


def test_a_good_answer_of_one_sender_forgets_the_faults_of_the_others() -> None:
    senders = Senders(3)
    senders.all[0].bad(FAULT, 0.1, 1, LATER)
    senders.all[1].bad(FAULT, 0.1, 1, LATER + 0.1)
    senders.all[2].good(0.1, 1, LATER + 0.2)
    senders.all[0].bad(FAULT, 0.1, 1, LATER + 0.3)
    senders.look(LATER + 0.4)
    assert {endpoint.state for endpoint in senders.all} == {CLOSED}


def opened(senders: Senders) -> float:
    """Open the breaker, and give the instant at which it is half-open."""
    for n in range(3):
        senders.all[0].bad(FAULT, 0.1, 1, LATER + n / 100)
    return LATER + 0.02 + 5.0


def test_the_first_living_sender_probes_a_half_open_endpoint_and_no_other() -> None:
    senders = Senders(3)
    half_open = opened(senders)
    senders.look(half_open)
    assert [(e.probing, e.limit, e.shut) for e in senders.all] == [
        (True, 1, False),
        (False, 0, False),
        (False, 0, False),
    ]
    senders.gone(0)
    senders.look(half_open)
    assert [endpoint.probing for endpoint in senders.all[1:]] == [True, False]


def test_a_probe_that_is_answered_closes_the_breaker_and_the_load_comes_back_by_doubling() -> None:
    senders = Senders(2)
    half_open = opened(senders)
    senders.look(half_open)
    senders.all[0].good(0.1, 1, half_open + 0.1)
    senders.look(half_open + 0.2)
    assert {endpoint.state for endpoint in senders.all} == {CLOSED}
    assert [endpoint.limit for endpoint in senders.all] == [1, 1]
    limits = []
    for trip in range(5):
        for _ in range(senders.all[1].limit):
            senders.all[1].good(0.1, 1, half_open + 0.3 + trip / 10)
        limits.append(senders.all[1].limit)
    assert limits == [2, 4, 8, 8, 8]


def test_a_probe_that_fails_opens_it_again_for_twice_as_long() -> None:
    senders = Senders(2)
    half_open = opened(senders)
    senders.look(half_open)
    senders.all[0].bad(FAULT, 0.1, 1, half_open)
    assert senders.all[0].state == OPEN
    assert senders.all[0].seconds_shut(half_open) == pytest.approx(10.0)


def test_a_connection_that_fails_opens_it_again_and_one_that_stands_asks_for_a_message() -> None:
    senders = Senders()
    (endpoint,) = senders.all
    half_open = opened(senders)
    endpoint.look(half_open)
    assert endpoint.wants_connection(half_open)
    endpoint.connected("connection refused", half_open)
    assert endpoint.state == OPEN
    half_open += 10.0
    endpoint.look(half_open)
    endpoint.connected(None, half_open)
    assert not endpoint.wants_connection(half_open + 1.0)
    assert senders.board.slots("sender")[0].reals[scoreboard.PROBE_WANTED] == half_open
    assert endpoint.wants_connection(half_open + LOST_PROBE_SECONDS), "its probe was never brought"


def test_a_sender_that_does_not_probe_changes_nothing_by_a_connection() -> None:
    senders = Senders(2)
    half_open = opened(senders)
    senders.look(half_open)
    senders.all[1].connected("connection refused", half_open)
    assert not senders.all[1].wants_connection(half_open)
    assert senders.all[1].state == HALF_OPEN


def test_a_long_pause_gives_back_what_is_at_hand_and_a_short_one_waits_it_out() -> None:
    senders = Senders(2)
    senders.all[0].bad(Retry(0.5, "status 429", 429, slow_down=0.5), 0.1, 1, LATER)
    senders.look(LATER + 0.1)
    assert [(endpoint.limit, endpoint.shut) for endpoint in senders.all] == [(0, False)] * 2
    senders.all[1].bad(Retry(9.0, "status 429", 429, slow_down=9.0), 0.1, 1, LATER + 0.1)
    senders.look(LATER + 0.2)
    assert [(endpoint.limit, endpoint.shut) for endpoint in senders.all] == [(0, True)] * 2
    assert paused_until(senders.board) == LATER + 9.1
    senders.look(LATER + 9.2 - WORTH_RELEASING_SECONDS)
    assert [(endpoint.limit, endpoint.shut) for endpoint in senders.all] == [(0, False)] * 2
    senders.look(LATER + 9.2)
    assert [endpoint.limit for endpoint in senders.all] == [1, 1], (
        "as after an outage, the load comes back step by step"
    )


def test_no_pause_is_longer_than_the_longest_cool_down() -> None:
    senders = Senders()
    senders.all[0].bad(Retry(43_200.0, "status 503", 503, slow_down=43_200.0), 0.1, 1, LATER)
    assert paused_until(senders.board) == LATER + BREAKER.longest


def test_a_limit_in_flight_is_parted_among_those_that_are_alive() -> None:
    senders = Senders(3, in_flight=10)
    senders.look(LATER)
    assert sum(endpoint.limit for endpoint in senders.all) == 10
    senders.gone(1)
    senders.all.pop(1)
    senders.look(LATER)
    assert [endpoint.limit for endpoint in senders.all] == [5, 5]


def test_the_first_to_start_takes_no_more_than_its_part_of_a_limit_in_flight() -> None:
    senders = Senders(4, in_flight=4)
    for index in range(1, 4):
        senders.gone(index)
    first = senders.join(0, START)
    assert first.limit == 1
    first.look(LATER)
    assert first.limit == 4


def begins(endpoint: Endpoint, now: float) -> bool:
    """Begin a delivery where the rate limit lets it."""
    if endpoint.wait(now):
        return False
    endpoint.spend(now)
    return True


def test_a_rate_is_parted_among_senders_and_comes_evenly_spaced() -> None:
    senders = Senders(2, rate=10.0)
    tokens = 0
    for milli in range(1000, 3000):
        now = LATER + milli / 1000
        tokens += sum(begins(endpoint, now) for endpoint in senders.all)
    assert 20 <= tokens <= 22


def test_the_first_tokens_of_several_senders_come_one_after_another() -> None:
    senders = Senders(4, rate=4.0)
    assert [endpoint.wait(START) for endpoint in senders.all] == pytest.approx([0.001, 0.25, 0.5, 0.75], abs=0.001)


@pytest.mark.parametrize("in_flight", [1, 2, 3, 4, 7])
def test_a_rate_is_parted_among_those_that_may_send_at_all(in_flight: int) -> None:
    senders = Senders(4, rate=40.0, in_flight=in_flight)
    senders.look(LATER)
    sending = [endpoint for endpoint in senders.all if endpoint.limit]
    assert len(sending) == min(in_flight, 4)
    firsts = sorted(endpoint.wait(START) for endpoint in sending)
    tokens = 0
    for milli in range(2000):
        tokens += sum(begins(endpoint, LATER + milli / 1000) for endpoint in sending)
    assert tokens == pytest.approx(80, abs=5)
    assert firsts == pytest.approx([n / 40.0 for n in range(len(sending))], abs=0.002)


def test_the_instant_of_the_next_token_stands_on_the_board_for_the_consumers() -> None:
    senders = Senders(2, rate=0.2)
    assert senders.board.real_column(scoreboard.TOKEN_AT, "sender")[:2] == [START, START + 5.0]
    senders.all[0].spend(START)
    assert senders.board.real_column(scoreboard.TOKEN_AT, "sender")[:2] == [START + 10.0, START + 5.0]
    senders.gone(0)
    senders.all[1].look(LATER)
    assert senders.board.real_column(scoreboard.TOKEN_AT, "sender")[1] == LATER + 2.0


def test_while_a_packet_is_taken_for_a_token_no_consumer_sees_the_token() -> None:
    senders = Senders(1, rate=0.2)
    (endpoint,) = senders.all
    endpoint.reserve(taking=True)
    endpoint.look(LATER)
    assert senders.board.real_column(scoreboard.TOKEN_AT, "sender")[0] == math.inf
    endpoint.spend(LATER)
    endpoint.reserve(taking=False)
    assert senders.board.real_column(scoreboard.TOKEN_AT, "sender")[0] == START + 5.0


def test_without_a_rate_nothing_waits() -> None:
    assert Senders().all[0].wait(LATER) == 0.0


def test_so_many_rejections_that_the_endpoint_must_be_wrong_open_the_breaker() -> None:
    senders = Senders(2, reject_share=0.5)
    words = [slot.words for slot in senders.board.slots("sender")]
    words[0][scoreboard.DELIVERED] = 5
    opening = []
    for n in range(SPIKE_MINIMUM):
        opening.append(senders.all[0].rejected(REJECTED, 0.1, 1, LATER + n / 10))
        words[0][scoreboard.REJECTED] += not opening[-1]
    assert opening == [False] * (SPIKE_MINIMUM - 1) + [True]
    assert senders.all[0].state == OPEN


def spiked(senders: Senders, now: float) -> float:
    """Let rejections open the breaker, and give the instant at which it is half-open."""
    for _ in range(SPIKE_MINIMUM):
        if senders.all[0].rejected(REJECTED, 0.1, 1, now):
            senders.look(now)
            return now + 5.0
        senders.board.slots("sender")[0].words[scoreboard.REJECTED] += 1
    raise AssertionError("the breaker stays closed")


def test_a_rejected_probe_after_a_spike_is_a_failed_one_whichever_sender_brings_it() -> None:
    senders = Senders(3, reject_share=0.5)
    half_open = spiked(senders, LATER)
    # The one that opened it is gone; another, in its turn a new process in an old slot, probes.
    senders.gone(0)
    second = senders.all[1] = senders.join(1, half_open)
    waits = []
    for _ in range(3):
        second.look(half_open)
        assert second.probing
        assert second.rejected(REJECTED, 0.1, 1, half_open)
        assert second.state == OPEN
        assert second.shut
        waits.append(second.seconds_shut(half_open))
        half_open += waits[-1]
    assert waits == pytest.approx([10.0, 20.0, 40.0])


def test_a_delivered_probe_after_a_spike_closes_it_and_only_new_rejections_count() -> None:
    senders = Senders(2, reject_share=0.5)
    half_open = spiked(senders, LATER)
    senders.look(half_open)
    assert senders.all[0].good(0.1, 1, half_open)
    senders.look(half_open)
    for endpoint in senders.all:
        assert endpoint.state == CLOSED
        assert not endpoint.rejected(REJECTED, 0.1, 1, half_open + 0.1)
    again = spiked(senders, half_open + 1.0)
    assert again == half_open + 6.0
    assert senders.all[1].seconds_shut(half_open + 1.0) == pytest.approx(5.0)


def test_a_rejected_probe_after_an_outage_is_an_answer_and_closes_it() -> None:
    senders = Senders(2, reject_share=0.5)
    half_open = spiked(senders, LATER)
    senders.look(half_open)
    senders.all[0].good(0.1, 1, half_open)
    senders.look(half_open)
    for n in range(3):
        senders.all[1].bad(FAULT, 0.1, 1, half_open + 1 + n / 100)
    half_open += 1.02 + 5.0
    senders.look(half_open)
    assert not senders.all[0].rejected(REJECTED, 0.1, 1, half_open)
    assert senders.all[0].state == CLOSED


def test_a_receiver_that_goes_down_amid_a_spike_must_still_take_a_message_before_it_closes() -> None:
    senders = Senders(2, reject_share=0.5)
    half_open = spiked(senders, LATER)
    senders.look(half_open)
    senders.all[0].connected("connection refused", half_open)
    half_open += 10.0
    senders.look(half_open)
    assert senders.all[0].rejected(REJECTED, 0.1, 1, half_open)
    assert senders.all[0].state == OPEN


def test_senders_that_see_one_spike_at_the_same_moment_open_the_breaker_once() -> None:
    senders = Senders(8, reject_share=0.5)
    for endpoint in senders.all:
        endpoint.rejected(REJECTED, 0.1, 1, LATER)
    senders.board.slots("sender")[0].words[scoreboard.REJECTED] += SPIKE_MINIMUM + 5
    for endpoint in senders.all:
        assert endpoint.rejected(REJECTED, 0.1, 1, LATER + 0.01)
    assert senders.board.total(scoreboard.OPENINGS) == 1
    assert senders.all[0].seconds_shut(LATER + 0.01) == pytest.approx(5.0)


def test_rejections_among_many_deliveries_are_the_messages_own() -> None:
    senders = Senders(reject_share=0.5)
    words = senders.board.slots("sender")[0].words
    for n in range(100):
        assert not senders.all[0].rejected(REJECTED, 0.1, 1, LATER + n / 10)
        words[scoreboard.REJECTED] += 1
        words[scoreboard.DELIVERED] += 2


def test_rejections_long_ago_do_not_count() -> None:
    senders = Senders(reject_share=0.5, reject_window=60.0)
    words = senders.board.slots("sender")[0].words
    for n in range(SPIKE_MINIMUM * 4):
        assert not senders.all[0].rejected(REJECTED, 0.1, 1, LATER + n * 10)
        words[scoreboard.REJECTED] += 1


@pytest.mark.parametrize("apart", [61.0, 59.0])
def test_a_spike_is_seen_at_once_however_much_was_delivered_since_an_old_rejection(apart: float) -> None:
    senders = Senders(2, reject_share=0.5, reject_window=60.0)
    words = senders.board.slots("sender")[0].words
    assert not senders.all[0].rejected(REJECTED, 0.1, 1, LATER)
    words[scoreboard.REJECTED] += 1
    words[scoreboard.DELIVERED] += 6000
    assert spiked(senders, LATER + apart) == LATER + apart + 5.0


def test_a_spike_is_seen_at_once_beneath_rejections_now_and_then() -> None:
    senders = Senders(2, reject_share=0.5, reject_window=60.0)
    words = senders.board.slots("sender")[0].words
    for n in range(200):
        assert not senders.all[0].rejected(REJECTED, 0.1, 1, LATER + n)
        words[scoreboard.REJECTED] += 1
        words[scoreboard.DELIVERED] += 1000
    assert spiked(senders, LATER + 200) == LATER + 205


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_share_of_rejections_well_below_the_limit_is_no_spike_in_whatever_order_they_come(share: float) -> None:
    senders = Senders(reject_share=0.5, reject_window=60.0)
    words = senders.board.slots("sender")[0].words
    random = Random(7)
    for n in range(20_000):
        if random.random() >= share:
            words[scoreboard.DELIVERED] += 1
        else:
            assert not senders.all[0].rejected(REJECTED, 0.1, 1, LATER + n / 1000)
            words[scoreboard.REJECTED] += 1


def test_a_sender_that_leaves_shows_no_slots_whatever_its_last_answers_are() -> None:
    senders = Senders()
    (endpoint,) = senders.all
    endpoint.leave()
    endpoint.bad(FAULT, 0.1, 1, LATER)
    endpoint.good(0.1, 1, LATER + 0.1)
    assert endpoint.limit == 0
    assert senders.board.total(scoreboard.LIMIT) == 0
