"""The headers of a delivery: what Elastic Beanstalk's aws-sqsd sends, so that its applications find what they read.

Source of the names: "Elastic Beanstalk worker environments", section on the HTTP headers of the daemon.
"""

from __future__ import annotations

import time
from typing import Final

from courier.http.head import header_name, header_value
from courier.message import Message

UNSENDABLE: Final = frozenset({"Binary"})
"""aws-sqsd leaves binary attributes out: a header has no form for them."""

RESERVED_PREFIX: Final = "beanstalk.sqsd."
"""Attributes under this prefix steer aws-sqsd's periodic tasks and are never passed on."""


class DeliveryHeaders:
    """Makes the header fields of each delivery; ``dropped`` counts attributes that could not be header fields."""

    __slots__ = ("_second", "_second_text", "dropped", "queue_name")

    def __init__(self, queue_name: str) -> None:
        """``queue_name`` is the value of ``X-Aws-Sqsd-Queue``."""
        self.queue_name = queue_name.encode("ascii")
        self.dropped = 0
        self._second = -1
        self._second_text = b""

    def fields(self, message: Message) -> list[tuple[bytes, bytes]]:
        """Give the fields that vary with the message, ready for the wire."""
        fields: list[tuple[bytes, bytes]] = []
        self._add(fields, b"X-Aws-Sqsd-Msgid", message.message_id)
        fields.append((b"X-Aws-Sqsd-Queue", self.queue_name))
        fields.append((b"X-Aws-Sqsd-Receive-Count", b"%d" % message.receive_count))
        if message.first_received_ms:
            fields.append((b"X-Aws-Sqsd-First-Received-At", self._time(message.first_received_ms)))
        if message.sent_ms:
            fields.append((b"X-Aws-Sqsd-Sent-At", self._time(message.sent_ms)))
        if message.sender_id:
            self._add(fields, b"X-Aws-Sqsd-Sender-Id", message.sender_id)
        for attribute in message.attributes:
            kind = attribute.data_type.partition(".")[0]
            if kind in UNSENDABLE or attribute.name.startswith(RESERVED_PREFIX):
                continue
            name = header_name("X-Aws-Sqsd-Attr-" + attribute.name)
            if name is None:
                self.dropped += 1
            else:
                self._add(fields, name, attribute.value)
        return fields

    def _add(self, fields: list[tuple[bytes, bytes]], name: bytes, text: str) -> None:
        value = header_value(text)
        if value is None:
            self.dropped += 1
        else:
            fields.append((name, value))

    def _time(self, unix_ms: int) -> bytes:
        """Format as ISO 8601 in UTC with seconds; the last second is kept, since messages come in bunches."""
        second = unix_ms // 1000
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second)).encode("ascii")
        return self._second_text
