"""Standby: the first workers of a role do the work, and the others sleep until they are called in.

A worker is *on duty* while it takes work, or on *standby*: asleep until another one rings its bell. The first live
worker of a role is always on duty. One that is full rings the next; the last one called in is the first to rest.

Nothing rests on a wake-up that can be lost. A ring may meet a worker that is stopped or dies before it hears it. So a
full worker looks again by a timer, a worker on standby looks at each beat whether it is the first one that lives, and
the supervisor rings for all when a worker has died. A ring too many costs a turn of a loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final

from courier.process import scoreboard
from courier.process.life import Life
from courier.process.scoreboard import SILENT_SECONDS, Slot
from courier.process.spread import (
    LOOK_SECONDS,
    SleepMeter,
    crowding,
    is_surplus,
    may_spread,
    workers_for_cores,
)

OFF: Final = 0
FULL: Final = 1
HAS_ROOM: Final = 2
"""The values of the word DUTY: on standby, on duty without room, on duty with room."""

BEAT_SECONDS: Final = 1.0
"""The longest time between two beats of a worker."""


class Standby:
    """One worker's part: whether it is on duty, and whom it calls in. All instants are monotonic seconds.

    - ``on_duty``: the worker takes work. Without bells it never stops: nobody could call it in.
    - ``has_room``: it shows the others that it can take more; always false on standby.
    """

    def __init__(
        self,
        life: Life,
        called_in: Callable[[], None],
        *,
        freely: int | None = None,
        can_help: Callable[[Slot], bool] = lambda _: True,
        meter: SleepMeter | None = None,
        on_ring: Callable[[], object] = lambda: None,
    ) -> None:
        """``called_in`` is called when the worker has come on duty, and ``on_ring`` when it is rung for on duty.

        ``freely`` is how many workers are called in whether or not they sleep, by default two for each usable core.
        ``can_help`` tells from its slot whether a worker on standby could take work if it were called in.
        """
        self.on_duty = self.has_room = False
        self._life = life
        self._slot = life.slot
        self._words = life.slot.words
        self._bells = life.bells
        self._slots = life.board.slots(life.slot.role)
        self._called_in = called_in
        self._on_ring = on_ring
        self._freely = freely
        self._can_help = can_help
        self._meter = SleepMeter() if meter is None else meter
        self._look: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._is_denied = False
        # Those that were rung since this worker became full. One that doesn't come may be stopped.
        self._rung: set[int] = set()

    def start(self) -> None:
        """Come on duty, and listen for the bell. Call it when the role starts."""
        self._begin_duty()
        # So that the first look that counts has something to compare with.
        self._meter.mostly_sleeps(time.monotonic())
        descriptor = self._bells.fileno(self._slot.index)
        if descriptor != -1:
            self._life.loop.add_reader(descriptor, self._rang)

    def stop(self) -> None:
        """Leave for good, at the begin of the drain: others take what comes now."""
        descriptor = self._bells.fileno(self._slot.index)
        if descriptor != -1:
            self._life.loop.remove_reader(descriptor)
        for timer in (self._look, self._silence):
            if timer is not None:
                timer.cancel()
        self._look = self._silence = None
        self._meter.close()
        self._show(OFF)
        # A full worker may have counted on the room of this one.
        self._bells.ring_all()

    def show_room(self, has_room: bool) -> None:
        """Show the others whether this worker, on duty, can take more work."""
        if has_room != self.has_room and self.on_duty:
            self._show(HAS_ROOM if has_room else FULL)

    def call_in(self) -> None:
        """Call in the next worker, if nobody on duty has room and it is worth one. Call it on becoming full.

        While this worker stays full and others sleep, it looks again by itself, so that a lost ring costs a moment.
        """
        # Even if another one has room: at this instant it may rest because it still saw the room of this one.
        if self.on_duty and not self._is_denied and self._call_next() is not None and self._look is None:
            self._look = self._life.loop.call_later(LOOK_SECONDS, self._look_again)

    def _call_next(self) -> bool | None:
        """Ring the next worker if that is worth it. Return whether nobody has room, and ``None`` if nobody sleeps."""
        now = time.monotonic()
        on_duty, asleep = 1, []
        for slot in self._colleagues(now):
            duty = slot.words[scoreboard.DUTY]
            if duty == HAS_ROOM:
                return False
            if duty == FULL:
                on_duty += 1
            else:
                asleep.append(slot)
        if not asleep:
            return None
        sleeps = self._meter.mostly_sleeps(now)
        if may_spread(on_duty, self._most_freely(), sleeps=sleeps, crowding=self._crowding(now)):
            self._ring_next(asleep)
        else:
            self._is_denied = True
        return True

    def may_rest(self, *, is_idle: bool = False) -> bool:
        """Return whether this worker isn't needed: nobody behind it is on duty, and somebody before it has room.

        If it is idle, it isn't needed either while others behind it are on duty. One that mostly runs is needed, or the
        machine would give this program less of its cores, until so many before it are on duty that all share them. Half
        of those that are then one too many may rest at once.
        """
        own, before, behind, has_room, now = self._slot.index, 0, 0, False, time.monotonic()
        for slot in self._colleagues(now):
            duty = slot.words[scoreboard.DUTY]
            if slot.index > own:
                behind += duty != OFF
            else:
                before += duty != OFF
                has_room = has_room or duty == HAS_ROOM
        if is_idle:
            return has_room
        if before < self._most_freely() and not has_room:
            return False
        sleeps = self._meter.mostly_sleeps(now)
        if is_surplus(before, self._most_freely(), sleeps=sleeps, crowding=self._crowding(now)):
            return behind <= before
        # Those that work rest one after another, so that those that are needed again are few.
        return has_room and sleeps and not behind

    def rest(self, *, is_idle: bool = False) -> bool:
        """Go on standby if :meth:`may_rest` allows it. Return whether it did. The caller then takes no new work."""
        if not self.on_duty or self._bells.fileno(self._slot.index) == -1:
            return False
        # It steps back before it looks: of two that count on each other's room, one sees that the other has gone.
        had_room = self.has_room
        self._show(OFF)
        if self.may_rest(is_idle=is_idle):
            return True
        self._show(HAS_ROOM if had_room else FULL)
        return False

    def come(self) -> None:
        """Come on duty, and call ``called_in``. Do nothing if the worker is on duty already, or drains."""
        if not self.on_duty and not self._life.draining.is_set():
            self._begin_duty()
            self._called_in()

    def is_first(self) -> bool:
        """Return whether no live worker stands before this one."""
        since = time.monotonic() - SILENT_SECONDS
        return not [
            slot
            for slot in self._slots[: self._slot.index]
            if slot.words[scoreboard.STATE] == scoreboard.READY and slot.reals[scoreboard.BEAT] > since
        ]

    def beat(self) -> None:
        """Look whether what was counted on still holds. Call it at each beat."""
        if self.on_duty:
            if not self.has_room:
                self.call_in()
        else:
            self._look_before()

    def _look_before(self) -> None:
        """Come on duty if no worker before this one lives; look again when the last of them becomes silent."""
        self._silence = None
        now = time.monotonic()
        before = self._slots[: self._slot.index]
        beats = [slot.reals[scoreboard.BEAT] for slot in before if slot.words[scoreboard.STATE] == scoreboard.READY]
        silent_at = max(beats, default=0.0) + SILENT_SECONDS
        if silent_at <= now:
            self.come()
        elif silent_at - now < SILENT_SECONDS - BEAT_SECONDS and self._silence is None:
            # They are late. The next beat of this worker may come up to a second after they are silent.
            self._silence = self._life.loop.call_later(silent_at - now, self._look_before)

    def _rang(self) -> None:
        self._bells.hush(self._slot.index)
        if self.on_duty:
            self._on_ring()
        else:
            self.come()

    def _begin_duty(self) -> None:
        self._show(HAS_ROOM)

    def _show(self, duty: int) -> None:
        self._words[scoreboard.DUTY] = duty
        self.on_duty, self.has_room = duty != OFF, duty == HAS_ROOM
        if duty != FULL:
            self._rung.clear()

    def _look_again(self) -> None:
        self._look = None
        self._is_denied = False
        if self.on_duty and not self.has_room and self._call_next():
            self._look = self._life.loop.call_later(LOOK_SECONDS, self._look_again)

    def _ring_next(self, asleep: list[Slot]) -> None:
        """Ring for the first worker that can help and hasn't been rung yet; for the first of all after the last."""
        helpers = [slot.index for slot in asleep if self._can_help(slot)]
        if helpers:
            if self._rung.issuperset(helpers):
                self._rung.clear()
            index = next(index for index in helpers if index not in self._rung)
            self._rung.add(index)
            self._bells.ring(index)

    def _colleagues(self, now: float) -> Iterator[Slot]:
        """Return the other workers of the role that are ready and beat, the first one first."""
        since, own = now - SILENT_SECONDS, self._slot
        for slot in self._slots:
            if (
                slot.words[scoreboard.STATE] == scoreboard.READY
                and slot.reals[scoreboard.BEAT] > since
                and slot is not own
            ):
                yield slot

    def _crowding(self, now: float) -> float:
        """Return the crowding at this worker's deliveries. One that made none lately finds none."""
        if not self._meter.waits_for_cores(now):
            return 0.0
        fastest, typical = (self._slot.reals[word] for word in (scoreboard.FASTEST_SECONDS, scoreboard.TYPICAL_SECONDS))
        # One that came late may never have seen the recipient at its best. What those on standby saw is too old.
        for slot in self._colleagues(now):
            if slot.words[scoreboard.DUTY] != OFF:
                fastest = min(fastest, slot.reals[scoreboard.FASTEST_SECONDS] or fastest)
        return crowding(waits=True, fastest=fastest, typical=typical)

    def _most_freely(self) -> int:
        return workers_for_cores() if self._freely is None else self._freely
