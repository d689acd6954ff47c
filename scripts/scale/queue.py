"""The queue of the simulation: what waits, what is in flight, which polls wait, and which calls are too many."""

from __future__ import annotations

import random
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from scripts.scale.instance import Instance

BURST_SECONDS: Final = 0.1
"""Seconds whose calls may come at once."""

_PLENTY: Final = 1 << 60


class Poll:
    """A receive: whose, for how many messages, and for how many seconds it may wait at the queue."""

    __slots__ = ("asked", "began", "instance", "is_over", "wait")

    def __init__(self, instance: Instance, asked: int, wait: float, began: float) -> None:
        self.instance = instance
        self.asked = asked
        self.wait = wait
        self.began = began
        self.is_over = False


class SimulatedQueue:
    """A standard queue, or with ``groups`` a FIFO queue whose groups are locked while a message of theirs is in flight.

    ``calls`` counts receives, empty receives, deletes and throttled calls; ``area`` is messages in flight × seconds.
    ``locked`` says how many messages of each group are in flight.
    """

    def __init__(self, groups: int, calls: float, in_flight: int, chance: random.Random, *, endless: bool) -> None:
        """``endless``: there is always another message, of each group."""
        self.calls: Counter[str] = Counter(receive=0, empty=0, delete=0, throttled=0)
        self.area = 0.0
        self.in_flight = 0
        self._limit = in_flight
        self._noted = 0.0
        self._chance = chance
        self._waiting: list[Poll] = []
        self._every = 1 / calls
        self._next = {"receive": 0.0, "delete": 0.0}
        self._endless = endless
        self._visible = _PLENTY if endless else 0
        self._groups = groups
        self._of_group = [_PLENTY if endless else 0] * groups
        self.locked = [0] * groups
        self._open: deque[int] = deque(range(groups)) if endless else deque()
        chance.shuffle(self._open)

    def note(self, now: float) -> None:
        """Let the time pass until now."""
        self.area += self.in_flight * (now - self._noted)
        self._noted = now

    def admits(self, action: str, now: float) -> bool:
        """Return whether a call isn't too many, and count it."""
        self.calls[action] += 1
        due = max(self._next[action], now - BURST_SECONDS)
        if due > now:
            self.calls["throttled"] += 1
            return False
        self._next[action] = due + self._every
        return True

    def receive(self, poll: Poll, now: float) -> tuple[list[tuple[int, int]] | None, bool]:
        """Return the answer to a receive, ``None`` for one that is throttled, and whether it waits instead."""
        if not self.admits("receive", now):
            return None, False
        packets = self._take(poll.asked)
        if packets:
            return packets, False
        self._waiting.append(poll)
        return [], True

    def give_up(self, poll: Poll) -> bool:
        """Return whether a poll that has waited is answered now, with nothing."""
        if poll.is_over:
            return False
        poll.is_over = True
        self._waiting.remove(poll)
        self.calls["empty"] += 1
        return True

    def answers(self) -> list[tuple[Poll, list[tuple[int, int]]]]:
        """Return waiting polls, in any order, with what they bring now."""
        found = []
        while self._waiting:
            # SQS doesn't say which of them gets a message.
            place = self._chance.randrange(len(self._waiting))
            packets = self._take(self._waiting[place].asked)
            if not packets:
                break
            self._waiting[place], self._waiting[-1] = self._waiting[-1], self._waiting[place]
            poll = self._waiting.pop()
            poll.is_over = True
            found.append((poll, packets))
        return found

    def add(self, chance: random.Random) -> None:
        """A message comes, on a FIFO queue one of any group."""
        if not self._groups:
            self._visible += 1
            return
        group = chance.randrange(self._groups)
        self._of_group[group] += 1
        if self._of_group[group] == 1 and not self.locked[group]:
            self._open.append(group)

    def delete(self, batch: list[tuple[int, int]]) -> None:
        """Delete messages: how many of which group. One of which nothing is in flight any more gives messages again."""
        for number, group in batch:
            self.in_flight -= number
            if self._groups:
                self.locked[group] -= number
                if not self.locked[group] and self._of_group[group]:
                    self._open.append(group)

    def _take(self, asked: int) -> list[tuple[int, int]]:
        asked = min(asked, self._limit - self.in_flight)
        packets: list[tuple[int, int]] = []
        if not self._groups:
            number = min(asked, self._visible)
            if number > 0:
                self._visible -= 0 if self._endless else number
                packets.append((number, 0))
        while self._groups and asked > 0 and self._open:
            group = self._open.popleft()
            number = min(asked, self._of_group[group])
            self._of_group[group] -= 0 if self._endless else number
            self.locked[group] = number
            packets.append((number, group))
            asked -= number
        self.in_flight += sum(number for number, _ in packets)
        return packets
