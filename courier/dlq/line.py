"""A dead letter as a line of JSON: what ``dlq export`` writes and ``send --from`` puts back into a queue. Pure.

A line that somebody wrote by hand needs no more than a body: ``{"body": "hello"}``.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from courier.audit.record import rfc3339
from courier.dlq.dead_letter import REDRIVE_OF, DeadLetter
from courier.message import MOST_MESSAGE_BYTES, Attribute
from courier.sender.rejection import ATTRIBUTE, MOST_ATTRIBUTES, size

_NEWLINE: Final = orjson.OPT_APPEND_NEWLINE
_TEXTS: Final = ("group", "trace", "original_id", "source_queue")


class SavedMessage(NamedTuple):
    """A message as a line holds it. ``original_id`` and ``source_queue`` are those of the dead letter, or empty."""

    body: bytes
    attributes: tuple[Attribute, ...] = ()
    group: str = ""
    trace: str = ""
    original_id: str = ""
    source_queue: str = ""

    def attributes_for(self, queue: str) -> tuple[Attribute, ...]:
        """Return the attributes that the message has in a queue of this name.

        They name its first id, if there is room for it. The reason of its rejection is left out when the message goes
        back to the queue that it came from: there it is a new attempt.
        """
        kept = tuple(
            each for each in self.attributes if not (each.name == ATTRIBUTE and queue and queue == self.source_queue)
        )
        if not self.original_id or any(each.name == REDRIVE_OF for each in kept):
            return kept
        more = (*kept, Attribute(REDRIVE_OF, "String", self.original_id))
        return more if len(more) <= MOST_ATTRIBUTES and size(self.body, more) <= MOST_MESSAGE_BYTES else kept


def as_line(letter: DeadLetter, *, with_body: bool = True) -> bytes:
    """Return a dead letter as a line of JSON with its line feed. What isn't known is null."""
    message, failure = letter.message, letter.failure
    fields: dict[str, Any] = {
        "message_id": letter.message_id,
        "original_id": letter.original_id,
        "sent_at": rfc3339(message.sent_ms) if message.sent_ms else None,
        "receive_count": message.receive_count,
        "group": message.group or None,
        "source_queue": letter.source_queue or None,
        "reason": failure.reason or None,
        "status": failure.status,
        "failed_at": failure.failed_at or None,
        "answer": failure.answer or None,
        "known_from": failure.known_from or None,
        "trace": message.trace or None,
        "attributes": {each.name: {"type": each.data_type, "value": each.value} for each in message.attributes},
    }
    if with_body:
        try:
            fields["body"] = message.body.decode()
        except UnicodeDecodeError:
            fields["body_base64"] = b64encode(message.body).decode()
    return _dumps(fields)


def read_line(line: bytes) -> SavedMessage:
    """Return the message of a line; raise ValueError, which says what is wrong with it."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError('it is not an object, like {"body": "hello"}')
    body = _body(fields)
    texts = {name: fields.get(name) or "" for name in _TEXTS}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise ValueError(f"{name} is not a text")
    return SavedMessage(body, tuple(_attributes(fields.get("attributes") or {})), **texts)


def _body(fields: Mapping[str, Any]) -> bytes:
    text, encoded = fields.get("body"), fields.get("body_base64")
    if isinstance(text, str) and text:
        return text.encode()
    if text is None and isinstance(encoded, str):
        try:
            body = b64decode(encoded, validate=True)
            body.decode()
        except ValueError:
            raise ValueError("body_base64 is not the base64 of a text, and SQS takes only texts") from None
        if body:
            return body
    raise ValueError('it has no body: a text that is not empty, like {"body": "hello"}')


def _attributes(given: object) -> Iterator[Attribute]:
    """Yield the attributes: each is a type and a value, or only a text."""
    if not isinstance(given, dict):
        raise ValueError('attributes is not an object, like {"tenant": {"type": "String", "value": "acme"}}')
    for name, value in given.items():
        data_type, text = "String", value
        if isinstance(value, dict):
            data_type, text = value.get("type", "String"), value.get("value")
        if not isinstance(data_type, str) or not isinstance(text, str):
            raise ValueError(f'attribute {name!r} is not a text, or like {{"type": "Number", "value": "7"}}')
        yield Attribute(name, data_type, text)


def _dumps(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields, None, _NEWLINE)
