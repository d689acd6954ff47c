"""The copy of a dead letter for the queue that it goes back to. Pure.

A copy is a new message: SQS gives it another id and another time. So it carries the id that it had at first, by which a
recipient recognises it.
"""

from __future__ import annotations

import hashlib
from typing import Final

from courier.dlq.dead_letter import DeadLetter
from courier.message import REDRIVE_OF, Attribute
from courier.sender.rejection import ATTRIBUTE, MOST_ATTRIBUTES, size
from courier.sqs.batch import Outgoing
from courier.sqs.queue import QueueInfo

NO_ATTRIBUTE_LEFT: Final = f"its {MOST_ATTRIBUTES} attributes leave no room for {REDRIVE_OF}"


def copy_of(letter: DeadLetter, target: QueueInfo) -> Outgoing | str:
    """Return the copy of a dead letter, or why there can be none: nothing of a message is left out.

    Body, attributes, group and trace are those of the dead letter. Courier's own attribute with the reason of the
    rejection is left out, because a copy is a new attempt. On a FIFO queue a message without a group becomes one.

    The deduplication id is made of the dead letter's own id. With the one that it was first sent with, SQS would take a
    copy within five minutes of the first message and drop it. A repeat of the same copy it may drop.
    """
    message = letter.message
    kept = tuple(each for each in message.attributes if each.name not in (ATTRIBUTE, REDRIVE_OF))
    attributes = (*kept, Attribute(REDRIVE_OF, "String", letter.original_id))
    if len(attributes) > MOST_ATTRIBUTES:
        return NO_ATTRIBUTE_LEFT
    if size(message.body, attributes) > target.maximum_message_size:
        return f"with {REDRIVE_OF} it is larger than the {target.maximum_message_size:,} bytes that {target.name} takes"
    group = message.group
    if target.fifo:
        group = group or message.message_id
    return Outgoing(message.body, attributes, group, deduplication_id(letter) if target.fifo else "", message.trace)


def deduplication_id(letter: DeadLetter) -> str:
    """Return the deduplication id of a copy: the same for each copy of one dead letter, and of no other message."""
    return hashlib.sha256(f"courier redrive\n{letter.message_id}".encode()).hexdigest()
