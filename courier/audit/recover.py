"""What a predecessor left behind: torn last lines are cut off, damage before them is reported.

A record becomes durable as a whole line, and only what is durable is deleted from the queue. So a torn last
line covers nothing that was deleted and may go. Damage before the last line is something else: those records
were durable once. It is told, with file and offset, and left alone, because a repair would hide it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import structlog

from courier.audit.reader import Line, audit_files, read_lines, warn_of_damage

log = structlog.get_logger("courier.audit")

_BLOCK: Final = 65536


def recover(directory: Path) -> None:
    """Cut the torn last lines of a directory's files off, and report damage in the newest one.

    Only the newest file is read through: of the older ones the end is enough, since a crash can tear nothing
    else. A file that can't be read or cut is told in the log and left, as nothing is ever appended to it.
    Raises OSError where the directory can't be listed. Call it with the directory's lock held.
    """
    files = audit_files(directory)
    for path in files:
        try:
            end = _scan(path) if path is files[-1] else _end_of_last_line(path)
            size = path.stat().st_size
            if end < size or size == 0:
                _cut(path, end, size)
        except OSError as error:
            log.warning("cannot check an audit file; it is left as it is", file=str(path), reason=error.strerror)


def _scan(path: Path) -> int:
    """Report the damaged lines before the last one, and return where the last whole line ends."""
    end = 0
    broken: Line | None = None
    for line in read_lines(path):
        if broken is not None:
            warn_of_damage(path, broken.offset)
        broken = None if line.whole else line
        end = line.offset + len(line.raw)
    return end if broken is None else broken.offset


def _end_of_last_line(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        end = os.fstat(fd).st_size
        while end > 0:
            start = max(0, end - (_BLOCK if end % _BLOCK == 0 else end % _BLOCK))
            newline = os.pread(fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0
    finally:
        os.close(fd)


def _cut(path: Path, end: int, size: int) -> None:
    if end == 0:
        # Nothing in it was ever durable.
        path.unlink()
        log.warning("removed an audit file without a whole line", file=str(path), size=size)
        return
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.ftruncate(fd, end)
        os.fsync(fd)
    finally:
        os.close(fd)
    log.warning("cut off the torn last line of an audit file", file=str(path), offset=end, bytes_cut=size - end)
