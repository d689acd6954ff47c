"""The circuit breaker with a clock of our own: what several senders see together opens and closes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.breaker import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    Settings,
    View,
    after_fault,
    after_good,
    closed,
    faults_in_a_row,
    open_until,
    opened,
    should_open,
    state,
)

SETTINGS = Settings(threshold=5, cool_down=5.0, longest=60.0)


class Endpoint:
    """Some senders, and the breaker that their views make together."""

    def __init__(self, senders: int) -> None:
        self.views = [View() for _ in range(senders)]
        self.now = 100.0

    def good(self, sender: int) -> None:
        self.now += 0.01
        self.views[sender] = after_good(self.views[sender], self.now)

    def fault(self, sender: int) -> None:
        self.now += 0.01
        self.views[sender] = after_fault(self.views[sender], self.views, self.now)
        if should_open(self.views, SETTINGS) and self.state() == CLOSED:
            self.trip(sender)

    def trip(self, sender: int) -> None:
        self.views[sender] = opened(self.views[sender], self.views, SETTINGS, self.now)

    def state(self) -> int:
        return state(self.views, self.now)


def test_it_starts_closed() -> None:
    assert Endpoint(4).state() == CLOSED
    assert state([], 1.0) == CLOSED


@pytest.mark.parametrize("senders", [1, 2, 16])
def test_faults_of_all_senders_together_reach_the_threshold(senders: int) -> None:
    endpoint = Endpoint(senders)
    for n in range(4):
        endpoint.fault(n % senders)
    assert endpoint.state() == CLOSED
    endpoint.fault(4 % senders)
    assert endpoint.state() == OPEN


def test_a_good_answer_of_one_sender_forgets_the_faults_of_all() -> None:
    endpoint = Endpoint(4)
    for n in range(4):
        endpoint.fault(n)
    endpoint.good(2)
    assert faults_in_a_row(endpoint.views) == 0
    for n in range(4):
        endpoint.fault(n)
    assert endpoint.state() == CLOSED


@given(st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=200))
def test_it_opens_exactly_when_the_last_answers_of_all_senders_were_faults(answers: list[tuple[int, bool]]) -> None:
    endpoint = Endpoint(8)
    row = 0
    for sender, good in answers:
        if good:
            endpoint.good(sender)
            row = 0
        else:
            endpoint.fault(sender)
            row += 1
        assert faults_in_a_row(endpoint.views) == row
        if row >= SETTINGS.threshold:
            assert endpoint.state() == OPEN
            return
        assert endpoint.state() == CLOSED


def test_it_is_half_open_after_its_cool_down_and_closed_by_a_probe() -> None:
    endpoint = Endpoint(2)
    endpoint.trip(0)
    endpoint.now += 4.9
    assert endpoint.state() == OPEN
    endpoint.now += 0.2
    assert endpoint.state() == HALF_OPEN
    endpoint.views[1] = closed(endpoint.views[1], endpoint.now)
    assert endpoint.state() == CLOSED


def test_each_failed_probe_doubles_the_cool_down_up_to_the_longest_and_success_forgets_it() -> None:
    endpoint = Endpoint(2)
    waits = []
    for n in range(6):
        endpoint.trip(n % 2)
        waits.append(open_until(endpoint.views) - endpoint.now)
        endpoint.now = open_until(endpoint.views) + 0.1
    assert waits == pytest.approx([5, 10, 20, 40, 60, 60])
    endpoint.views[0] = closed(endpoint.views[0], endpoint.now)
    endpoint.now += 1
    endpoint.trip(1)
    assert open_until(endpoint.views) - endpoint.now == pytest.approx(5)


def test_a_sender_that_is_gone_leaves_its_view_and_so_the_state() -> None:
    endpoint = Endpoint(3)
    endpoint.trip(0)
    # Its slot is taken over by a new process, which starts with the words that it finds.
    endpoint.fault(0)
    assert endpoint.state() == OPEN


def test_a_threshold_of_nothing_never_opens() -> None:
    view = View()
    for n in range(1000):
        view = after_fault(view, [view], float(n + 1))
    assert not should_open([view], Settings(0, 5.0, 60.0))
