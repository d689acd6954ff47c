"""Short leases on a clock of our own: whatever takes longer than they last, no message is received a second time.

Real consumers and senders on a queue in memory. On a real clock a machine that stalls repeats a message now and then.
"""

from __future__ import annotations

from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.virtual_program import World, play

LATE_SECONDS: Final = 0.2
"""How late a delivery may be for its token: a consumer looks every 50 ms whether one is due, and then asks."""


@settings(max_examples=20)
@given(
    visibility=st.integers(1, 10),
    leases=st.floats(1.1, 10.0),
    senders=st.integers(1, 5),
    consumers=st.integers(1, 3),
    wait_time=st.sampled_from([0, 1, 20]),
    messages=st.integers(2, 6),
)
@example(visibility=1, leases=2.0, senders=4, consumers=2, wait_time=1, messages=5)
# Its first token is taken late, and made up for: the third message has one that may not be used yet.
@example(visibility=1, leases=1.5, senders=1, consumers=1, wait_time=0, messages=3)
@example(visibility=5, leases=1.8, senders=4, consumers=2, wait_time=20, messages=3)
def test_where_tokens_are_rarer_than_leases_each_message_is_received_once_and_delivered_at_its_token(
    visibility: int, leases: float, senders: int, consumers: int, wait_time: int, messages: int
) -> None:
    every = visibility * leases

    async def scenario(world: World) -> None:
        world.queue.send(*(f"m{n}" for n in range(messages)))
        await world.until(lambda: not world.queue.stored, messages * every + 5.0)
        assert set(world.queue.receives.values()) == {1}
        first, *later = (attempt.at for attempt in world.recipient.attempts)
        assert len(later) == messages - 1
        for n, instant in enumerate(later, 1):
            assert 0.95 * n * every - LATE_SECONDS <= instant - first <= n * every + LATE_SECONDS

    play(
        scenario,
        lambda now, name: 200,
        rate=1.0 / every,
        visibility=visibility,
        senders=senders,
        consumers=consumers,
        wait_time=wait_time,
    )


@settings(max_examples=10)
@given(
    visibility=st.integers(1, 5),
    leases=st.floats(0.1, 10.0),
    senders=st.integers(1, 3),
    concurrency=st.integers(1, 8),
    messages=st.integers(1, 16),
)
@example(visibility=1, leases=10.0, senders=2, concurrency=8, messages=16)
@example(visibility=2, leases=10.0, senders=2, concurrency=8, messages=16)
@example(visibility=2, leases=3.0, senders=2, concurrency=8, messages=5)
@example(visibility=3, leases=1.2, senders=2, concurrency=8, messages=32)
@example(visibility=2, leases=0.1, senders=1, concurrency=1, messages=50)
def test_a_delivery_of_many_visibility_timeouts_happens_once_and_nothing_waits_out_its_lease(
    visibility: int, leases: float, senders: int, concurrency: int, messages: int
) -> None:
    seconds = visibility * leases

    async def scenario(world: World) -> None:
        names = [f"m{n}" for n in range(messages)]
        world.queue.send(*names)
        rounds = messages / (senders * concurrency) + 3
        await world.until(lambda: not world.queue.stored, rounds * (seconds + 2.0) + 30.0)
        assert sorted(attempt.name for attempt in world.recipient.taken) == sorted(names)
        assert set(world.queue.receives.values()) == {1}

    play(
        scenario,
        lambda now, name: 200,
        visibility=visibility,
        senders=senders,
        concurrency=concurrency,
        timeout=2 * seconds + 10.0,
        answer_seconds=seconds,
    )
