from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.process.restart import LONGEST_DELAY, YOUNG, RestartPolicy

young = st.floats(0, YOUNG, exclude_max=True)
old = st.floats(YOUNG, 1e6)


@given(st.one_of(young, old))
def test_the_first_death_is_replaced_at_once(lived: float) -> None:
    assert RestartPolicy().delay(100.0, 100.0 + lived) == 0.0


def test_dying_young_again_and_again_waits_longer_each_time() -> None:
    policy = RestartPolicy()
    assert [policy.delay(0.0, 1.0) for _ in range(11)] == [0, 0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.integers(1, 5000), young)
def test_the_wait_never_shrinks_and_never_exceeds_the_longest(deaths: int, lived: float) -> None:
    policy = RestartPolicy()
    delays = [policy.delay(0.0, lived) for _ in range(deaths)]
    assert delays == sorted(delays)
    assert all(0 <= delay <= LONGEST_DELAY for delay in delays)


@given(st.integers(0, 50), st.integers(0, 10), old)
def test_a_slot_that_lived_long_starts_afresh(before: int, after: int, lived: float) -> None:
    policy = RestartPolicy()
    for _ in range(before):
        policy.delay(0.0, 0.1)
    fresh = RestartPolicy()
    assert policy.delay(0.0, lived) == fresh.delay(0.0, lived) == 0.0
    assert [policy.delay(0.0, 0.1) for _ in range(after)] == [fresh.delay(0.0, 0.1) for _ in range(after)]
