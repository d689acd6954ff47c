"""The actions on queues: create, find, list, describe, change, purge and delete."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from courier.local.virtual.account import ACCOUNT
from courier.local.virtual.call import Call
from courier.local.virtual.errors import invalid_parameter, missing_parameter, queue_does_not_exist, unknown_attribute
from courier.local.virtual.parameters import Parameters, mapping, number, required_text, text, texts
from courier.local.virtual.queue import VirtualQueue
from courier.local.virtual.settings import CHOICES, DOCUMENTS, RANGES

if TYPE_CHECKING:
    from courier.local.virtual.call import SqsService

COUNTED: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
KNOWN: Final = frozenset(
    {*RANGES, *CHOICES, *DOCUMENTS, *COUNTED, "CreatedTimestamp", "LastModifiedTimestamp", "QueueArn"}
)
MAX_LISTED: Final = 1000


def called_queue(sqs: SqsService, parameters: Parameters) -> VirtualQueue:
    """Return the queue of a call. Raise ServiceError if it names no existing queue."""
    return sqs.registry.at(required_text(parameters, "QueueUrl"))


def create_queue(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Create a queue. Tags are accepted and discarded."""
    name = required_text(call.parameters, "QueueName")
    queue = sqs.registry.create(name, mapping(call.parameters, "Attributes"), call.now)
    return {"QueueUrl": _url(call, queue.name)}


def delete_queue(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Delete a queue immediately; SQS takes up to a minute."""
    queue = called_queue(sqs, call.parameters)
    sqs.registry.delete(queue)
    sqs.removed(queue)
    return {}


def get_queue_url(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Return the URL of a queue by its name."""
    queue = sqs.registry.find(required_text(call.parameters, "QueueName"))
    if text(call.parameters, "QueueOwnerAWSAccountId") not in ("", ACCOUNT):
        raise queue_does_not_exist()
    return {"QueueUrl": _url(call, queue.name)}


def list_queues(sqs: SqsService, call: Call) -> dict[str, Any]:
    """List queues by prefix. A page has a token for the next one only if the caller asked for pages."""
    parameters = call.parameters
    limit = number(parameters, "MaxResults", 1, MAX_LISTED)
    after = _read_token(text(parameters, "NextToken"))
    names = sqs.registry.names(text(parameters, "QueueNamePrefix"), after, (limit or MAX_LISTED) + 1)
    page = names[: limit or MAX_LISTED]
    answer: dict[str, Any] = {}
    if page:
        answer["QueueUrls"] = [_url(call, name) for name in page]
    if limit is not None and len(names) > limit:
        answer["NextToken"] = base64.b64encode(page[-1].encode()).decode("ascii")
    return answer


def get_queue_attributes(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Return a queue's attributes and its numbers of messages, which are exact here."""
    queue = called_queue(sqs, call.parameters)
    names = texts(call.parameters, "AttributeNames")
    for name in names:
        if name != "All" and name not in KNOWN:
            raise unknown_attribute(name)
    if not names:
        return {}
    counts = queue.counts(call.now)
    attributes = {
        **sqs.registry.attributes(queue),
        "ApproximateNumberOfMessages": str(counts.visible),
        "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
        "ApproximateNumberOfMessagesNotVisible": str(counts.in_flight),
        "CreatedTimestamp": str(int(queue.created)),
        "LastModifiedTimestamp": str(int(queue.modified)),
        "QueueArn": queue.arn,
    }
    if "All" not in names:
        attributes = {name: attributes[name] for name in names if name in attributes}
    return {"Attributes": attributes} if attributes else {}


def set_queue_attributes(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Change a queue's attributes immediately; SQS takes up to a minute."""
    queue = called_queue(sqs, call.parameters)
    given = mapping(call.parameters, "Attributes")
    if not given:
        raise missing_parameter("Attributes")
    sqs.registry.change(queue, given, call.now)
    sqs.changed(queue, call.now)
    return {}


def purge_queue(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Delete all messages of a queue immediately. It may be repeated without a delay."""
    called_queue(sqs, call.parameters).purge()
    return {}


def _url(call: Call, name: str) -> str:
    return f"{call.base_url}/{ACCOUNT}/{name}"


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise invalid_parameter("NextToken", token, "Invalid or expired next token.") from None
