"""The demo's progress: live bars on a terminal, otherwise a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

LINE_SECONDS: Final = 1.0


class DemoProgress(NamedTuple):
    """The demo's progress: messages sent, delivered and deleted."""

    sent: int
    delivered: int
    deleted: int


ShowProgress = Callable[[DemoProgress], None]


@contextmanager
def progress_shown(messages: int) -> Iterator[ShowProgress]:
    """Yield a function that shows each moment on stdout."""
    console = Console()
    if not console.is_terminal:
        lines = _Lines(messages)
        yield lines.show
        lines.close()
        return
    columns = (TextColumn("{task.description:<9}"), BarColumn(bar_width=40), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        tasks = [progress.add_task(name, total=messages) for name in DemoProgress._fields]

        def show(moment: DemoProgress) -> None:
            for task, count in zip(tasks, moment, strict=True):
                progress.update(task, completed=count)

        yield show


class _Lines:
    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._next = 0.0
        self._pending: DemoProgress | None = None

    def show(self, moment: DemoProgress) -> None:
        self._pending = moment
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            self.close()

    def close(self) -> None:
        if self._pending is not None:
            counts = ", ".join(
                f"{name} {count}" for name, count in zip(DemoProgress._fields, self._pending, strict=True)
            )
            print(f"{counts} of {self._messages}", flush=True)
            self._pending = None
