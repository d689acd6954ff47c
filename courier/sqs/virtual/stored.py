"""A message as the virtual queue keeps it."""

from __future__ import annotations

from typing import Any, Final

VISIBLE: Final = 0
DELAYED: Final = 1
IN_FLIGHT: Final = 2
GONE: Final = 3

NEVER: Final = -1.0


class StoredMessage:
    """One message: what its sender gave, and where it stands in its queue.

    ``attributes`` is the JSON object of the message attributes, ``size`` counts body and attributes in bytes. Instants
    are seconds of the queue's clock. ``due`` is when a delayed or received message comes visible by itself, ``turn``
    which receive of its queue gave it out last (0: none), ``earlier_receives`` those in the queues that it came from.
    ``in_line`` says that it stands in a standard queue's line, wherever it should be by its state.
    """

    __slots__ = (
        "attributes",
        "attributes_md5",
        "body",
        "body_md5",
        "deduplication_id",
        "due",
        "earlier_receives",
        "first_received",
        "group",
        "in_line",
        "message_id",
        "receive_count",
        "received",
        "sent",
        "serial",
        "size",
        "source_arn",
        "state",
        "trace",
        "trace_md5",
        "turn",
    )

    def __init__(self, body: str, body_md5: str, size: int) -> None:
        self.body = body
        self.body_md5 = body_md5
        self.size = size
        self.attributes: dict[str, dict[str, Any]] | None = None
        self.attributes_md5 = ""
        self.trace = ""
        self.trace_md5 = ""
        self.group = ""
        self.deduplication_id = ""
        self.message_id = ""
        self.serial = 0
        self.sent = 0.0
        self.state = GONE
        self.in_line = False
        self.due = NEVER
        self.turn = 0
        self.received = 0.0
        self.first_received = 0.0
        self.receive_count = 0
        self.earlier_receives = 0
        self.source_arn = ""

    def copy(self) -> StoredMessage:
        """Make another of the same values, for the queue that the message moves to."""
        twin = StoredMessage(self.body, self.body_md5, self.size)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    def empty(self) -> None:
        """Let go of what takes memory: a message that is gone can be remembered for a while by a heap."""
        self.body = ""
        self.attributes = None
