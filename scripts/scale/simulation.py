"""A simulation of instances on one queue, by discrete events, for a recipient that always takes as long."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import NamedTuple

from scripts.scale.instance import Instance, Setting
from scripts.scale.queue import Poll, SimulatedQueue


class Outcome(NamedTuple):
    """What came of it: messages a second; receives, empty receives and deletes a message; calls refused a second.

    ``in_flight`` is the mean number of messages in flight at the queue, ``least`` and ``most`` the share of the
    instance that delivered least and most, as parts of an equal share.
    """

    rate: float
    receives: float
    empty: float
    deletes: float
    throttled: float
    in_flight: float
    least: float
    most: float


class Simulation:
    """The clock, the queue, and the instances."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.now = 0.0
        self.random = random.Random(setting.seed)
        self.queue = SimulatedQueue(
            setting.groups, setting.calls, setting.in_flight, self.random, endless=not setting.offered
        )
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._number = 0
        self.instances = [Instance(self) for _ in range(setting.instances)]

    def after(self, seconds: float, step: Callable[..., None], *values: object) -> None:
        """Take a step later."""
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, step, values))

    def reaches(self, poll: Poll) -> None:
        """A receive reaches the queue."""
        answer, waits = self.queue.receive(poll, self.now)
        if waits:
            self.after(poll.wait, self._waited, poll)
        else:
            poll.instance.answered(poll, answer)

    def _waited(self, poll: Poll) -> None:
        if self.queue.give_up(poll):
            poll.instance.answered(poll, [])

    def deletes(self, instance: Instance, batch: list[tuple[int, int]]) -> None:
        """A delete reaches the queue."""
        done = self.queue.admits("delete", self.now)
        if done:
            self.queue.delete(batch)
        instance.deleted(batch, done)
        if done:
            self._answer_waiting()

    def _answer_waiting(self) -> None:
        for poll, packets in self.queue.answers():
            poll.instance.answered(poll, packets)

    def _arrives(self) -> None:
        self.queue.add(self.random)
        self._answer_waiting()
        self.after(self.random.expovariate(self.setting.offered), self._arrives)

    def run_until(self, end: float) -> None:
        """Let time pass."""
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, step, values = heapq.heappop(events)
            step(*values)
            self.queue.note(self.now)
        self.now = end
        self.queue.note(end)

    def start(self) -> None:
        """Start all instances, within a second of each other."""
        for instance in self.instances:
            self.after(self.random.random(), instance.start_receives)
        if self.setting.offered:
            self.after(0.0, self._arrives)


def simulate(setting: Setting) -> Outcome:
    """Simulate, and return what came of it after the warm-up."""
    world = Simulation(setting)
    world.start()
    world.run_until(setting.warm_up)
    queue = world.queue
    before, delivered, area = dict(queue.calls), [each.delivered for each in world.instances], queue.area
    world.run_until(setting.warm_up + setting.seconds)
    shares = [each.delivered - first for each, first in zip(world.instances, delivered, strict=True)]
    count = max(1, sum(shares))
    made = {name: number - before[name] for name, number in queue.calls.items()}
    equal = count / setting.instances
    return Outcome(
        count / setting.seconds,
        made["receive"] / count,
        made["empty"] / count,
        made["delete"] / count,
        made["throttled"] / setting.seconds,
        (queue.area - area) / setting.seconds,
        min(shares) / equal,
        max(shares) / equal,
    )
