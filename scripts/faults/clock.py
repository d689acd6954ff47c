"""The clocks that a program under test sees, shifted while it runs."""

from __future__ import annotations

import mmap
import time
from pathlib import Path
from typing import Final

from scripts.faults.shims.build import BUILD, build

_REALTIME, _MONOTONIC, _BOOTTIME, _RESUMED, _SUSPENDED = range(5)
_WORDS: Final = 5


class Clock:
    """The offsets of the clocks of all processes that run with :meth:`environment`, their children included.

    They may change at any time. What a process waits for ends by the shifted clocks, except that a relative timeout
    (select, poll, epoll_wait, sleep) which runs while a clock jumps ends by the real one.
    """

    def __init__(self, control: Path, build_directory: Path = BUILD) -> None:
        """Make the control file, with all clocks right. Raise CannotBuild without a C compiler."""
        self.control = control.resolve()
        self._library = build(build_directory).clock
        self.control.write_bytes(bytes(_WORDS * 8))
        with self.control.open("r+b") as file:
            self._offsets = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")

    def environment(self) -> dict[str, str]:
        """Return the variables with which a program sees these clocks; :func:`~scripts.faults.shims.build.combined`
        joins them with those of another shim.
        """
        return {"LD_PRELOAD": str(self._library), "FAULTS_CLOCK": str(self.control)}

    def jump(self, *, realtime: float = 0.0, boottime: float = 0.0) -> None:
        """Set clocks forward (or back) by seconds.

        ``realtime`` is what an operator or NTP does. Both by the same time is a suspend that took no real time: use it
        where the world outside may stand still too.
        """
        self._offsets[_REALTIME] += _nanoseconds(realtime)
        self._offsets[_BOOTTIME] += _nanoseconds(boottime)

    def suspend(self, seconds: float) -> None:
        """Make a stop look like a suspend of the host, in which CLOCK_MONOTONIC stands still and the others go on.

        Call it while the program is stopped, and has been for ``seconds``: otherwise CLOCK_MONOTONIC would go back.
        What came in over TCP before the stop looks as new as after a suspend, in which the kernel's timer stands still.
        Raise ValueError for more than the host has been up, which would make the clock negative.
        """
        offset = self._offsets[_MONOTONIC] - _nanoseconds(seconds)
        if time.monotonic_ns() + offset < 0:
            raise ValueError(
                f"a suspend of {seconds:.0f} s is too long: the host is up for {time.monotonic():.0f} s only"
            )
        self._offsets[_MONOTONIC] = offset
        self._offsets[_RESUMED] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._offsets[_SUSPENDED] = _nanoseconds(seconds)

    def reset(self) -> None:
        """Set all clocks right. After a suspend, CLOCK_MONOTONIC jumps forward: better stop the program first."""
        for word in range(_WORDS):
            self._offsets[word] = 0


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
