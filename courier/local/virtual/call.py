"""One call of an action, and the answer of an action."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from courier.local.virtual.faults import Faults
from courier.local.virtual.polls import Polls
from courier.local.virtual.queue import VirtualQueue
from courier.local.virtual.registry import Registry
from courier.local.virtual.waits import Waits

if TYPE_CHECKING:
    from courier.local.virtual.moving import MoveTasks


class SqsService(Protocol):
    """The service as an action sees it."""

    closing: bool

    @property
    def clock(self) -> Callable[[], float]:
        """Returns Unix seconds."""

    @property
    def faults(self) -> Faults | None:
        """The faults that a test wants."""

    @property
    def registry(self) -> Registry:
        """The queues by name."""

    @property
    def waits(self) -> Waits | None:
        """The waits between calls, if they are enforced."""

    @property
    def moves(self) -> MoveTasks:
        """The tasks that move messages."""

    def polls(self, queue: VirtualQueue) -> Polls:
        """Return the long polls of a queue."""

    def changed(self, queue: VirtualQueue, now: float) -> None:
        """Handle that a queue may have a new visible message."""

    def removed(self, queue: VirtualQueue) -> None:
        """Handle that a queue was deleted."""


class Call(NamedTuple):
    """One call. ``now`` is when it came; ``base_url`` is the server's address as the client knows it.

    ``region`` is that of the client's signature, and ``trace`` the trace header of the request.
    """

    action: str
    parameters: dict[str, Any]
    now: float
    base_url: str
    region: str
    trace: str


ActionAnswer = dict[str, Any] | Awaitable[dict[str, Any]]
