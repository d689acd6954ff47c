from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.process.restart import LONGEST_DELAY, YOUNG, RestartPolicy

young = st.floats(0, YOUNG, exclude_max=True)
long = st.floats(YOUNG, 1e6)


@given(st.one_of(young, long))
def test_the_first_death_is_replaced_at_once(worked: float) -> None:
    assert RestartPolicy().delay(worked) == 0.0


def test_dying_young_again_and_again_waits_longer_each_time() -> None:
    policy = RestartPolicy()
    assert [policy.delay(0.9) for _ in range(11)] == [0, 0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.integers(1, 5000), young)
def test_the_wait_never_shrinks_and_never_exceeds_the_longest(deaths: int, worked: float) -> None:
    policy = RestartPolicy()
    delays = [policy.delay(worked) for _ in range(deaths)]
    assert delays == sorted(delays)
    assert all(0 <= delay <= LONGEST_DELAY for delay in delays)


@given(st.integers(0, 50), st.integers(0, 10), long)
def test_a_slot_whose_worker_worked_for_a_while_starts_afresh(before: int, after: int, worked: float) -> None:
    policy = RestartPolicy()
    for _ in range(before):
        policy.delay(0.1)
    fresh = RestartPolicy()
    assert policy.delay(worked) == fresh.delay(worked) == 0.0
    assert [policy.delay(0.1) for _ in range(after)] == [fresh.delay(0.1) for _ in range(after)]


def test_a_worker_that_is_killed_every_few_seconds_is_replaced_at_once_each_time() -> None:
    policy = RestartPolicy()
    assert {policy.delay(2.0) for _ in range(100)} == {0.0}
