"""A line of progress on a terminal, which is written again and again and removed at the end."""

from __future__ import annotations

import sys
import time
from typing import Final

QUIET_SECONDS: Final = 1.0
"""Seconds before progress is shown."""

SHOW_SECONDS: Final = 0.2
"""Seconds between two states of the line."""

_BACK_TO_AN_EMPTY_LINE: Final = "\r\x1b[K"


class ProgressLine:
    """The line on stderr, if that is a terminal and the work takes more than a second."""

    def __init__(self) -> None:
        """Let the work begin now."""
        self.is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._begun = time.monotonic()
        self._next_at = self._begun + QUIET_SECONDS
        self._is_shown = False

    @property
    def seconds(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self._begun

    def is_due(self) -> bool:
        """Return whether to show a state now; then the next one is due a moment later."""
        now = time.monotonic()
        if not self.is_terminal or now < self._next_at:
            return False
        self._next_at = now + SHOW_SECONDS
        return True

    def show(self, text: str) -> None:
        """Show a state in place of the one before."""
        self._is_shown = True
        self._write(_BACK_TO_AN_EMPTY_LINE + text)

    def clear(self) -> None:
        """Remove the line."""
        if self._is_shown:
            self._is_shown = False
            self._write(_BACK_TO_AN_EMPTY_LINE)

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self.is_terminal = False
