"""Stacks for another process to read: each process offers a file in memory, and prints into it when it's signalled.

SIGUSR2 prints to stderr, for whoever looks at the log. This is the same for a reader in another process, which finds
the number of the file on the board, opens it through ``/proc`` and sends SIGRTMIN. What prints is faulthandler, in the
signal handler itself: a process whose loop is blocked answers too. One that is stopped doesn't.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import fcntl
import os
import signal
from collections.abc import Sequence
from typing import Final

from courier.process import scoreboard
from courier.process.scoreboard import Slot

NAME: Final = "courier-stacks"
SIGNAL: Final = signal.SIGRTMIN
ANSWER_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.02


def offer(slot: Slot) -> None:
    """Print the stacks of all threads of this process into a file in memory whenever SIGRTMIN comes.

    The file's number stands in the slot from then on. Where the system has no such files, nothing is offered.
    """
    try:
        file = os.memfd_create(NAME)
    except (AttributeError, OSError):
        return
    # A reader empties the file before it asks; appending, the next print starts at its beginning again.
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
    faulthandler.register(SIGNAL, file=file, all_threads=True)
    slot.words[scoreboard.STACKS] = file


async def dumps(slots: Sequence[Slot]) -> list[tuple[Slot, int, str]]:
    """Ask the processes in ``slots`` for their stacks: gives slot, pid and text, or a line that says why there is none.

    Slots without a process are left out. One caller at a time: two would empty each other's files.
    """
    asked = [(slot, slot.words[scoreboard.PID], _ask(slot)) for slot in slots if slot.words[scoreboard.PID]]
    try:
        await _wait([file for _, _, file in asked if file != -1])
        return [(slot, pid, _read(file)) for slot, pid, file in asked]
    finally:
        for _, _, file in asked:
            if file != -1:
                os.close(file)


def _ask(slot: Slot) -> int:
    """Open the file that a process offers, empty it and signal the process; -1 where that can't be done."""
    pid, number = slot.words[scoreboard.PID], slot.words[scoreboard.STACKS]
    if not number:
        return -1
    file = -1
    try:
        process = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
    try:
        # To a process that didn't ask for it this signal is death, and a pid may be somebody else's by now. Who has
        # our file at that number takes the signal; and the descriptor of a process never comes to mean another one.
        path = f"/proc/{pid}/fd/{number}"
        if not os.readlink(path).startswith(f"/memfd:{NAME}"):
            return -1
        file = os.open(path, os.O_RDWR)
        os.ftruncate(file, 0)
        signal.pidfd_send_signal(process, SIGNAL)
        asked, file = file, -1
        return asked
    except OSError:
        return -1
    finally:
        os.close(process)
        if file != -1:
            os.close(file)


async def _wait(files: Sequence[int]) -> None:
    """Wait until no file grows any more: a dump has no mark at its end."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ANSWER_SECONDS
    sizes: list[int] = []
    while loop.time() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
        before, sizes = sizes, [os.fstat(file).st_size for file in files]
        if sizes == before and all(sizes):
            return


def _read(file: int) -> str:
    if file == -1:
        return "not to be had: the process is just starting or ending, or /proc is closed to us"
    text = os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
    return text or f"no answer within {ANSWER_SECONDS:g} s: the process is stopped, or hangs in the kernel"
