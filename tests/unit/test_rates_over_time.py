"""A rate limit on a clock of our own: real consumers and senders on a queue in memory keep it to the millisecond."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.virtual_program import World, play


@settings(max_examples=15)
@given(
    rate=st.sampled_from([0.7, 2.0, 10.0]),
    senders=st.integers(1, 5),
    wait_time=st.sampled_from([1, 20]),
    quiet=st.floats(0.0, 60.0),
    messages=st.integers(2, 20),
)
@example(rate=2.0, senders=4, wait_time=1, quiet=5.0, messages=8)
def test_however_long_it_was_quiet_no_burst_goes_beyond_the_rate_and_no_token_is_left_out(
    rate: float, senders: int, wait_time: int, quiet: float, messages: int
) -> None:
    async def scenario(world: World) -> None:
        world.queue.send("first")
        await world.until(lambda: not world.queue.stored, 10.0)
        await asyncio.sleep(quiet)
        world.queue.send(*(f"m{n}" for n in range(messages)))
        await world.until(lambda: not world.queue.stored, messages / rate + 10.0)
        at = [attempt.at for attempt in world.recipient.attempts]
        assert min(later - earlier for earlier, later in pairwise(at)) >= 0.95 / rate - 0.001
        assert at[-1] - at[1] <= (messages - 1) / rate + 0.2

    play(scenario, lambda now, name: 200, rate=rate, senders=senders, wait_time=wait_time)
