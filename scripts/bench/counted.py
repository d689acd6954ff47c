"""Courier with a counter in each worker: ``python -m scripts.bench.counted DIRECTORY [OPTIONS]``.

``DIRECTORY/PID.counts`` holds the counts of the worker's main thread as native 64-bit numbers: function calls, in
Python and in C; packets put into channels; packets received and empty receives; checks for room. Unlike times, they are
the same on a slow or busy machine. Counting makes Courier several times slower.
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from courier.consumer.intake import Intake
from courier.process.channel import Channel


class Counts(NamedTuple):
    """The calls of a worker's main thread: functions, a channel's ``send`` and ``receive``, a room's ``claim``."""

    calls: int
    sends: int
    receives: int
    claims: int

    def since(self, before: Counts) -> Counts:
        """Return the difference to earlier counts."""
        return Counts(*(now - then for now, then in zip(self, before, strict=True)))


def count_in_children(directory: Path) -> None:
    """Count in every process that is forked from now on."""
    send, receive, claim = Channel.send.__code__, Channel.receive.__code__, Intake.claim.__code__

    def start() -> None:
        size = 8 * len(Counts._fields)
        with (directory / f"{os.getpid()}.counts").open("w+b") as file:
            file.truncate(size)
            words: memoryview[int] = memoryview(mmap.mmap(file.fileno(), size)).cast("Q")

        def count(frame: FrameType, event: str, argument: object) -> None:
            if event == "call":
                words[0] += 1
                if frame.f_code is send:
                    words[1] += 1
                elif frame.f_code is receive:
                    words[2] += 1
                elif frame.f_code is claim:
                    words[3] += 1
            elif event == "c_call":
                words[0] += 1

        sys.setprofile(count)

    os.register_at_fork(after_in_child=start)


def read_counts(directory: Path, pid: int) -> Counts:
    """Return the counts of a worker so far."""
    words: memoryview[int] = memoryview((directory / f"{pid}.counts").read_bytes()).cast("Q")
    return Counts(*words)


if __name__ == "__main__":
    count_in_children(Path(sys.argv.pop(1)))
    from courier.cli import main

    main()
