"""A message as a part of an event of Lambda, or why it can't be one; and the step that makes an event of it alone."""

from __future__ import annotations

from collections.abc import Callable

from courier.http.answer import Failure
from courier.message import Message
from courier.recipient.content import NOT_TEXT, TOO_LARGE
from courier.request.content import Content, Made, Step, in_memory
from courier.request.lambda_event import (
    MOST_EVENT_BYTES,
    EventSource,
    batch_message,
    event_bytes,
    event_of,
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


def lambda_step(source: EventSource) -> Step:
    """Return the step that makes an event of each message alone; ``source`` is the queue."""

    def make_event(content: Content, _: Callable[[Made], None]) -> Made:
        if content.file is not None:
            if len(content.file) > MOST_EVENT_BYTES:
                return too_large(len(content.file))
            content = in_memory(content)
        message = content.message
        record = sendable_record(message, source)
        if isinstance(record, Failure):
            return record
        return Content(batch_message(message.message_id, event_of([record])), pointer=content.pointer)

    return make_event
