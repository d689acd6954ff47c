"""The breaker of several senders against one that a single owner would keep: whatever happens, they are the same.

Senders answer, die, fall silent and come back in any order on a clock of our own; each knows of the others by the
scoreboard alone. And under every legal combination of limits it closes again once the recipient works.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.process.scoreboard import SILENT_SECONDS
from courier.recipient.breaker import CLOSED, HALF_OPEN, LONGEST_GROWN_SECONDS, OPEN, PATIENCE, BreakerOptions
from courier.recipient.refusals import MINIMUM
from courier.recipient.shared_breaker import PHASES
from courier.recipient.views import breaker_state
from tests.examples import examples
from tests.unit.recipient.senders import BREAKER, FAULT, LATER, REJECTED, Senders, open_until

SENDERS = 3
LATENCY = 0.1
GOOD = "a delivery"
BAD = "a fault"
REFUSAL = "a refusal"
REFUSALS = "refusals until the breaker opens"
UNREACHABLE = "no connection"
CONNECTED = "a connection"
REPLACED = "killed, and a new process in its slot"
GONE = "gone"
SILENT = "stopped"
BACK = "back"

STEPS = st.tuples(
    st.sampled_from([GOOD, BAD, BAD, BAD, REFUSAL, REFUSALS, UNREACHABLE, CONNECTED, REPLACED, GONE, SILENT, BACK]),
    st.integers(0, SENDERS - 1),
    # Moments, about a cool-down, and longer than any.
    st.sampled_from([0.01, 0.01, 0.2, 4.0, 5.0, 301.0, 4000.0]),
)


class Owner:
    """The breaker as one process would keep it that sees everything."""

    def __init__(self) -> None:
        self.is_open = False
        self.refused = False
        self.opened_at = 0.0
        self.open_until = 0.0
        self.since = 0.0
        self.closed_at = 0.0
        self.faults = [0] * SENDERS

    def state(self, now: float) -> int:
        if not self.is_open:
            return CLOSED
        return OPEN if now < self.open_until else HALF_OPEN

    def record_delivery(self, now: float) -> None:
        self.faults = [0] * SENDERS
        if self.is_open and now - LATENCY >= self.since:
            self.is_open = False
            self.closed_at = now

    def fault(self, index: int, alive: set[int], now: float) -> None:
        if self.is_open:
            self.probe_failed(now)
            return
        if now - LATENCY < self.closed_at:
            # It began in the outage.
            return
        self.faults[index] += 1
        # What one that is gone saw doesn't count.
        if sum(self.faults[number] for number in alive) >= BREAKER.threshold:
            self.open(now, refused=False)

    def refusal(self, now: float) -> None:
        if self.is_open and self.refused:
            self.probe_failed(now)
        else:
            self.record_delivery(now)

    def probe_failed(self, now: float) -> None:
        if self.state(now) == HALF_OPEN and now - LATENCY >= self.opened_at:
            self.open(now, refused=False)

    def open(self, now: float, *, refused: bool) -> None:
        if not self.is_open:
            self.since, self.refused = now, refused
        self.is_open = True
        self.opened_at = now
        self.open_until = now + max(BREAKER.cool_down, min(LONGEST_GROWN_SECONDS, (now - self.since) / PATIENCE))

    def cut_short(self, now: float) -> None:
        if self.state(now) == OPEN:
            self.opened_at = self.open_until = now


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(STEPS, max_size=60))
# A delivery is not forgotten with the sender that made it, replaced or not.
@example([(BAD, 0, 0.01), (GOOD, 1, 0.01), (REPLACED, 1, 0.01), (BAD, 0, 0.01), (BAD, 0, 0.01)])
@example([(BAD, 0, 0.01), (GOOD, 1, 0.01), (GONE, 1, 0.01), (BAD, 0, 0.01), (BAD, 0, 0.01)])
@example([(BAD, 0, 0.01), (GOOD, 1, 0.01), (SILENT, 1, 0.01), (BAD, 0, 0.01), (BAD, 0, 0.01)])
def test_senders_that_come_and_go_keep_the_breaker_that_one_owner_would(steps: list[tuple[str, int, float]]) -> None:
    senders = Senders(SENDERS, reject_share=0.5, reject_window=1.0)
    owner, now = Owner(), LATER
    alive = set(range(SENDERS))
    with capture_logs():
        for what, index, seconds in steps:
            now += seconds
            if what == BACK:
                senders.alive(index)
                alive.add(index)
            elif what in (GONE, SILENT) and len(alive) > 1:
                (senders.gone if what == GONE else senders.silent)(index, now - SILENT_SECONDS)
                alive.discard(index)
            look(senders, alive, now)
            if index not in alive or (what == REPLACED and len(alive) == 1):
                # With the last one goes all that was known, and the program starts anew.
                continue
            play(senders, owner, what, index, now, alive)
            look(senders, alive, now)
            for number in alive:
                gate, state = senders.all[number], owner.state(now)
                assert gate.phase is PHASES[state]
                if state != CLOSED:
                    assert abs(open_until(senders) - owner.open_until) < 1e-6
                assert (gate.limit > 0) == (state == CLOSED or (state == HALF_OPEN and number == min(alive)))


def look(senders: Senders, alive: set[int], now: float) -> None:
    for number in alive:
        senders.all[number].refresh(now)


def play(senders: Senders, owner: Owner, what: str, index: int, now: float, alive: set[int]) -> None:
    """Let one sender see what happens, and the owner too."""
    gate, before, probes = senders.all[index], owner.state(now), index == min(alive)
    if what == REPLACED:
        owner.faults[index] = 0
        senders.all[index] = senders.join(index, now)
    elif what == GOOD:
        senders.deliver(index, now)
        owner.record_delivery(now)
    elif what == BAD:
        gate.record_failure_to_deliver(FAULT, LATENCY, 1, now)
        owner.fault(index, alive, now)
    elif what in (UNREACHABLE, CONNECTED):
        gate.record_connection("connection refused" if what == UNREACHABLE else None, now, at_hand=True)
        if probes and what == CONNECTED:
            owner.cut_short(now)
        elif probes and before == HALF_OPEN:
            owner.open(now, refused=False)
    elif what == REFUSAL and before != CLOSED:
        # While it is closed they gather until they are too many, which is told apart below.
        senders.refuse(index, now)
        owner.refusal(now)
    elif what == REFUSALS and before == CLOSED:
        for _ in range(MINIMUM):
            owner.record_delivery(now)
            if senders.refuse(index, now):
                owner.open(now, refused=True)
                break
        assert owner.is_open, "so many refusals, and it stayed closed"


class Program(NamedTuple):
    """Limits of a program, as the options allow them."""

    senders: int
    concurrency: int
    in_flight: int | None
    rate: float | None
    adaptive: bool
    threshold: int
    cool_down: float
    longest: float
    reject_share: float


PROGRAMS = st.builds(
    Program,
    senders=st.integers(1, 5),
    concurrency=st.integers(1, 4),
    in_flight=st.none() | st.integers(1, 6),
    rate=st.none() | st.sampled_from([1 / 600, 0.1, 1.0, 50.0]),
    adaptive=st.booleans(),
    threshold=st.integers(0, 12),
    cool_down=st.sampled_from([0.1, 1.0, 8.0]),
    longest=st.sampled_from([8.0, 60.0]),
    reject_share=st.sampled_from([0.0, 0.1, 0.5]),
)


class World:
    """Senders that deliver from one endless queue, in steps of 50 ms, to a recipient that takes as long."""

    def __init__(self, program: Program) -> None:
        cool_down = BreakerOptions(program.threshold, program.cool_down, program.longest)
        given = program._asdict() | {"breaker": cool_down, "reject_window": 60.0}
        for name in ("senders", "threshold", "cool_down", "longest"):
            del given[name]
        self.senders = Senders(program.senders, starts=True, **given)
        self.now = LATER
        self.delivered = 0
        self._under_way: deque[int] = deque()
        self._messages = 0

    def step(self, answer: str, silent: int | None = None) -> None:
        """Let what is under way be answered, and begin what may begin; a sender that is stopped does neither."""
        self.now += 0.05
        for _ in range(len(self._under_way)):
            index = self._under_way.popleft()
            if index != silent:
                self._answer(index, answer)
        for index, gate in enumerate(self.senders.all):
            if index == silent:
                continue
            gate.refresh(self.now)
            active = self._under_way.count(index)
            while active < gate.limit and not gate.rate.seconds_to_token(self.now):
                gate.rate.take_token(self.now)
                gate.begin(self.now)
                self._under_way.append(index)
                active += 1

    def _answer(self, index: int, answer: str) -> None:
        gate = self.senders.all[index]
        if answer == GOOD:
            self.delivered += 1
            self.senders.deliver(index, self.now)
        elif answer == BAD:
            gate.record_failure_to_deliver(FAULT, 0.05, 1, self.now)
        else:
            self._messages += 1
            gate.record_refusal(REJECTED, f"m{self._messages}", 0.05, 1, self.now)

    def pass_time(self, seconds: float, answer: str) -> None:
        end = self.now + seconds
        while self.now < end:
            self.step(answer)
            if not self._under_way:
                # Nothing changes by itself for a while: a cool-down, or a token that is far away.
                self.now += 0.5

    def works(self, silent: int | None) -> bool:
        """Return whether nothing is stopped, and somebody may send."""
        limits = [gate.limit for index, gate in enumerate(self.senders.all) if index != silent]
        return breaker_state(self.senders.board, "sender", self.now) == CLOSED and sum(limits) > 0


@settings(max_examples=examples(200), deadline=None)
@given(
    program=PROGRAMS,
    outages=st.lists(
        st.tuples(st.sampled_from([BAD, REFUSAL]), st.sampled_from([0.5, 5.0, 90.0])), min_size=1, max_size=3
    ),
    killed=st.integers(0, 9),
)
def test_under_every_combination_of_limits_deliveries_resume_once_the_recipient_works(
    program: Program, outages: list[tuple[str, float]], killed: int
) -> None:
    world = World(program)
    # Two probes at the most, and with a rate limit the next token; the last answers of before may come first.
    patience = 2 * max(program.cool_down, program.longest) + 2.0 + (2.5 / program.rate if program.rate else 0.0)
    with capture_logs():
        for answer, seconds in outages:
            world.pass_time(seconds, answer)
            silent = killed if killed < program.senders and program.senders > 1 else None
            if silent is not None:
                world.senders.silent(silent, since=world.now)
            before, end = world.delivered, world.now + patience + SILENT_SECONDS
            while world.now < end and not (world.delivered > before and world.works(silent)):
                world.step(GOOD, silent)
                if program.rate and program.rate < 0.01:
                    world.now += 1.5
            assert world.delivered > before
            assert world.works(silent)
