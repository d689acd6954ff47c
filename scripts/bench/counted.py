"""Courier with a counter in each worker: ``python -m scripts.bench.counted DIRECTORY [OPTIONS]``.

``DIRECTORY/PID.counts`` holds what the worker's main thread has done so far, as native 64-bit numbers: calls of
functions, in Python and in C; packets put into channels; packets and empty looks taken from them. Numbers, not times:
they are the same on a slow machine and on a busy one. Courier is several times slower meanwhile.
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from courier.process.channel import Channel


class Counts(NamedTuple):
    """What a worker's main thread did: calls of functions, and of a channel's ``send`` and ``receive``."""

    calls: int
    sends: int
    receives: int

    def since(self, before: Counts) -> Counts:
        """Give what came to it since."""
        return Counts(*(now - then for now, then in zip(self, before, strict=True)))


def count_in_children(directory: Path) -> None:
    """Count in every process that is forked from this one from now on."""
    send, receive = Channel.send.__code__, Channel.receive.__code__

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
            elif event == "c_call":
                words[0] += 1

        sys.setprofile(count)

    os.register_at_fork(after_in_child=start)


def read_counts(directory: Path, pid: int) -> Counts:
    """Read what a worker has counted so far."""
    words: memoryview[int] = memoryview((directory / f"{pid}.counts").read_bytes()).cast("Q")
    return Counts(*words)


if __name__ == "__main__":
    count_in_children(Path(sys.argv.pop(1)))
    from courier.cli import main

    main()
