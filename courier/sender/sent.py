"""What was sent of a message, in its audit record, where that isn't the body that was received, and where to."""

from __future__ import annotations

from courier.audit.record import with_sent
from courier.sender.slots import HeldPacket


def record_with_sent(record: bytes, packet: HeldPacket) -> bytes:
    """Return a record in JSON of the message whose turn it is, with what was sent of it: digest, length and path."""
    content = packet.content
    if content is None:
        return record
    digest = "" if content.body is packet.message.body else content.sha256()
    return with_sent(record, digest, len(content.body), content.path) if digest or content.path else record
