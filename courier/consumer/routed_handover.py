"""The handover with routes: each pool of senders gets its messages, and what a pool has no room for is hidden.

One queue brings the messages of all routes in its own order. A route that takes nothing must not stop the others, and
what it doesn't take must not come back at once. See docs/decisions for why it is hidden, and for how long.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

from courier.audit.event import BEHIND
from courier.consumer.handover import Handover, packets
from courier.consumer.pool import Pool
from courier.consumer.routing import Router, split_messages, split_runs
from courier.message import Message
from courier.process import scoreboard
from courier.process.scoreboard import Slot

FIRST_SECONDS: Final = 5.0
"""Seconds for which a message is hidden at its first receive; four times as long at each further one."""

FIRST_CLOSED_SECONDS: Final = 30.0
"""The same while the route takes nothing at all."""

GROWTH: Final = 4.0
LONGEST_SECONDS: Final = 3600.0

LAST_SECONDS: Final = 900.0
LAST_CLOSED_SECONDS: Final = 4 * 3600.0
"""Seconds for which it is hidden before its last receive, so that the remaining receives last at least this long."""

MOST_WAITING: Final = 50
"""Messages (runs) of a route without room that wait in a consumer's memory because it was their last receive."""


def hidden_seconds(receives: int, most: int | None, *, is_closed: bool) -> float:
    """Return for how long to hide a message at that receive count whose route has no room. Pure.

    ``most`` are the receives that the redrive policy allows, ``None`` without one. ``is_closed``: the route takes
    nothing at all, because its recipient fails or has asked for a pause.
    """
    first, last = (FIRST_CLOSED_SECONDS, LAST_CLOSED_SECONDS) if is_closed else (FIRST_SECONDS, LAST_SECONDS)
    seconds = min(LONGEST_SECONDS, first * GROWTH ** min(max(receives, 1) - 1, 10))
    if most is not None:
        # Backwards from the last one, so that few receives last as long.
        left = max(0, most - 1 - receives)
        seconds = max(seconds, last / GROWTH ** min(left, 20))
    return seconds


class RoutedHandover:
    """A consumer's writes to the channels of all pools."""

    def __init__(
        self,
        slot: Slot,
        router: Router,
        pools: Sequence[Pool],
        handovers: Sequence[Handover],
        most_receives: int | None,
        *,
        fifo: bool,
    ) -> None:
        """``pools`` and ``handovers`` are in the order of the places, first the pool of ``--recipient-url``."""
        self._slot = slot
        self._router = router
        self._pools = pools
        self._handovers = handovers
        self._most_receives = most_receives
        self._fifo = fifo
        # The one for what goes back: all write to the same acks channel.
        self._own = handovers[0]
        # Messages (runs) that wait for a full channel: they are on the board only once they are in it.
        self._waiting = [0] * len(pools)

    async def hand_over(self, messages: Sequence[Message], asked: int) -> int:
        """Put each message into the channel of its route, or hide it. Return what is left of the claim on the board."""
        split = split_runs if self._fifo else split_messages
        by_place, behind = split(messages, self._router)
        now, words = time.monotonic(), self._slot.words
        claims: dict[int, int] = {}
        hidden: list[tuple[Message, float]] = []
        for place, runs in by_place.items():
            takes = max(0, self._pools[place].takes(now) - self._waiting[place])
            spare = max(0, MOST_WAITING - self._waiting[place])
            taken, left = _divide(runs, takes, self._most_receives, spare)
            by_place[place] = taken
            claims[place] = min(asked, sum(map(len, taken)))
            asked -= claims[place]
            # The rest of a run stays behind its first message, wherever that is.
            hidden += [(run[0], self._delay(place, run[0])) for run in left]
            behind += [message for run in left for message in run[1:]]
            words[scoreboard.HIDDEN + place] += len(left)
        # What isn't handed over leaves its room to others at once: a channel may be full for a while.
        words[scoreboard.ASKED] -= asked
        if hidden:
            await self._own.hide(hidden)
        if behind:
            await self._own.release(behind, BEHIND)
        await asyncio.gather(*[self._put(place, runs, claims[place]) for place, runs in by_place.items() if runs])
        return 0

    async def _put(self, place: int, runs: list[list[Message]], claim: int) -> None:
        """Put the packets of one route, each message or run of which has room there."""
        self._slot.reals[scoreboard.PROBED_AT + place] = time.monotonic()
        cut = runs if self._fifo else packets([run[0] for run in runs], False, self._pools[place].bundle)
        self._waiting[place] += len(runs)
        try:
            left = await self._handovers[place].hand_over(cut, claim)
        finally:
            self._waiting[place] -= len(runs)
        self._slot.words[scoreboard.ASKED] -= left

    def _delay(self, place: int, message: Message) -> float:
        seconds = hidden_seconds(message.receive_count, self._most_receives, is_closed=self._pools[place].is_closed)
        # Not all at the same instant.
        return seconds * random.uniform(0.8, 1.0)


def _divide(
    runs: list[list[Message]], takes: int, most_receives: int | None, spare: int
) -> tuple[list[list[Message]], list[list[Message]]]:
    """Return the runs that go to the senders, and those that are hidden.

    What was received for the last time isn't hidden, up to ``spare`` of them: SQS would make it a dead letter
    instead of showing it again. The senders keep it for as long as they keep a message that fails.
    """
    if takes >= len(runs):
        return runs, []
    taken, hidden = runs[:takes], list[list[Message]]()
    for run in runs[takes:]:
        is_last = most_receives is not None and run[0].receive_count >= most_receives
        (taken if is_last and len(taken) < takes + spare else hidden).append(run)
    return taken, hidden
