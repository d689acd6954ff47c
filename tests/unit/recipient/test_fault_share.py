"""How often the recipient fails, counted over all senders."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard
from courier.recipient.fault_share import COUNTED, ENOUGH_ATTEMPTS, REPORT_SECONDS, WINDOW_SECONDS, FaultShare


class Shares:
    """Two senders on a board."""

    def __init__(self) -> None:
        self.board = Scoreboard.create({"sender": 2})
        self.slots = self.board.slots("sender")
        self.all = [FaultShare(slot, self.board) for slot in self.slots]
        self.refresh(100.0)

    def refresh(self, now: float) -> None:
        for share in self.all:
            share.refresh(now)

    def count(
        self, *, faulted: int = 0, delivered: int = 0, again: int = 0, revived: int = 0, met_fault: bool = True
    ) -> None:
        for n in range(faulted):
            self.all[n % 2].failed()
        for n in range(again):
            self.all[n % 2].tried_again(delivered=n < revived, met_fault=met_fault)
        self.slots[0].words[scoreboard.DELIVERED] += delivered

    def states(self) -> list[tuple[bool, bool]]:
        return [(share.is_high, share.is_often) for share in self.all]


@pytest.mark.parametrize(
    ("faulted", "delivered", "is_high"),
    [(19, 0, False), (20, 0, True), (20, 20, True), (20, 300, False), (200, 800, False)],
)
def test_the_share_is_high_if_clearly_more_than_a_fifth_fail(faulted: int, delivered: int, is_high: bool) -> None:
    shares = Shares()
    shares.count(faulted=faulted, delivered=delivered)
    shares.refresh(101.0)
    assert shares.states() == [(is_high, False)] * 2
    percent = 100 * faulted // (faulted + delivered) if is_high else 0
    assert [slot.words[scoreboard.FAULT_PERCENT] for slot in shares.slots] == [percent] * 2


def test_messages_that_were_returned_untried_do_not_raise_the_share() -> None:
    """As after an outage: all are at a further receive, and none of those that are delivered had failed."""
    shares = Shares()
    shares.count(faulted=30, delivered=970, again=1000, revived=970, met_fault=False)
    shares.refresh(101.0)
    assert shares.states() == [(False, False)] * 2


@pytest.mark.parametrize(
    ("again", "revived", "is_often"),
    [
        *((0, 0, False), (4, 4, False), (10, 4, False), (10, 5, True)),
        *((ENOUGH_ATTEMPTS - 1, 7, False), (100, 5, False), (100, 10, True)),
    ],
)
def test_trying_again_must_be_seen_to_work(again: int, revived: int, is_often: bool) -> None:
    shares = Shares()
    shares.count(faulted=100, delivered=50, again=again, revived=revived)
    shares.refresh(101.0)
    assert shares.states() == [(True, is_often)] * 2


@pytest.mark.parametrize(("rate", "within"), [(1000, 2.0), (100, 4.0), (20, 6.0)])
@pytest.mark.parametrize("healthy", [1.0, WINDOW_SECONDS, 3 * WINDOW_SECONDS])
def test_a_minute_of_health_does_not_hide_that_half_of_the_messages_fail_now(
    rate: int, within: float, healthy: float
) -> None:
    """Each failed message comes again from its queue a second later, at the most twice before it is a dead letter."""
    shares = Shares()
    at, step = 100.0, 0.2
    while at < 100.0 + healthy:
        at += step
        shares.count(delivered=int(rate * step))
        shares.refresh(at)
    assert shares.states() == [(False, False)] * 2
    began, half = at, int(rate * step) // 2
    while at < began + within:
        at += step
        again = half if at - began > 1.0 else 0
        shares.count(faulted=half + again // 2, delivered=half + again // 2, again=again, revived=again // 2)
        shares.refresh(at)
    assert shares.states() == [(True, True)] * 2
    while at < began + within + 10.0:
        at += step
        shares.count(faulted=half, delivered=half, again=half, revived=half // 2)
        shares.refresh(at)
        assert shares.states() == [(True, True)] * 2


def test_once_high_further_attempts_keep_it_so_until_they_succeed_or_the_window_is_over() -> None:
    shares = Shares()
    shares.count(faulted=100, delivered=50, again=100, revived=25)
    shares.refresh(101.0)
    at = 101.0
    while at < 101.0 + 2 * WINDOW_SECONDS:
        at += 1.0
        shares.count(again=4, revived=1, delivered=1)
        shares.refresh(at)
    assert shares.states() == [(True, True)] * 2
    while at < 101.0 + 4 * WINDOW_SECONDS:
        at += 1.0
        shares.count(delivered=10)
        shares.refresh(at)
    assert shares.states() == [(False, False)] * 2


def test_an_outage_that_is_over_says_nothing_of_now() -> None:
    shares = Shares()
    shares.count(faulted=100)
    shares.refresh(101.0)
    shares.all[0].reset()
    assert shares.states()[0] == (False, False)
    assert shares.slots[0].words[scoreboard.FAULT_PERCENT] == 0
    shares.refresh(102.0)
    assert shares.states()[0] == (False, False)


def test_the_first_sender_reports_it_once_a_minute() -> None:
    shares = Shares()
    shares.count(faulted=100, delivered=100)
    shares.refresh(101.0)
    with capture_logs() as logs:
        for second in range(int(REPORT_SECONDS) + 1):
            shares.all[0].report(101.0 + second, is_first=lambda: True)
            shares.all[1].report(101.0 + second, is_first=lambda: False)
    assert [line["reason"] for line in logs] == ["50 % of the messages met a fault within the last minute"] * 2
    assert {line["log_level"] for line in logs} == {"warning"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.1, 1.0, 20.0, WINDOW_SECONDS + 1.0]),
            st.lists(st.tuples(st.sampled_from(COUNTED), st.integers(0, 50)), max_size=5),
        ),
        max_size=8,
    )
)
@example([(1.0, [(scoreboard.MENDED, 1)])])
def test_counts_in_any_order_of_growth_are_read(steps: list[tuple[float, list[tuple[int, int]]]]) -> None:
    """Another sender's counts are read between any two lines of it."""
    shares = Shares()
    now = 100.0
    for seconds, growths in steps:
        now += seconds
        for word, growth in growths:
            shares.slots[1].words[word] += growth
        shares.refresh(now)
        for share in shares.all:
            assert 0 <= share.percent <= 100
            assert share.is_high or not share.is_often


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 1, 5, 100]), st.sampled_from([0, 0, 0, 15, 40]), st.sampled_from([0, 1, 30, 1000])
        ),
        max_size=8,
    )
)
@example([(100, 0, 1000), (1, 40, 30), (5, 0, 0)])
@example([(1, 0, 0), (5, 40, 30), (100, 40, 1)])
def test_one_that_only_watches_while_all_is_well_finds_the_same_share_as_one_that_always_refreshes(
    steps: list[tuple[int, int, int]],
) -> None:
    shares = Shares()
    watching, refreshing = shares.all
    now = 100.0
    for seconds, faulted, delivered in steps:
        shares.count(faulted=faulted)
        for _ in range(seconds):
            now += 1.0
            shares.count(delivered=delivered)
            if not watching.watch(now):
                watching.refresh(now)
            refreshing.refresh(now)
            found = [(share.is_high, share.is_often, share.percent, share.is_busy(now)) for share in shares.all]
            assert found[0] == found[1]
