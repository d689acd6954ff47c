"""An event loop on a clock of its own, which never waits: where nothing is to be done it moves the clock."""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections.abc import Coroutine
from time import gmtime, strftime
from typing import Any, Final
from unittest.mock import patch

from courier.process.spread import SleepMeter


class Clock:
    """Stands where the module ``time`` would. All of its clocks are the same one, in seconds."""

    CLOCK_BOOTTIME: Final = 7

    # Machines that run tests have seldom been up for so long: a look at a real clock is far in the past on each one.
    # Beyond it the loop would wait for ever: what it adds to the time, 1e-9 s, would be lost in rounding.
    def __init__(self, now: float = 1e6) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def clock_gettime(self, _: int) -> float:
        return self.now

    gmtime = staticmethod(gmtime)
    strftime = staticmethod(strftime)


class LeapingSelector(selectors.SelectSelector):
    """Passes the time that it should wait at once."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # What has come already is taken first, as it would be: no time passes for it.
        if ready := super().select(0):
            return ready
        assert timeout is not None, "everybody waits, and nothing will ever happen"
        self._clock.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time is the clock's."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(LeapingSelector(clock))
        self._virtual = clock

    def time(self) -> float:
        return self._virtual.now


def run_virtually(clock: Clock, scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario on the clock, which courier and its tests look at in place of ``time`` and ``boottime``.

    A module that looked at the real clock would see another time, and which one depends on when the machine started.
    What a callback raised ends it too.
    """

    async def watched() -> None:
        loop = asyncio.get_running_loop()
        failed: asyncio.Future[None] = loop.create_future()

        def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            if not failed.done():
                failed.set_exception(context["exception"])

        loop.set_exception_handler(fail)
        played = loop.create_task(scenario)
        await asyncio.wait((played, failed), return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            played.cancel()
            await failed
        await played

    # On this clock whatever runs takes no time, so a process is asleep between its timers.
    asleep = patch.object(SleepMeter, "_read_schedstat", lambda _: (0.0, 0.0))
    clocks = {"time": clock, "boottime": clock.monotonic}
    looking = [module for name, module in sys.modules.items() if name.startswith(("courier.", "tests."))]
    patches = [patch.object(module, name, clocks[name]) for module in looking for name in clocks.keys() & vars(module)]
    for each in patches:
        each.start()
    asleep.start()
    try:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
            runner.run(watched())
    finally:
        asleep.stop()
        for each in patches:
            each.stop()
