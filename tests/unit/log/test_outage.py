from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from courier.log.outage import EVERY_SECONDS, NEVER, SOONEST_SECONDS, Outage

UNIX = 1_700_000_000.0


def test_it_is_told_at_its_beginning_and_then_once_a_minute_with_its_count_and_when_it_last_worked() -> None:
    outage = Outage()
    outage.worked(0.0)
    told = [(at, fields) for at in range(20, 200) if (fields := outage.failed("network", at, UNIX + at)) is not None]
    assert [at for at, _ in told] == [20, 80, 140]
    assert [fields["failures"] for _, fields in told] == [1, 61, 121]
    assert {fields["last_worked"] for _, fields in told} == {"2023-11-14T22:13:20Z"}
    assert outage.worked(200.0) == 180
    assert outage.failures == 0


def test_one_from_the_start_on_says_so() -> None:
    assert Outage().failed("network", 5.0, UNIX) == {"failures": 1, "last_worked": NEVER}


def test_another_reason_is_told_soon() -> None:
    outage = Outage()
    assert outage.failed("network", 0.0, UNIX)
    assert outage.failed("AccessDenied", SOONEST_SECONDS / 2, UNIX) is None
    assert outage.failed("AccessDenied", SOONEST_SECONDS, UNIX)


@given(st.lists(st.tuples(st.floats(0.01, 5.0), st.sampled_from(["network", "throttled", ""])), max_size=300))
def test_however_it_comes_and_goes_lines_are_apart_and_each_that_is_told_to_end_was_told_to_begin(
    events: list[tuple[float, str]],
) -> None:
    outage, now, told, failing_since = Outage(), 0.0, [], None
    is_told = False
    for pause, code in events:
        now += pause
        if code:
            failing_since = now if failing_since is None else failing_since
            if outage.failed(code, now, UNIX + now) is not None:
                told.append(now)
                is_told = True
            # None that lasts is kept silent.
            assert is_told or now - failing_since <= SOONEST_SECONDS + 5.0
            assert now - told[-1] <= EVERY_SECONDS + 5.0
        else:
            assert bool(outage.worked(now)) == is_told
            failing_since, is_told = None, False
    assert all(later - earlier >= SOONEST_SECONDS for earlier, later in pairwise(told))
