"""A program in a terminal of its own, and what a person would see on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pyte

from tests.process.terminal import PATIENCE_SECONDS, environment
from tests.process.world import until

LEAVES: Final = b"\x1b[?1049l"
"""What gives the screen back; all that follows stays on it."""


class Terminal:
    """A program on a pseudo-terminal, with the screen that its output makes."""

    def __init__(self, *arguments: str, columns: int = 100, lines: int = 40, **environ: str) -> None:
        self._master, self._slave = pty.openpty()
        self.before = self.attributes()
        self.output = b""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._set_size(columns, lines)
        variables = {"TERM": "xterm-256color", "COLORTERM": "", "COLUMNS": "", "LINES": ""}
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env={name: value for name, value in environment(**variables, **environ).items() if value},
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            # The terminal that this descriptor is becomes the controlling one, whose size and keys send signals.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        threading.Thread(target=self._read, daemon=True).start()

    def attributes(self) -> list[Any]:
        """Return the terminal's attributes."""
        return termios.tcgetattr(self._slave)

    def lines(self) -> list[str]:
        """Return what is on the screen, line by line."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def text(self) -> str:
        """Return what is on the screen."""
        return "\n".join(self.lines())

    def wait_for(self, *texts: str) -> None:
        """Wait until all these texts are on the screen."""
        until(lambda: all(text in self.text() for text in texts), PATIENCE_SECONDS, lambda: f"{texts}: {self.text()}")

    def wait_without(self, text: str) -> None:
        """Wait until a text is no longer on the screen."""
        until(lambda: text not in self.text(), PATIENCE_SECONDS, self.text)

    def type(self, keys: str) -> None:
        """Type keys."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window."""
        with self._lock:
            self._screen.resize(lines, columns)
            self._screen.reset()
        self._set_size(columns, lines)

    def end(self) -> int:
        """Wait for the end of the program, and return its exit code."""
        code = self.process.wait(PATIENCE_SECONDS)
        until(lambda: LEAVES in self.output, explain=self.text)
        return code

    def left_behind(self) -> str:
        """Return what stays on the terminal after the program has given the screen back."""
        return self.output.rpartition(LEAVES)[2].decode()

    def close(self) -> None:
        """Kill the program if it runs, and close the terminal."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE_SECONDS)
        os.close(self._slave)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 65536):
                with self._lock:
                    self.output += data
                    self._stream.feed(data)
        os.close(self._master)


@contextmanager
def terminal(arguments: Sequence[str], **options: Any) -> Iterator[Terminal]:
    """Run ``python`` with arguments on a terminal for the length of a ``with`` block."""
    opened = Terminal(*arguments, **options)
    try:
        yield opened
    finally:
        opened.close()
