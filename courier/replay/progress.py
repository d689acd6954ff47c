"""A progress bar on stderr if that is a terminal: that of a replay, and of what moves dead letters."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress

SHOW_SECONDS: Final = 0.25


class ProgressBar:
    """A bar of so many messages. Nothing is shown before :meth:`show`, which the process of the feeder calls."""

    def __init__(self, messages: int, title: str = "replay") -> None:
        self._title = title
        self._messages = messages
        self._progress: Progress | None = None
        self._next_at = 0.0
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()

    def show(self, settled: int) -> None:
        """Show how many messages are settled, at most four times a second."""
        now = time.monotonic()
        if not self._is_terminal or now < self._next_at:
            return
        self._next_at = now + SHOW_SECONDS
        if self._progress is None:
            self._progress = self._start()
        self._progress.update(self._progress.task_ids[0], completed=settled)
        self._progress.refresh()

    def close(self) -> None:
        """Leave the last state of the bar, and show the cursor again."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def restore(self) -> None:
        """Show the cursor again, which a process that was killed has left hidden."""
        if self._is_terminal:
            sys.stderr.write("\x1b[?25h")
            sys.stderr.flush()

    def _start(self) -> Progress:
        # Imported here, in the process of the feeder, because rich takes long to import.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(self._title), BarColumn(bar_width=40), MofNCompleteColumn(), TimeRemainingColumn())
        progress = Progress(*columns, console=Console(stderr=True), auto_refresh=False)
        progress.start()
        progress.add_task(self._title, total=self._messages)
        return progress
