"""The breaker of several senders against one that a single owner would keep: whatever happens, they are the same.

Senders answer, die and come back in any order on a clock of our own; each knows of the others by the scoreboard alone.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.breaker import CLOSED, HALF_OPEN, OPEN
from courier.endpoint import SPIKE_MINIMUM
from courier.process import scoreboard
from tests.unit.test_endpoint import BREAKER, FAULT, LATER, REJECTED, Senders

SENDERS = 3
GOOD = "an answer"
BAD = "a fault"
REJECTION = "a rejection"
SPIKE = "rejections until the breaker opens"
UNREACHABLE = "no connection"
REPLACED = "killed, and a new process in its slot"
GONE = "gone"
BACK = "back"

STEPS = st.tuples(
    st.sampled_from([GOOD, BAD, BAD, BAD, REJECTION, SPIKE, UNREACHABLE, REPLACED, GONE, BACK]),
    st.integers(0, SENDERS - 1),
    # Moments, about a cool-down, and longer than any.
    st.sampled_from([0.01, 0.01, 0.01, 4.0, 5.0, 61.0]),
)


class Owner:
    """The breaker as one process would keep it that sees everything."""

    def __init__(self) -> None:
        self.is_open = False
        self.spike = False
        self.open_until = 0.0
        self._row = 0
        self._trips = 0

    def state(self, now: float) -> int:
        if not self.is_open:
            return CLOSED
        return OPEN if now < self.open_until else HALF_OPEN

    def good(self, now: float, *, probe: bool) -> None:
        self._row = 0
        if probe and self.state(now) == HALF_OPEN:
            self.is_open = False
            self._trips = 0

    def fault(self, now: float, *, probe: bool) -> None:
        self._row += 1
        if self.state(now) == CLOSED and self._row >= BREAKER.threshold:
            self.open(now, spike=False)
        elif self.state(now) == HALF_OPEN and probe:
            self.open(now, spike=self.spike)

    def rejection(self, now: float, *, probe: bool) -> None:
        if probe and self.state(now) == HALF_OPEN and self.spike:
            self.open(now, spike=True)
        else:
            self.good(now, probe=probe)

    def open(self, now: float, *, spike: bool) -> None:
        self.is_open = True
        self.spike = spike
        self._trips += 1
        self.open_until = now + min(BREAKER.longest, BREAKER.cool_down * 2.0 ** (self._trips - 1))


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_senders_that_come_and_go_keep_the_breaker_that_one_owner_would(steps: list[tuple[str, int, float]]) -> None:
    senders = Senders(SENDERS, reject_share=0.5, reject_window=1.0)
    owner, now = Owner(), LATER
    alive = set(range(SENDERS))
    with capture_logs():
        for what, index, seconds in steps:
            now += seconds
            words = senders.board.slots("sender")[index].words
            if what == BACK:
                words[scoreboard.STATE] = scoreboard.READY
                alive.add(index)
            elif what == GONE and len(alive) > 1:
                senders.gone(index)
                alive.discard(index)
            senders.look(now)
            if index not in alive:
                continue
            play(senders, owner, what, index, now, probe=index == min(alive))
            senders.look(now)
            for number in alive:
                endpoint, state = senders.all[number], owner.state(now)
                assert endpoint.state == state
                assert endpoint.seconds_shut(now) == max(0.0, owner.open_until - now)
                assert (endpoint.limit > 0) == (state == CLOSED or (state == HALF_OPEN and number == min(alive)))


def play(senders: Senders, owner: Owner, what: str, index: int, now: float, *, probe: bool) -> None:
    """Let one sender see what happens, and the owner too."""
    endpoint, before = senders.all[index], owner.state(now)
    words = senders.board.slots("sender")[index].words
    if what == REPLACED:
        senders.all[index] = senders.join(index, now)
    elif what == GOOD:
        endpoint.good(0.1, 1, now)
        owner.good(now, probe=probe)
    elif what == BAD:
        endpoint.bad(FAULT, 0.1, 1, now)
        owner.fault(now, probe=probe)
    elif what == UNREACHABLE:
        endpoint.connected("connection refused", now)
        if probe and before == HALF_OPEN:
            owner.open(now, spike=owner.spike)
    elif what == REJECTION and before != CLOSED:
        # While it is closed they gather to a spike, which is told apart below.
        wrong = endpoint.rejected(REJECTED, 0.1, 1, now)
        owner.rejection(now, probe=probe)
        assert wrong == (owner.state(now) != CLOSED)
        words[scoreboard.REJECTED] += not wrong
    elif what == SPIKE and before == CLOSED:
        for _ in range(SPIKE_MINIMUM):
            owner.good(now, probe=probe)
            if endpoint.rejected(REJECTED, 0.1, 1, now):
                owner.open(now, spike=True)
                break
            words[scoreboard.REJECTED] += 1
        assert owner.is_open, "so many rejections, and it stayed closed"
