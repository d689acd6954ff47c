"""The protection of a task over time: any course of work and of failures, second by second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.leaving.protection import IDLE_SECONDS, LONGEST_RETRY, MINUTES, Protection

SPANS = st.lists(st.tuples(st.booleans(), st.integers(1, 900)), min_size=1, max_size=8)


class World:
    """What ECS knows: until when the task is protected."""

    def __init__(self) -> None:
        self.protection = Protection()
        self.until = 0.0
        self.now = 0.0
        self.calls: list[tuple[float, int]] = []

    def second(self, *, is_busy: bool, fails: bool = False) -> None:
        self.now += 1.0
        minutes = self.protection.due(is_busy=is_busy, now=self.now)
        if minutes is None:
            return
        self.calls.append((self.now, minutes))
        self.protection.asking(minutes)
        # Whoever leaves before the answer comes must end what ECS may have begun.
        assert self.protection.is_asked or minutes == 0
        if fails:
            self.protection.failed(minutes, self.now)
        else:
            self.until = self.now + minutes * 60
            self.protection.worked(minutes, self.now)


@given(SPANS)
def test_busy_seconds_are_protected_and_idle_ones_end_it(spans: list[tuple[bool, int]]) -> None:
    world = World()
    idle = 0.0
    for is_busy, seconds in spans:
        for _ in range(seconds):
            world.second(is_busy=is_busy)
            idle = 0.0 if is_busy else idle + 1.0
            assert not is_busy or world.until > world.now
            assert idle < IDLE_SECONDS + 2 or world.until <= world.now
            assert world.protection.is_on(world.now) == (world.until > world.now)
    # A beginning, renewals each half of its time, and an end.
    assert len(world.calls) <= world.now / (MINUTES * 30) + 2 * len(spans)


@given(SPANS, st.data())
def test_failures_are_tried_again_and_end_with_the_right_state(
    spans: list[tuple[bool, int]], data: st.DataObject
) -> None:
    world = World()
    failing = data.draw(st.lists(st.booleans(), min_size=1, max_size=40))
    for is_busy, seconds in spans:
        for _ in range(seconds):
            calls = len(world.calls)
            world.second(is_busy=is_busy, fails=calls < len(failing) and failing[calls])
    # Then it works.
    for _ in range(int(LONGEST_RETRY) + 2):
        world.second(is_busy=True)
    assert world.until > world.now
    for _ in range(int(LONGEST_RETRY + IDLE_SECONDS) + 2):
        world.second(is_busy=False)
    assert world.until <= world.now
    assert not world.protection.is_asked
    gaps = [later - sooner for (sooner, _), (later, _) in zip(world.calls, world.calls[1:], strict=False)]
    assert all(gap >= 1.0 for gap in gaps)


def test_a_refusal_for_ever_is_asked_once_a_minute_at_most() -> None:
    world = World()
    for _ in range(3600):
        world.second(is_busy=True, fails=True)
    assert len(world.calls) <= 3600 / LONGEST_RETRY + 5
