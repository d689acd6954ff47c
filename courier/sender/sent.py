"""What was sent of a message, in its audit record, where that isn't the body that was received."""

from __future__ import annotations

from courier.audit.record import with_sent
from courier.sender.slots import HeldPacket


def record_with_sent(record: bytes, packet: HeldPacket) -> bytes:
    """Return a record in JSON of the message whose turn it is, with the digest and length of what was sent of it."""
    content = packet.content
    if content is None or content.body is packet.message.body:
        return record
    digest = content.sha256()
    return with_sent(record, digest, len(content.body)) if digest else record
