"""The received messages whose record is durable already: their delete was lost, and only that is left to do."""

from __future__ import annotations

from collections.abc import Sequence

from courier.audit.recorded_ids import RecordedIds
from courier.message import Message


def split_duplicates(
    messages: list[Message], recorded: RecordedIds, *, fifo: bool
) -> tuple[list[Message], Sequence[Message]]:
    """Return the messages that have to be delivered, and the others, both in their order.

    On a FIFO queue a message is delivered again if an earlier one of its group is: the recipient would otherwise get
    the earlier one last. That happens if the earlier one was rejected and the failure queue hasn't taken it.

    The first receive of a message isn't looked up: nothing can have been lost before it. So the usual message costs one
    comparison.
    """
    again = [message for message in messages if message[4] > 1]
    duplicates = [message for message in again if recorded.recognises(message)]
    if not duplicates:
        return messages, ()
    # By identity, because nothing of a message is unique if the queue is hostile.
    those = set(map(id, duplicates))
    if fifo:
        delivered: set[str] = set()
        for message in messages:
            if id(message) not in those:
                delivered.add(message.group)
            elif message.group in delivered:
                those.discard(id(message))
        duplicates = [message for message in duplicates if id(message) in those]
    return [message for message in messages if id(message) not in those], duplicates
