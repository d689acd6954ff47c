"""The actions on queues: create, find, list, describe, change, purge and delete."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from courier.local.virtual.account import ACCOUNT
from courier.local.virtual.call import Call
from courier.local.virtual.errors import (
    INVALID_PARAMETER_VALUE,
    ServiceError,
    invalid_parameter,
    missing_parameter,
    queue_does_not_exist,
    unknown_attribute,
)
from courier.local.virtual.parameters import Parameters, mapping, number, required_text, text, texts
from courier.local.virtual.queue import VirtualQueue
from courier.local.virtual.settings import CHOICES, DOCUMENTS, RANGES
from courier.local.virtual.tags import merged_tags, read_tags

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


class _Page(NamedTuple):
    """The page of a list that a call asks for: ``most`` names after ``after``."""

    after: str
    most: int
    paged: bool


def called_queue(sqs: SqsService, call: Call) -> VirtualQueue:
    """Return the queue of a call. Raise ServiceError if it names no existing queue."""
    return sqs.registry.at(required_text(call.parameters, "QueueUrl"), call.region)


def create_queue(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Create a queue, or return the one of that name, whose tags stay as they are."""
    name = _required_name(call.parameters)
    tags = merged_tags(name, {}, read_tags(call.parameters, "tags"))
    if sqs.waits is not None:
        sqs.waits.create(name, call.region, call.now)
    queue = sqs.registry.create(name, mapping(call.parameters, "Attributes"), call.now, call.region, tags)
    return {"QueueUrl": _url(call, queue.name)}


def delete_queue(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Delete a queue immediately; SQS takes up to a minute."""
    queue = called_queue(sqs, call)
    if sqs.waits is not None:
        sqs.waits.delete(queue, call.now)
    sqs.registry.delete(queue)
    sqs.removed(queue)
    return {}


def get_queue_url(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Return the URL of a queue by its name."""
    queue = sqs.registry.find(_required_name(call.parameters), call.region)
    if text(call.parameters, "QueueOwnerAWSAccountId") not in ("", ACCOUNT):
        raise queue_does_not_exist()
    return {"QueueUrl": _url(call, queue.name)}


def list_queues(sqs: SqsService, call: Call) -> dict[str, Any]:
    """List queues by prefix. A page has a token for the next one only if the caller asked for pages."""
    asked = _read_page(call.parameters)
    names = sqs.registry.names(text(call.parameters, "QueueNamePrefix"), asked.after, asked.most + 1, call.region)
    answer: dict[str, Any] = {"QueueUrls": [_url(call, name) for name in names[: asked.most]]} if names else {}
    return {**answer, **_next_page(asked, names)}


def list_dead_letter_source_queues(sqs: SqsService, call: Call) -> dict[str, Any]:
    """List the queues whose redrive policy names this queue. They are the only ones that SQS knows as its sources."""
    queue = called_queue(sqs, call)
    asked = _read_page(call.parameters)
    names = [source.name for source in sqs.registry.sources(queue, call.region) if source.name > asked.after]
    return {"queueUrls": [_url(call, name) for name in names[: asked.most]], **_next_page(asked, names)}


def get_queue_attributes(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Return a queue's attributes and its numbers of messages, which are exact here."""
    queue = called_queue(sqs, call)
    names = texts(call.parameters, "AttributeNames")
    for name in names:
        if name != "All" and name not in KNOWN:
            raise unknown_attribute(name)
    if not names:
        return {}
    counts = queue.counts(call.now)
    attributes = {
        **sqs.registry.attributes(queue, call.region),
        "ApproximateNumberOfMessages": str(counts.visible),
        "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
        "ApproximateNumberOfMessagesNotVisible": str(counts.in_flight),
        "CreatedTimestamp": str(int(queue.created)),
        "LastModifiedTimestamp": str(int(queue.modified)),
        "QueueArn": queue.arn_in(call.region),
    }
    if "All" not in names:
        attributes = {name: attributes[name] for name in names if name in attributes}
    return {"Attributes": attributes} if attributes else {}


def set_queue_attributes(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Change a queue's attributes immediately; SQS takes up to a minute."""
    queue = called_queue(sqs, call)
    given = mapping(call.parameters, "Attributes")
    if not given:
        raise missing_parameter("Attributes")
    sqs.registry.change(queue, given, call.now, call.region)
    sqs.changed(queue, call.now)
    return {}


def purge_queue(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Delete all messages of a queue immediately; SQS takes up to a minute."""
    queue = called_queue(sqs, call)
    if sqs.waits is not None:
        sqs.waits.purge(queue, call.now)
    queue.purge()
    return {}


def _required_name(parameters: Parameters) -> str:
    name = text(parameters, "QueueName")
    if not name:
        detail = "Value for parameter QueueName is invalid. Reason: Must specify a queue name."
        raise ServiceError(INVALID_PARAMETER_VALUE, detail)
    return name


def _url(call: Call, name: str) -> str:
    return f"{call.base_url}/{ACCOUNT}/{name}"


def _read_page(parameters: Parameters) -> _Page:
    limit = number(parameters, "MaxResults", 1, MAX_LISTED)
    token = text(parameters, "NextToken")
    return _Page(_read_token(token), limit or MAX_LISTED, limit is not None)


def _next_page(asked: _Page, names: Sequence[str]) -> dict[str, str]:
    """Return the token of the page after these names. ``names`` may go beyond the page."""
    if not asked.paged or len(names) <= asked.most:
        return {}
    return {"NextToken": base64.b64encode(names[asked.most - 1].encode()).decode("ascii")}


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise invalid_parameter("NextToken", token, "Invalid or expired next token.") from None
