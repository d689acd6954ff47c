"""One instance of the simulation: what it asks for, delivers and deletes, and when.

It follows the rules of a consumer (room, window, long polls), of the senders (slots) and of the auditor (gathering), as
docs/decisions describes them. Messages of one receive are one event.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from courier.auditor.sqs_calls import BACKOFF, MOST_CALLS
from courier.consumer.consumer import SHORT_WAIT_SECONDS
from courier.consumer.intake import PATIENCE_SECONDS
from courier.consumer.pace import LONGEST_WAIT_SECONDS, MOST_RECEIVES, RECEIVE_BACKOFF
from courier.consumer.pool import TURN_SECONDS
from scripts.scale.limits import BATCH, IN_FLIGHT
from scripts.scale.queue import Poll

TURN_AROUND: Final = 0.001
"""Seconds of a slot between the end of one delivery and the start of the next (docs/performance.md, slots)."""

JITTER: Final = 0.1
"""The part by which a delivery may take longer or shorter than the others."""

HANDING_OVER: Final = 0.001
FIFO_HANDING_OVER: Final = 0.002
"""Seconds from the answer to a receive to the next receive, beside the distance. A FIFO queue looks for free groups."""

GATHER_SECONDS: Final = 0.055
"""Seconds that a delivered message waits in its sender and the auditor for others, on average, on a quiet queue."""

BUSY_GATHER_SECONDS: Final = 0.02
MANY_RECORDS: Final = 64
LINGER_SECONDS: Final = 0.09
"""Seconds that a delete waits for a fuller call, 0.1, less what the write of a record takes."""

LEAST_SECONDS: Final = 1e-6
"""Seconds until a step that is due at an instant: a sum of floats may come a trifle before it, again and again."""

FIFO_GATHER_SECONDS: Final = 0.008
FIFO_LINGER_SECONDS: Final = 0.005


class Setting(NamedTuple):
    """What is simulated. ``slots`` are those of each instance, all times are seconds.

    ``offered`` is messages a second, 0 for a queue that is always full. ``distance`` is how long a call takes.
    ``groups`` is the number of message groups of a FIFO queue, 0 for a standard queue. ``calls`` is how many calls of
    one action SQS takes a second.
    """

    instances: int
    slots: int = 64
    latency: float = 0.2
    offered: float = 0.0
    distance: float = 0.01
    groups: int = 0
    calls: float = float("inf")
    in_flight: int = int(IN_FLIGHT.value)
    warm_up: float = 4.0
    seconds: float = 10.0
    seed: int = 1


class World(Protocol):
    """What an instance needs of the world: its clock, and the way to the queue."""

    setting: Setting
    now: float
    random: random.Random

    def after(self, seconds: float, step: Callable[..., None], *values: object) -> None:
        """Take a step later."""

    def reaches(self, poll: Poll) -> None:
        """A receive reaches the queue."""

    def deletes(self, instance: Instance, batch: list[tuple[int, int]]) -> None:
        """A delete reaches the queue."""


class Instance:
    """One instance: its consumers as one with their window, its slots, and its auditor."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.polls = 0
        self.asked = self.busy = self.delivered = 0
        self.waiting: deque[int] = deque()
        self._window = 1
        self._not_before = 0.0
        self._failures = 0
        self._failed_at = 0.0
        self._wait = float(LONGEST_WAIT_SECONDS)
        self._room_since: float | None = None
        self._looks = False
        # Delivered and not recorded, recorded and not deleted, each with its group; and when the next step is due.
        self._gathered: list[tuple[int, int]] = []
        self._gathers_since = self._record_at = 0.0
        self._deletes: deque[tuple[int, int]] = deque()
        self._linger = FIFO_LINGER_SECONDS if world.setting.groups else LINGER_SECONDS
        self._partial_from = self._closed_until = 0.0
        self._calls = self._refused = 0
        self._wakes = False

    def start_receives(self) -> None:
        """Start as many receives as the window and the room allow."""
        world, setting = self._world, self._world.setting
        if world.now < self._not_before:
            self._look_at(self._not_before)
            return
        # A run of a FIFO queue occupies one slot, and what was asked for may all be runs.
        queued = len(self.waiting) if setting.groups else sum(self.waiting)
        ahead = int(min(setting.slots / setting.latency, 1e6) * (setting.distance + TURN_SECONDS))
        prefetch = min(setting.slots + ahead, int(setting.slots * 7.5 / setting.latency)) if world.now > 1 else 0
        free = max(prefetch, setting.slots - self.busy) - queued - self.asked
        worth = min(BATCH, max(1, setting.slots // 2))
        handing_over = FIFO_HANDING_OVER if setting.groups else HANDING_OVER
        while self.polls < self._window and free > 0:
            self._room_since = world.now if self._room_since is None else self._room_since
            if free < worth and world.now - self._room_since < PATIENCE_SECONDS:
                self._look_at(self._room_since + PATIENCE_SECONDS)
                return
            asked = min(free, BATCH)
            free -= asked
            self._room_since = None
            wait = SHORT_WAIT_SECONDS if self.polls else self._wait
            self.polls += 1
            self.asked += asked
            world.after(setting.distance + handing_over, world.reaches, Poll(self, asked, wait, world.now))

    def _look_at(self, at: float) -> None:
        if not self._looks:
            self._looks = True
            self._world.after(max(LEAST_SECONDS, at - self._world.now), self._look)

    def _look(self) -> None:
        self._looks = False
        self.start_receives()

    def answered(self, poll: Poll, packets: list[tuple[int, int]] | None) -> None:
        """Take an answer: packets of (messages, group), or ``None`` for a call that was throttled."""
        world = self._world
        self.polls -= 1
        self.asked -= poll.asked
        if packets is None and poll.began < self._failed_at:
            pass  # it was under way when another one was throttled, and says nothing new
        elif packets is None:
            self._failed_at = world.now
            self._failures += 1
            self._window = 1
            pause = 0.05 + min(RECEIVE_BACKOFF.delay(self._failures, world.random.random()), 1.0)
            self._not_before = world.now + pause
        else:
            self._failures = 0
            count = sum(number for number, _ in packets)
            if count >= poll.asked:
                self._window = min(2 * MOST_RECEIVES, self._window + 1)
            else:
                self._window = max(1, self._window - 1) if count else 1
            took = world.now - poll.began
            self._wait = min(20.0, max(1.0, 4 * took) if count else 2 * self._wait)
            for number, group in packets:
                self._take(number, group)
        self.start_receives()

    def _take(self, number: int, group: int) -> None:
        if self._world.setting.groups:
            self._deliver_run(number, group)
            return
        now = min(number, self._world.setting.slots - self.busy)
        if now:
            self._deliver(now)
        if number - now:
            self.waiting.append(number - now)

    def _deliver(self, number: int) -> None:
        self.busy += number
        self._world.after(self._seconds(), self._delivered, number)

    def _seconds(self) -> float:
        # Without it all slots would end at the same instant for ever: no recipient is so exact.
        latency = self._world.setting.latency * (1 + JITTER * (2 * self._world.random.random() - 1))
        return latency + TURN_AROUND

    def _delivered(self, number: int) -> None:
        self.busy -= number
        self.delivered += number
        left = number
        while left and self.waiting:
            first = self.waiting.popleft()
            taken = min(first, left)
            if first > taken:
                self.waiting.appendleft(first - taken)
            self._deliver(taken)
            left -= taken
        self._gather(number, 0)
        self.start_receives()

    def _deliver_run(self, number: int, group: int) -> None:
        if self.busy >= self._world.setting.slots:
            self.waiting.append(number * self._world.setting.groups + group)
            return
        self.busy += 1
        self._world.after(number * self._seconds(), self._run_delivered, number, group)

    def _run_delivered(self, number: int, group: int) -> None:
        self.busy -= 1
        self.delivered += number
        if self.waiting:
            self._deliver_run(*divmod(self.waiting.popleft(), self._world.setting.groups))
        self._gather(number, group)
        self.start_receives()

    def _gather(self, number: int, group: int) -> None:
        now, fifo = self._world.now, self._world.setting.groups
        if not self._gathered:
            self._gathers_since = now
            self._record_at = now + (FIFO_GATHER_SECONDS if fifo else GATHER_SECONDS)
            self._world.after(self._record_at - now, self._record, self._record_at)
        self._gathered.append((number, group))
        sooner = max(now, self._gathers_since + BUSY_GATHER_SECONDS)
        if sooner < self._record_at and sum(number for number, _ in self._gathered) >= MANY_RECORDS:
            self._record_at = sooner
            self._world.after(sooner - now, self._record, sooner)

    def _record(self, at: float) -> None:
        if at != self._record_at or not self._gathered:
            return
        if not self._deletes:
            self._partial_from = self._world.now + self._linger
        self._deletes.extend(self._gathered)
        self._gathered = []
        self._delete()

    def _delete(self) -> None:
        """Start the calls that are due: full ones, and what has waited for others. One at a time after a failure."""
        now = self._world.now
        left = sum(number for number, _ in self._deletes)
        while left and self._calls < (1 if self._refused else MOST_CALLS):
            due = self._closed_until if left >= BATCH else max(self._partial_from, self._closed_until)
            if due > now:
                if not self._wakes:
                    self._wakes = True
                    self._world.after(max(LEAST_SECONDS, due - now), self._wake)
                return
            batch: list[tuple[int, int]] = []
            size = 0
            while self._deletes and size < BATCH:
                number, group = self._deletes.popleft()
                taken = min(number, BATCH - size)
                if number > taken:
                    self._deletes.appendleft((number - taken, group))
                batch.append((taken, group))
                size += taken
            left -= size
            self._partial_from = now + self._linger
            self._calls += 1
            self._world.after(self._world.setting.distance, self._world.deletes, self, batch)

    def _wake(self) -> None:
        self._wakes = False
        self._delete()

    def deleted(self, batch: list[tuple[int, int]], done: bool) -> None:
        """Take the answer to a delete; one that was throttled is tried again after a back-off."""
        self._calls -= 1
        if done:
            self._refused, self._closed_until = 0, 0.0
        else:
            self._refused += 1
            pause = 0.05 + BACKOFF.delay(self._refused, self._world.random.random())
            self._closed_until = self._world.now + min(pause, 1.0)
            self._deletes.extendleft(reversed(batch))
        self._delete()
