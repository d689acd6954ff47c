"""A message as the virtual queue stores it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from courier.local.virtual.queue import VirtualQueue

VISIBLE: Final = 0
DELAYED: Final = 1
IN_FLIGHT: Final = 2
GONE: Final = 3

NEVER: Final = -1.0

SENDER_ID: Final = "AIDACKCEVSQ6C2EXAMPLE"
"""The identity of whoever sends a message to the virtual queue."""


@dataclass(slots=True, eq=False)
class StoredMessage:
    """One message: its content, and its state in its queue.

    ``attributes`` is the JSON object of the message attributes; ``size`` counts body and attributes in bytes. Instants
    are seconds of the queue's clock. ``due`` is when a delayed or received message becomes visible by itself. ``turn``
    is the queue's latest receive that handed it out (0: none); ``earlier_receives`` counts those in previous queues.
    ``source`` is the queue from which it moved to this dead-letter queue.
    ``in_line``: it is in a standard queue's line, wherever it should be by its state.
    """

    body: str
    body_md5: str
    size: int
    attributes: dict[str, dict[str, Any]] | None = None
    attributes_md5: str = ""
    trace: str = ""
    trace_md5: str = ""
    group: str = ""
    deduplication_id: str = ""
    message_id: str = ""
    serial: int = 0
    sent: float = 0.0
    state: int = GONE
    in_line: bool = False
    due: float = NEVER
    turn: int = 0
    received: float = 0.0
    first_received: float = 0.0
    receive_count: int = 0
    earlier_receives: int = 0
    source: VirtualQueue | None = None
    sender_id: str = SENDER_ID

    def copy(self) -> StoredMessage:
        """Return another message with the same values, for the queue that it moves to."""
        return replace(self)

    def renewed(self) -> StoredMessage:
        """Return a new message with the same content, which nobody has received yet."""
        return StoredMessage(
            self.body,
            self.body_md5,
            self.size,
            self.attributes,
            self.attributes_md5,
            self.trace,
            self.trace_md5,
            self.group,
            self.deduplication_id,
            sender_id=self.sender_id,
        )

    def empty(self) -> None:
        """Free the content: a heap may still refer to a message that is gone."""
        self.body = ""
        self.attributes = None
