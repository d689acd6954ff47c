"""The actions TagQueue, UntagQueue and ListQueueTags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from courier.local.virtual.call import Call
from courier.local.virtual.errors import missing_parameter
from courier.local.virtual.parameters import texts
from courier.local.virtual.queue_actions import called_queue
from courier.local.virtual.tags import check_key, merged_tags, read_tags, wrong_key

if TYPE_CHECKING:
    from courier.local.virtual.call import SqsService


def tag_queue(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Add tags to a queue. A tag with the key of an existing one replaces it."""
    queue = called_queue(sqs, call)
    given = read_tags(call.parameters, "Tags")
    if not given:
        raise missing_parameter("Tags")
    queue.tags = merged_tags(queue.name, queue.tags, given)
    return {}


def untag_queue(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Remove tags from a queue. A key that it hasn't is ignored."""
    queue = called_queue(sqs, call)
    keys = texts(call.parameters, "TagKeys")
    if not keys:
        raise wrong_key()
    for key in keys:
        check_key(key)
    queue.tags = {key: value for key, value in queue.tags.items() if key not in keys}
    return {}


def list_queue_tags(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Return the tags of a queue. SQS leaves out an empty list."""
    queue = called_queue(sqs, call)
    return {"Tags": dict(queue.tags)} if queue.tags else {}
