"""A queue as the first process and the API see it: what is there before its processes, and outlives them."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from courier.api.observed import API, Observed
from courier.board.senders import SENDER
from courier.config.config import Config
from courier.pipeline import slots
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.pause import read_pause, write_pause
from courier.process.pool import clear_slot
from courier.process.scoreboard import Scoreboard, Unread


class UnreadBytes:
    """The unread bytes of the channels of a queue, in memory that all processes share.

    The channels end with the processes of the queue, so only its supervisor can look, about once a second.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}
        self._words: memoryview[int] = memoryview(mmap.mmap(-1, 8 * len(self._places))).cast("Q")

    def write(self, channels: Mapping[str, Channel]) -> None:
        """Write what waits in each channel."""
        for name, channel in channels.items():
            self._words[self._places[name]] = channel.unread_bytes()

    def clear(self) -> None:
        """Write that nothing waits, because the channels are gone."""
        for place in self._places.values():
            self._words[place] = 0

    def of(self, name: str) -> Unread:
        """Return what stands for a channel where only its contents count."""
        return _OfChannel(self._words, self._places[name])


class _OfChannel:
    def __init__(self, words: memoryview[int], place: int) -> None:
        self._words = words
        self._place = place

    def unread_bytes(self) -> int:
        """Return the bytes that waited at the last look."""
        return self._words[self._place]


class ServedQueue(NamedTuple):
    """A queue by the ``name`` of its table: its board, its channels' contents, and its ``config`` at the start."""

    name: str
    config: Config
    board: Scoreboard
    unread: UnreadBytes

    @classmethod
    def create(cls, name: str, config: Config) -> ServedQueue:
        """Make the memory that the processes of a queue share with the first process and the API."""
        counts = slots(config)
        works = [_work(role) for role in counts if role.partition(":")[0] == SENDER]
        return cls(name, config, Scoreboard.create(counts), UnreadBytes([*works, "acks"]))

    def fitting(self, config: Config) -> ServedQueue:
        """Return what fits a new configuration; without processes. Another number of workers needs another board.

        The counts of that begin anew, but a pause that an operator asked for stays.
        """
        if slots(config) == slots(self.config):
            return self
        new = ServedQueue.create(self.name, config)
        if (pause := read_pause(self.board)) is not None:
            write_pause(new.board, pause.by, pause.reason, pause.paused_at)
        return new

    def observed(self) -> Observed:
        """Return what is to be seen of the queue."""
        routes = [role for role in self.board.roles_of(SENDER) if role != SENDER]
        works = {role: self.unread.of(_work(role)) for role in routes}
        return Observed(self.board, self.unread.of("work"), self.unread.of("acks"), works)

    def clear(self) -> None:
        """Clear what the processes of the queue wrote about themselves; all of them are gone. The counts stay."""
        for role in self.board.roles():
            if role != API:
                for slot in self.board.slots(role):
                    clear_slot(slot)
        supervisor = self.board.supervisor
        supervisor.reals[scoreboard.DRAIN_DEADLINE] = supervisor.reals[scoreboard.BEAT] = 0.0
        supervisor.words[scoreboard.SENDERS_SCALED] = supervisor.words[scoreboard.CONSUMERS_SCALED] = 0
        self.unread.clear()


def _work(role: str) -> str:
    return role.replace(SENDER, "work", 1)
