"""How the demo shows what goes on: live bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

LINE_SECONDS: Final = 1.0


class Moment(NamedTuple):
    """How far it has come: messages sent, delivered, deleted."""

    sent: int
    delivered: int
    deleted: int


Show = Callable[[Moment], None]


@contextmanager
def showing(messages: int) -> Iterator[Show]:
    """Give a function that is told every moment and shows it on stdout."""
    console = Console()
    if not console.is_terminal:
        lines = _Lines(messages)
        yield lines.show
        lines.close()
        return
    columns = (TextColumn("{task.description:<9}"), BarColumn(bar_width=40), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        tasks = [progress.add_task(name, total=messages) for name in Moment._fields]

        def show(moment: Moment) -> None:
            for task, count in zip(tasks, moment, strict=True):
                progress.update(task, completed=count)

        yield show


class _Lines:
    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._next = 0.0
        self._untold: Moment | None = None

    def show(self, moment: Moment) -> None:
        self._untold = moment
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            self.close()

    def close(self) -> None:
        if self._untold is not None:
            counts = ", ".join(f"{name} {count}" for name, count in zip(Moment._fields, self._untold, strict=True))
            print(f"{counts} of {self._messages}", flush=True)
            self._untold = None
