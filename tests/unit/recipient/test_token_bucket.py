from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.recipient.token_bucket import LONGEST_LATE_SECONDS, Tokens, next_token, usable


def taken(tokens: Tokens, start: float, seconds: float, step: float) -> int:
    """Take whatever is there at each step of a clock."""
    count = 0
    for tick in range(int(seconds / step)):
        while tokens.take(start + tick * step):
            count += 1
    return count


def parted(rate: float, parts: int, now: float = 0.0, origin: float = 0.0) -> list[Tokens]:
    """Part a rate among so many senders."""
    senders = [Tokens(rate, origin, now) for _ in range(parts)]
    for place, tokens in enumerate(senders):
        tokens.share(place, parts, now, 0.0)
    return senders


def most_within(taken_at: list[float], rate: float) -> float:
    """Give by how many the takings exceed the rate in the span in which they do so most."""
    return max(
        count - (end - start) * rate
        for number, start in enumerate(taken_at)
        for count, end in enumerate(taken_at[number:], 1)
    )


@settings(deadline=None)
@given(rate=st.floats(0.1, 20_000), place=st.integers(0, 7), parts=st.integers(1, 8))
def test_over_any_time_the_rate_is_kept_to_within_two_tokens(rate: float, place: int, parts: int) -> None:
    tokens = Tokens(rate, 0.0, 0.0)
    tokens.share(place % parts, parts, 0.0, 0.0)
    got = taken(tokens, 0.0, 10.0, 0.002)
    assert abs(got - rate / parts * 10.0) <= 2 + rate * 0.01


@pytest.mark.parametrize("senders", range(1, 9))
def test_the_rate_is_exact_for_any_number_of_senders(senders: int) -> None:
    assert sum(taken(tokens, 0.0, 20.0, 0.001) for tokens in parted(200, senders)) == pytest.approx(4000, abs=2)


@pytest.mark.parametrize("senders", [1, 4, 16])
def test_however_long_it_was_quiet_all_senders_together_begin_one_delivery_at_a_slow_rate(senders: int) -> None:
    quiet = parted(1.0, senders)
    assert sum(taken(tokens, 100.5, 0.4, 0.1) for tokens in quiet) == 1


@settings(deadline=None)
@given(
    rate=st.floats(0.1, 2_000),
    senders=st.integers(1, 6),
    steps=st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 5)), min_size=1, max_size=25),
)
def test_whoever_asks_and_whenever_no_span_has_more_than_its_rate_and_what_timers_may_be_late(
    rate: float, senders: int, steps: list[tuple[float, int]]
) -> None:
    all_tokens, now = parted(rate, senders), 0.0
    taken_at: list[float] = []
    for pause, who in steps:
        now += pause
        tokens = all_tokens[who % senders]
        while tokens.take(now):
            taken_at.append(now)
        wait = tokens.wait(now)
        assert 0 < wait <= senders / rate + 1e-9
        assert wait < 1e-6 or not tokens.take(now + wait * 0.99)
    assert not taken_at or most_within(taken_at, rate) <= 2.001 + rate * LONGEST_LATE_SECONDS


@settings(deadline=None)
@given(rate=st.floats(0.1, 20.0), senders=st.integers(1, 6), probes=st.lists(st.floats(0.0, 9.0), max_size=8))
def test_from_one_that_has_all_of_the_rate_to_all_of_them_and_back_the_rate_is_kept(
    rate: float, senders: int, probes: list[float]
) -> None:
    all_tokens, now, taken_at = parted(rate, senders, 1.0, 1.0), 1.0, []
    last = 0.0
    for turn, seconds in enumerate(probes):
        for place, tokens in enumerate(all_tokens):
            tokens.share(*((0, 1) if turn % 2 == 0 else (place, senders)), now, last)
        asking = all_tokens[turn % senders : turn % senders + 1] if turn % 2 == 0 else all_tokens
        end = now + seconds
        while now < end:
            for tokens in asking:
                if tokens.take(now):
                    last = now
                    taken_at.append(now)
            now += 0.01
    assert not taken_at or most_within(taken_at, rate) <= 2.001 + rate * LONGEST_LATE_SECONDS


def test_the_tokens_of_several_senders_come_one_after_another() -> None:
    assert [tokens.wait(0.5) for tokens in parted(1.0, 4, now=0.5)] == [0.0, 0.5, 1.5, 2.5]


def test_who_is_given_a_part_has_none_that_another_may_have_taken() -> None:
    alone = Tokens(1.0, 0.0, 7.5)
    assert alone.take(7.5)
    later = Tokens(1.0, 0.0, 7.5)
    later.share(0, 1, 7.5, 7.0)
    assert later.wait(7.5) == 0.5
    later.share(7, 8, 7.5, 7.0)
    assert later.wait(7.5) == 7.5


@given(due=st.floats(0.0, 50.0), every=st.integers(1, 8), now=st.floats(0.0, 500.0))
def test_what_a_sender_wrote_down_long_ago_tells_when_its_next_token_comes(due: float, every: int, now: float) -> None:
    at = next_token(due, float(every), 1.0, now)
    assert at > now - 1.0 - 1e-6
    assert (at - due) % every == pytest.approx(0.0, abs=1e-6) or (at - due) % every == pytest.approx(every, abs=1e-6)
    assert at == due or at - every <= now - 1.0 + 1e-6


def test_what_a_rate_can_use_within_a_lease_is_at_least_one() -> None:
    assert usable(200.0, 30) == 1500
    assert usable(0.01, 30) == 1
