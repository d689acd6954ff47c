"""A message as a part of an event of Lambda, or why it can't be one."""

from __future__ import annotations

from courier.http.answer import Failure
from courier.message import Message
from courier.recipient.content import NOT_TEXT, TOO_LARGE
from courier.request.lambda_event import (
    MOST_EVENT_BYTES,
    EventSource,
    event_bytes,
    record_of,
)


def sendable_record(message: Message, source: EventSource) -> bytes | Failure:
    """Return the element of ``Records`` as :func:`record_of` does, or why the message can't be in any event."""
    try:
        record = record_of(message, source)
    except ValueError as error:
        return Failure(NOT_TEXT, f"an event can't hold it: {error}", 0.0)
    size = event_bytes(1, len(record))
    return record if size <= MOST_EVENT_BYTES else too_large(size)


def too_large(size: int) -> Failure:
    """Return the failure of a message whose event has so many bytes, or more."""
    return Failure(TOO_LARGE, f"its event has {size} bytes or more; Lambda takes {MOST_EVENT_BYTES}", 0.0)
