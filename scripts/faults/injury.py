"""The programs of a trial, and what hurts them: an injury explains what is delivered twice because of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from scripts.faults.disk import Disk
from scripts.faults.events import Delivery, Held
from scripts.faults.gate import Gate
from scripts.faults.instance import Instance, ProgramFailed
from scripts.faults.packets import UnreadPackets
from scripts.faults.program import Adapter, Setting
from scripts.faults.proxy import TcpProxy

COME_BACK_SECONDS: Final = 60.0
RESTART_SECONDS: Final = 2.0
"""As in the unit for systemd."""

LATE_SECONDS: Final = 0.5
"""A request that the killed process had written may be read so much later."""


class Program:
    """One of the programs of a trial: its setting, its disk, its gate to SQS, and its runs one after the other.

    ``link`` is the TCP proxy in front of the recipient, if the row has one: each program has its own. A fault that
    ends the program and starts it again holds ``turn``: of two, each would kill what the other has started.
    """

    def __init__(self, adapter: Adapter, setting: Setting, gate: Gate, disk: Disk, link: TcpProxy | None) -> None:
        self.setting: Final = setting
        self.gate: Final = gate
        self.disk: Final = disk
        self.link: Final = link
        self.turn: Final = threading.RLock()
        self._adapter = adapter
        self.instance: Instance = adapter.start(setting)
        self.unread: Final = UnreadPackets(lambda: self.instance.pids("sender"))

    def received(self) -> set[str]:
        """Return the messages that SQS handed to the program so far."""
        return {received.message_id for received in list(self.gate.received)}

    def start_again(self) -> Instance:
        """Start the next run in the same directory, once the run before is gone."""
        self.instance.kill_all()
        self.instance = self._adapter.start(self.setting)
        return self.instance

    def come_back(self) -> None:
        """Start the next run, and wait until it is ready.

        One that ends at its start, as it must while the disk or SQS fails, is started again, as systemd does. Raise
        ProgramFailed if none is ready in time.
        """
        with self.turn:
            deadline = time.monotonic() + COME_BACK_SECONDS
            while True:
                try:
                    self.start_again().wait_ready()
                except ProgramFailed:
                    if self.instance.alive or time.monotonic() > deadline:
                        raise
                    time.sleep(RESTART_SECONDS)
                else:
                    return


class Receiver(Protocol):
    """A program, as far as an injury wants to know it."""

    def received(self) -> Collection[str]:
        """Return the messages that SQS handed to it so far."""
        ...


class Injury(NamedTuple):
    """A process that was hurt from ``begin`` to ``end``, which are the same for a kill.

    From ``ports`` came its deliveries; None stands for all ports. ``program`` is the one that it belongs to, None for
    any of them.
    """

    begin: float
    end: float
    why: str
    ports: frozenset[int] | None
    program: Receiver | None = None

    def held(self, deliveries: Iterable[Delivery], deleted: Mapping[str, float]) -> Held:
        """Return what may be delivered twice: ``deleted`` is when a message was, if it was."""
        received = None if self.program is None else self.program.received()
        latest = self.end + LATE_SECONDS
        names = frozenset(
            delivery.message_id
            for delivery in deliveries
            if delivery.arrived <= latest
            and (self.ports is None or delivery.port in self.ports)
            and deleted.get(delivery.message_id, latest) >= self.begin
            and (received is None or delivery.message_id in received)
        )
        # A process that is killed at once tries nothing again; one that was stopped or cut off may.
        return Held(self.begin, self.why, names, by_receive=self.begin == self.end)
