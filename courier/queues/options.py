"""How the first process of a program of several queues runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.api.observed import Observed
from courier.process.life import RoleFactory
from courier.process.notify import NO_MANAGER, Manager
from courier.queues.acts import Status
from courier.queues.queue_process import Serve
from courier.queues.reloading import ReadEach
from courier.queues.served import ServedQueue


def no_status(_: Observed) -> dict[str, object]:
    """Return nothing, for a program without a control socket."""
    return {}


@dataclass(frozen=True, slots=True)
class FirstOptions:
    """How the first process runs the queues.

    ``serve`` runs a queue's supervisor in its process. ``make_api`` makes the API of all queues, ``None`` for no API.
    ``totals`` returns the counts of all for the service manager. ``read_each`` reads the configuration again.
    ``make_watcher`` makes what watches for the end of the machine, which then has ``watcher_seconds`` after the drain.
    ``control`` is the path of the control socket, and ``status`` answers its act of that name about one queue.
    """

    serve: Serve
    make_api: Callable[[Sequence[ServedQueue]], RoleFactory] | None = None
    totals: Callable[[Sequence[ServedQueue]], Mapping[str, int]] = lambda queues: {}
    read_each: ReadEach | None = None
    manager: Manager = NO_MANAGER
    hang_timeout: float = 10.0
    make_watcher: Callable[[Sequence[ServedQueue]], RoleFactory] | None = None
    watcher_seconds: float = 0.0
    control: Path | None = None
    status: Status = no_status
