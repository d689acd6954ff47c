"""How a program rereads its configuration while it runs, and what a new one changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from courier.process.life import RoleFactory


class Plan(NamedTuple):
    """What a new configuration changes.

    - ``makes``: the new factory of each role whose workers are replaced.
    - ``counts``: the number of workers of each role whose number changes.
    - ``options``: the changed options, for the log.
    - ``adopt``: makes the new configuration the one in force, once all workers have it.
    """

    makes: Mapping[str, RoleFactory]
    counts: Mapping[str, int]
    options: Sequence[str]
    adopt: Callable[[], None]


class Rereading(NamedTuple):
    """How a program rereads its configuration. Both raise CourierError with the line to log.

    ``read`` runs in a child and returns what ``plan`` needs, which runs in the supervisor and doesn't block.
    """

    read: Callable[[], bytes]
    plan: Callable[[bytes], Plan]
