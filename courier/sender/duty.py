"""The duty of a sender: whether it takes work from the channel, or sleeps because the senders before it suffice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from courier.process import scoreboard
from courier.process.scoreboard import Slot
from courier.process.standby import Standby
from courier.sender.slots import Slots

REST_SECONDS: Final = 0.1
"""Seconds between two checks whether a sender is still needed. It rests if it took nothing meanwhile and another one
has room, or if it isn't needed at two checks in a row."""

UNTAKEN_SECONDS: Final = 0.05
"""Seconds after which a packet counts as left behind if no sender has taken any meanwhile."""


class Duty:
    """One sender's duty.

    A sender goes to rest only while its gate delivers, and nobody is called in in any other phase. During the start and
    in a pause all senders are on duty. In an outage those on duty keep alive what comes, and one of them probes with
    it: what many senders hold a few of goes back to the queue after a while, which costs it a receive.

    - ``standby``: whether it is on duty, and whom it calls in.
    """

    def __init__(self, slots: Slots, called_in: Callable[[], None]) -> None:
        """``called_in`` takes work, after the sender was called in."""
        self.standby = Standby(slots.life, called_in, can_help=has_free_slot)
        self._slots = slots
        self._check: asyncio.TimerHandle | None = None
        self._unneeded = self._taken_before = 0

    def start(self) -> None:
        """Come on duty, as every sender does at first."""
        self.standby.start()
        self.check_soon()

    def stop(self) -> None:
        """Leave the work to others, at the begin of a drain."""
        self._slots.stop_listening()
        if self._check is not None:
            self._check.cancel()
            self._check = None
        self.standby.stop()

    def may_sleep(self) -> bool:
        """Return whether this sender may be on standby in the phase that its gate is in."""
        gate = self._slots.gate
        return gate.phase.delivers or (gate.phase.is_outage and not gate.probes.is_prober)

    def is_idle(self) -> bool:
        """Return whether this sender holds nothing, and only a packet or its bell brings it something to do."""
        slots = self._slots
        return not (slots.active or slots.waiting or slots.kept) and (slots.is_listening or not self.standby.on_duty)

    def await_work(self) -> None:
        """Listen for the next packet, and show that there is room for it."""
        self._slots.listen()
        if not self.standby.has_room:
            self.standby.show_room(True)

    def become_full(self) -> None:
        """Leave the channel alone, and call in another sender for what comes."""
        self._slots.stop_listening()
        standby = self.standby
        if standby.has_room and self._slots.gate.phase.delivers:
            standby.show_room(False)
            standby.call_in()

    def beat(self) -> None:
        """Check what the sleep or the work of this sender rests on. Call it at each beat."""
        if self._slots.life.draining.is_set():
            return
        standby = self.standby
        standby.beat()
        if standby.on_duty:
            self.check_soon()
        elif self._slots.work.unread_bytes():
            # Most likely it is being taken. If not, whoever listens is stopped.
            self._slots.life.loop.call_later(UNTAKEN_SECONDS, self._come_if_untaken, self._taken())

    def _come_if_untaken(self, taken: int) -> None:
        if taken == self._taken() and not self._slots.life.draining.is_set() and self._slots.work.unread_bytes():
            self.standby.come()

    def _taken(self) -> int:
        life = self._slots.life
        return life.board.total(scoreboard.TAKEN, life.slot.role)

    def check_soon(self) -> None:
        """Check before long whether this sender, on duty, is still needed."""
        if self._check is None and self._slots.gate.phase.delivers and not self.standby.is_first():
            self._check = self._slots.life.loop.call_later(REST_SECONDS, self._rest_if_unneeded)

    def _rest_if_unneeded(self) -> None:
        self._check = None
        standby = self.standby
        if not (standby.on_duty and self._slots.gate.phase.delivers):
            return
        taken = self._slots.life.slot.words[scoreboard.TAKEN]
        is_idle, self._taken_before = taken == self._taken_before, taken
        self._unneeded = self._unneeded + 1 if standby.may_rest(is_idle=is_idle) else 0
        if (is_idle or self._unneeded > 1) and standby.rest(is_idle=is_idle):
            self._unneeded = 0
            self._slots.stop_listening()
        else:
            self.check_soon()


def has_free_slot(slot: Slot) -> bool:
    """Return whether a sender could take a packet if it were called in."""
    return slot.words[scoreboard.LIMIT] > slot.words[scoreboard.IN_FLIGHT]
