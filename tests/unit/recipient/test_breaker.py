"""The circuit breaker with a clock of our own: what several senders see together opens and closes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.recipient.breaker import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    START_SECONDS,
    BreakerOptions,
    View,
    adopted,
    after_fault,
    after_good,
    closed,
    cut_short,
    faults_in_a_row,
    is_start,
    newest,
    opened,
    should_open,
    start_is_over,
    state,
)

SETTINGS = BreakerOptions(threshold=5, cool_down=1.0, longest=60.0)


class Recipient:
    """Some senders, and the breaker that their views make together; its start is over."""

    def __init__(self, senders: int) -> None:
        self.now = 100.0
        self.views = [View(closed_at=self.now) for _ in range(senders)]

    def good(self, sender: int) -> None:
        self.now += 0.01
        self.views[sender] = after_good(self.views[sender], self.now)

    def fault(self, sender: int) -> None:
        self.now += 0.01
        self.views[sender] = after_fault(self.views[sender], self.views, self.now)
        if should_open(self.views, SETTINGS.threshold) and self.state() == CLOSED:
            self.trip(sender)

    def trip(self, sender: int) -> None:
        self.views[sender] = opened(self.views[sender], self.views, SETTINGS, self.now)

    def close(self, sender: int) -> None:
        self.views[sender] = closed(self.views[sender], self.views, self.now)

    def state(self) -> int:
        return state(self.views, self.now)


def test_without_any_view_it_is_half_open_as_at_the_start() -> None:
    assert state([], 1.0) == state([View(), View()], 1.0) == HALF_OPEN
    assert is_start([View(faults=3, fault_at=1.0)])
    assert not is_start([View(), View(closed_at=1.0)])


def test_a_start_is_over_a_second_after_the_first_delivery_or_the_last_refusal() -> None:
    views = [View(tried_at=10.0), View(tried_at=10.5)]
    assert not start_is_over([View()], 1e9)
    assert not start_is_over(views, 10.0 + 0.9 * START_SECONDS)
    assert start_is_over(views, 10.0 + START_SECONDS)
    views.append(View(refused_at=10.9, refusals=1))
    assert not start_is_over(views, 10.0 + START_SECONDS)
    assert start_is_over(views, 10.9 + START_SECONDS)


@pytest.mark.parametrize("senders", [1, 2, 16])
def test_faults_of_all_senders_together_reach_the_threshold(senders: int) -> None:
    recipient = Recipient(senders)
    for n in range(4):
        recipient.fault(n % senders)
    assert recipient.state() == CLOSED
    recipient.fault(4 % senders)
    assert recipient.state() == OPEN


def test_a_good_answer_of_one_sender_forgets_the_faults_of_all() -> None:
    recipient = Recipient(4)
    for n in range(4):
        recipient.fault(n)
    recipient.good(2)
    assert faults_in_a_row(recipient.views) == 0
    for n in range(4):
        recipient.fault(n)
    assert recipient.state() == CLOSED


def test_faults_that_a_good_answer_forgot_stay_forgotten_when_the_sender_that_saw_it_is_gone() -> None:
    recipient = Recipient(2)
    for _ in range(4):
        recipient.fault(0)
    recipient.good(1)
    recipient.views[0] = adopted(recipient.views[0], recipient.views)
    assert faults_in_a_row(recipient.views[:1]) == 0


@given(st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=200))
def test_it_opens_exactly_when_the_last_answers_of_all_senders_were_faults(answers: list[tuple[int, bool]]) -> None:
    recipient = Recipient(8)
    row = 0
    for sender, good in answers:
        if good:
            recipient.good(sender)
            row = 0
        else:
            recipient.fault(sender)
            row += 1
        assert faults_in_a_row(recipient.views) == row
        if row >= SETTINGS.threshold:
            assert recipient.state() == OPEN
            return
        assert recipient.state() == CLOSED


def test_it_is_half_open_after_its_cool_down_and_closed_by_a_probe() -> None:
    recipient = Recipient(2)
    recipient.trip(0)
    recipient.now += 0.9
    assert recipient.state() == OPEN
    recipient.now += 0.2
    assert recipient.state() == HALF_OPEN
    recipient.close(1)
    assert recipient.state() == CLOSED


def test_it_is_probed_each_second_in_the_first_minute_then_at_each_sixtieth_of_the_outage_and_every_eight_seconds() -> (
    None
):
    recipient = Recipient(2)
    began = recipient.now
    probes: list[tuple[float, float]] = []
    while recipient.now - began < 3600.0:
        recipient.trip(len(probes) % 2)
        until = newest(recipient.views).open_until
        probes.append((recipient.now - began, until - recipient.now))
        recipient.now = until
    for age, pause in probes:
        assert pause == pytest.approx(min(8.0, max(1.0, age / 60)))
    recipient.close(0)
    recipient.now += 1
    recipient.trip(1)
    assert newest(recipient.views).open_until - recipient.now == pytest.approx(1.0)
    assert newest(recipient.views).trips == 1


def test_what_opened_it_first_holds_until_it_is_closed() -> None:
    recipient = Recipient(1)
    recipient.views[0] = opened(recipient.views[0], recipient.views, SETTINGS, 101.0, refusals=(20, 25, 404))
    recipient.views[0] = opened(recipient.views[0], recipient.views, SETTINGS, 105.0, unreachable=True)
    view = recipient.views[0]
    assert (view.refused, view.answers, view.status, view.unreachable, view.since) == (20, 25, 404, 1, 101.0)


def test_events_of_one_instant_stand_in_the_order_in_which_they_were_seen() -> None:
    recipient = Recipient(2)
    for sender in (0, 1, 0):
        recipient.trip(sender)
        assert recipient.state() == OPEN
        recipient.close(1 - sender)
        assert recipient.state() == CLOSED


def test_a_cool_down_that_is_cut_short_is_so_for_all() -> None:
    recipient = Recipient(3)
    recipient.trip(0)
    recipient.views[1] = cut_short(recipient.views[1], recipient.views, recipient.now)
    assert recipient.state() == HALF_OPEN
    assert newest(recipient.views).trips == 1


EVENTS = st.tuples(st.sampled_from(["trip", "close", "adopt", "stop"]), st.integers(0, 3))


@given(st.lists(EVENTS, max_size=60))
def test_what_all_adopt_outlives_any_of_them_and_one_that_comes_back_undoes_nothing(
    events: list[tuple[str, int]],
) -> None:
    recipient, stopped = Recipient(4), set[int]()
    for what, sender in events:
        recipient.now += 1.5
        heard = [n for n in range(4) if n not in stopped]
        views = [recipient.views[n] for n in heard]
        if what == "stop" and len(heard) > 1:
            stopped.add(sender)
        elif what == "trip" and sender in heard:
            recipient.views[sender] = opened(recipient.views[sender], views, SETTINGS, recipient.now)
        elif what == "close" and sender in heard:
            recipient.views[sender] = closed(recipient.views[sender], views, recipient.now)
        # Whoever lives looks before anybody else may fall silent.
        for n in (n for n in range(4) if n not in stopped):
            recipient.views[n] = adopted(recipient.views[n], [recipient.views[m] for m in heard])
        live = [recipient.views[n] for n in range(4) if n not in stopped]
        assert len({state([view], recipient.now) for view in live}) == 1
        assert state(live, recipient.now) == recipient.state(), "those that come back now change nothing"


def test_a_threshold_of_nothing_is_never_reached() -> None:
    view = View()
    for n in range(1000):
        view = after_fault(view, [view], float(n + 1))
    assert not should_open([view], 0)
