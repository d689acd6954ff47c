"""Standard output whose reader may leave: ``courier … | head`` ends quietly, and a full disk is one line.

Every command prints to ``sys.stdout``. Its errors are those of other files too, so they get types of their own.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from courier.errors import CannotStart

if TYPE_CHECKING:
    from typing_extensions import Buffer

DESCRIPTOR: Final = 1

EXIT_READER_LEFT: Final = 141
"""A shell's exit code for a program that SIGPIPE ended. It isn't 0: the exit code of a check is its result."""

_READER_LEFT: Final = (errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN)


class ReaderLeft(Exception):
    """Nobody reads the output any more, so that there is no more to do."""


class _Output(io.RawIOBase):
    """The descriptor of standard output."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return DESCRIPTOR

    def isatty(self) -> bool:
        return os.isatty(DESCRIPTOR)

    def write(self, data: Buffer, /) -> int:
        try:
            return os.write(DESCRIPTOR, data)
        except OSError as error:
            if error.errno in _READER_LEFT:
                raise ReaderLeft from None
            raise CannotStart(
                f"cannot write to standard output: {error.strerror}; free space where it goes, or send it elsewhere"
            ) from None


def with_output(command: Callable[[], Any]) -> Any:
    """Run a command, write all of its output, and return its result: EXIT_READER_LEFT if the reader left.

    Raise CannotStart if the output can't be written. A standard output that isn't the process's own stays as it is.
    """
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    if sys.stdout is not sys.__stdout__:
        return command()
    raw = _Output()
    buffer = io.BufferedWriter(raw)
    sys.stdout = io.TextIOWrapper(buffer, encoding, errors, line_buffering=raw.isatty())
    try:
        result = command()
        sys.stdout.flush()
    except ReaderLeft:
        _discard_the_rest()
        return EXIT_READER_LEFT
    except BaseException:
        try:
            sys.stdout.flush()
        except (ReaderLeft, CannotStart):
            _discard_the_rest()
        raise
    return result


def _discard_the_rest() -> None:
    """Let the rest of the output go nowhere. Python writes what is in the buffer once more when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), DESCRIPTOR)
