"""A process that compresses an audit directory, and dies at a chosen line of the code that does it.

``python dying.py DIRECTORY PACKING WHO WHERE HOW``: ``WHO`` is ``auditor`` or ``child``, which dies when it comes to a
line of the watched files for the first time, if that is the line number ``WHERE`` to which it comes. With HOW ``all``
the other one dies in the same instant. The child calls :func:`die_as_a_child`. It prints how many lines the auditor
came to.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

WATCHED = ("compression.py", "chain_file.py", "sealing.py", "lock.py", "regular_file.py", "compress_child.py")


class Death:
    """The tracer that ends the process at its line number ``where``, counting each line once."""

    def __init__(self, where: int, everybody: bool) -> None:
        self.where = where
        self.everybody = everybody
        self.seen: set[tuple[str, int]] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.endswith(WATCHED) or "courier" not in name:
            return None
        if event == "line" and (name, frame.f_lineno) not in self.seen:
            self.seen.add((name, frame.f_lineno))
            if len(self.seen) == self.where:
                if self.everybody:
                    os.killpg(0, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def die_as_a_child() -> None:
    """Begin to count in a child, if its turn is set."""
    where = os.environ.get("DIE_IN_CHILD")
    if where and "compress_child" in " ".join(sys.orig_argv):
        sys.settrace(Death(int(where), os.environ["DIE_HOW"] == "all"))


def main() -> None:
    directory, packing, who, where, how = sys.argv[1:]
    from courier.audit.compression import Compression
    from courier.audit.sealing import Sealing
    from courier.audit.segment import segments

    os.environ["DIE_HOW"] = how
    if who == "child":
        os.environ["DIE_IN_CHILD"] = where
    death = Death(int(where) if who == "auditor" else -1, how == "all")
    os.setpgid(0, 0)
    sys.settrace(death)
    chore = Compression(Sealing(Path(directory)), packing)
    while chore.step([each for each in segments(Path(directory)) if not each.legacy]) <= 1.0:
        time.sleep(0.01)
    sys.settrace(None)
    print(len(death.seen))


if __name__ == "__main__":
    main()
