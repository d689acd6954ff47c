"""The terminal of ``courier top``: its other screen, its keys without Enter, its signals; all are given back."""

from __future__ import annotations

import contextlib
import io
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.text import Text

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_TOP: Final = "\x1b[H"
_ERASE_LINE: Final = "\x1b[2K"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH, signal.SIGTSTP)


class Screen:
    """The other screen of a terminal for the length of a ``with`` block; at its end the last picture stays.

    Signals interrupt nothing: :meth:`wait` returns them.
    """

    def __init__(self, *, colours: bool) -> None:
        """Without ``colours`` text is only bold or dim; the variable NO_COLOR has the same effect."""
        self._colours = colours
        self._output = sys.stdout.fileno()
        self._input = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._before: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._last: Sequence[Text] = ()

    def __enter__(self) -> Self:
        """Take the terminal and the signals."""
        self._reading, self._writing = os.pipe()
        for end in (self._reading, self._writing):
            os.set_blocking(end, False)
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _ignore) for number in _SIGNALS}
        try:
            self._take()
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give everything back, and leave the last picture on the screen."""
        self._give_back()
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._reading)
        os.close(self._writing)

    @property
    def size(self) -> tuple[int, int]:
        """The columns and the lines of the terminal."""
        with contextlib.suppress(OSError):
            found = os.get_terminal_size(self._output)
            if found.columns > 0 and found.lines > 0:
                return found.columns, found.lines
        return 80, 24

    def show(self, lines: Sequence[Text]) -> None:
        """Show a picture; its lines must fill the terminal, and fit."""
        self._last = lines
        # Erased before and not after: a cursor behind a full line still stands on its last cell.
        self._write(_TOP + "\r\n".join(_ERASE_LINE + line for line in self._styled(lines)))

    def wait(self, other: int, seconds: float) -> tuple[bytes, set[int], bool]:
        """Wait for keys, signals, or the descriptor ``other``, at most so long.

        Return what was typed, the signals, and whether ``other`` is readable. The end of the input is Ctrl-D.
        """
        watched = [self._reading, other, *([] if self._input is None else [self._input])]
        readable, _, _ = select.select(watched, [], [], max(0.0, seconds))
        typed, signals = b"", set[int]()
        if self._input in readable and self._input is not None:
            try:
                typed = os.read(self._input, 1024) or b"\x04"
            except OSError:
                typed = b"\x04"  # the terminal is gone
        if self._reading in readable:
            signals = set(os.read(self._reading, 1024))
        return typed, signals, other in readable

    def suspend(self) -> None:
        """Stop as Ctrl-Z does, with the terminal given back meanwhile."""
        self._give_back(last=False)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def _take(self) -> None:
        if self._input is not None:
            self._before = termios.tcgetattr(self._input)
            tty.setcbreak(self._input, termios.TCSANOW)
        self._write(_ENTER)

    def _give_back(self, *, last: bool = True) -> None:
        with contextlib.suppress(OSError):
            self._write(_LEAVE)
            if last and self._last:
                shown = self._styled(self._last)
                while shown and not shown[-1].strip():
                    shown.pop()
                self._write("\r\n".join(shown) + "\r\n")
        if self._input is not None and self._before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._input, termios.TCSANOW, self._before)

    def _styled(self, lines: Sequence[Text]) -> list[str]:
        """Return the lines with the escape sequences of their styles."""
        written = io.StringIO()
        width = max((line.cell_len for line in lines), default=0) + 1
        console = Console(
            file=written,
            force_terminal=True,
            width=width,
            highlight=False,
            emoji=False,
            no_color=_no_colour(self._colours),
        )
        for line in lines:
            console.print(line, no_wrap=True, overflow="ignore", crop=False)
        return written.getvalue().split("\n")[: len(lines)]

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._output, data) :]


def _no_colour(colours: bool) -> bool | None:
    # None lets rich look for NO_COLOR.
    return None if colours else True


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal: its number is in the pipe already."""


def is_terminal() -> bool:
    """Return whether the output is a terminal that can move its cursor."""
    return sys.stdout.isatty() and Console().is_dumb_terminal is False


def plain_width() -> int:
    """Return the width of plain text: that of the terminal or of the variable COLUMNS, else 120."""
    return shutil.get_terminal_size((120, 24)).columns
