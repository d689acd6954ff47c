"""The headers of a delivery: what Elastic Beanstalk's aws-sqsd sends, so that its applications find what they read.

Source of the names: "Elastic Beanstalk worker environments", section on the HTTP headers of the daemon.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final

from courier.http.head import header_name, header_value
from courier.message import Message

UNSENDABLE: Final = "Binary"
"""The data type, or what is before the dot of a custom one, that aws-sqsd leaves out: a header has no form for it."""

RESERVED_PREFIX: Final = "beanstalk.sqsd."
"""Attributes under this prefix steer aws-sqsd's periodic tasks and are never passed on."""


@lru_cache(maxsize=256)
def iso_8601(unix_second: int) -> bytes:
    """Format an instant as ISO 8601 in UTC; kept, since messages come in bunches of a few seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_second)).encode("ascii")


sender_value = lru_cache(maxsize=256)(header_value)
"""Senders are few, and each sends many messages."""


class DeliveryHeaders:
    """Makes the header lines of each delivery; ``dropped`` counts values that could not be header fields."""

    __slots__ = ("_always", "dropped")

    def __init__(self, queue_name: str) -> None:
        """``queue_name`` is the value of ``X-Aws-Sqsd-Queue``."""
        # Four of the five fields of nearly every message in one formatting: it stands on the hot path.
        self._always = (
            b"X-Aws-Sqsd-Msgid: %b\r\n"
            b"X-Aws-Sqsd-Queue: " + queue_name.encode("ascii") + b"\r\n"
            b"X-Aws-Sqsd-Receive-Count: %d\r\n"
            b"X-Aws-Sqsd-First-Received-At: %b\r\n"
            b"X-Aws-Sqsd-Sent-At: %b\r\n"
        )
        self.dropped = 0

    def lines(self, message: Message) -> bytes:
        """Give the header lines that vary with the message, each with its line end, ready for the wire."""
        lines = self._always % (
            header_value(message.message_id) or b"",
            message.receive_count,
            iso_8601(message.first_received_ms // 1000),
            iso_8601(message.sent_ms // 1000),
        )
        if message.sender_id:
            lines += self._line(b"X-Aws-Sqsd-Sender-Id", sender_value(message.sender_id))
        for attribute in message.attributes:
            if attribute.data_type.startswith(UNSENDABLE) or attribute.name.startswith(RESERVED_PREFIX):
                continue
            lines += self._line(header_name("X-Aws-Sqsd-Attr-" + attribute.name), header_value(attribute.value))
        return lines

    def _line(self, name: bytes | None, value: bytes | None) -> bytes:
        if name is None or value is None:
            self.dropped += 1
            return b""
        return b"%b: %b\r\n" % (name, value)
