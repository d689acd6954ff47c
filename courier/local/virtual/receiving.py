"""ReceiveMessage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from courier.local.virtual.attribute_digest import digest_attributes
from courier.local.virtual.call import ActionAnswer, Call
from courier.local.virtual.errors import invalid_parameter, over_limit, queue_does_not_exist, unknown_attribute
from courier.local.virtual.fifo import VirtualFifoQueue
from courier.local.virtual.parameters import number, text, texts
from courier.local.virtual.queue import MAX_VISIBILITY_SECONDS, VirtualQueue
from courier.local.virtual.queue_actions import called_queue
from courier.local.virtual.sending import WRONG_QUEUE_TYPE
from courier.local.virtual.stored import StoredMessage

if TYPE_CHECKING:
    from courier.local.virtual.call import SqsService

MAX_MESSAGES: Final = 10
MAX_WAIT_SECONDS: Final = 20
ATTEMPT_ID: Final = re.compile(r"[!-~]{1,128}")
SYSTEM_ATTRIBUTES: Final = frozenset(
    {
        "AWSTraceHeader",
        "All",
        "ApproximateFirstReceiveTimestamp",
        "ApproximateReceiveCount",
        "DeadLetterQueueSourceArn",
        "MessageDeduplicationId",
        "MessageGroupId",
        "SenderId",
        "SentTimestamp",
        "SequenceNumber",
        "SqsManagedSseEnabled",
    }
)


class _Wanted(NamedTuple):
    """The parameters of a receive."""

    limit: int
    visibility: int | None
    attempt_id: str
    system: frozenset[str]
    attributes: Sequence[str]
    region: str


def receive_message(sqs: SqsService, call: Call) -> ActionAnswer:
    """Hand out messages. If there are none and the caller waits, answer when there are."""
    parameters = call.parameters
    queue = called_queue(sqs, call)
    wanted = _read(queue, call)
    wait = number(parameters, "WaitTimeSeconds", 0, MAX_WAIT_SECONDS)
    if wait is None:
        wait = queue.settings.wait
    messages = _take(sqs, queue, wanted, call.now)
    if messages or not wait:
        if not messages and queue.refuses_short_poll(call.now):
            raise over_limit()
        return _render_messages(queue, wanted, messages)
    return _poll(sqs, queue, wanted, call.now + wait)


async def _poll(sqs: SqsService, queue: VirtualQueue, wanted: _Wanted, deadline: float) -> dict[str, Any]:
    polls = sqs.polls(queue)
    messages: list[StoredMessage] = []
    now = sqs.clock()
    while not messages and now < deadline and not sqs.closing:
        try:
            await polls.wait(deadline - now)
            now = sqs.clock()
            if queue.deleted:
                raise queue_does_not_exist()
            messages = _take(sqs, queue, wanted, now)
        finally:
            polls.check(sqs.clock())
    return _render_messages(queue, wanted, messages)


def _read(queue: VirtualQueue, call: Call) -> _Wanted:
    parameters = call.parameters
    names = {*texts(parameters, "AttributeNames"), *texts(parameters, "MessageSystemAttributeNames")}
    for name in names:
        if name not in SYSTEM_ATTRIBUTES:
            raise unknown_attribute(name)
    attempt_id = text(parameters, "ReceiveRequestAttemptId")
    if attempt_id and not queue.fifo:
        raise invalid_parameter("ReceiveRequestAttemptId", attempt_id, WRONG_QUEUE_TYPE)
    if attempt_id and not ATTEMPT_ID.fullmatch(attempt_id):
        reason = "It can only include alphanumeric and punctuation characters. 1 to 128 in length."
        raise invalid_parameter("ReceiveRequestAttemptId", attempt_id, reason)
    limit = number(parameters, "MaxNumberOfMessages", 1, MAX_MESSAGES)
    return _Wanted(
        limit=limit or 1,
        visibility=number(parameters, "VisibilityTimeout", 0, MAX_VISIBILITY_SECONDS),
        attempt_id=attempt_id,
        system=frozenset(names),
        attributes=texts(parameters, "MessageAttributeNames"),
        region=call.region,
    )


def _take(sqs: SqsService, queue: VirtualQueue, wanted: _Wanted, now: float) -> list[StoredMessage]:
    messages: list[StoredMessage] = []
    if wanted.attempt_id and isinstance(queue, VirtualFifoQueue):
        messages = queue.receive_again(wanted.attempt_id, now, wanted.visibility)
        if not messages:
            messages = queue.receive(wanted.limit, now, wanted.visibility)
            queue.remember(wanted.attempt_id, messages, now)
    else:
        messages = queue.receive(wanted.limit, now, wanted.visibility)
    if queue.redrive is not None:
        sqs.changed(queue.redrive.target, now)
    return messages


def _render_messages(queue: VirtualQueue, wanted: _Wanted, messages: list[StoredMessage]) -> dict[str, Any]:
    return {"Messages": [_render_message(queue, wanted, message) for message in messages]} if messages else {}


def _render_message(queue: VirtualQueue, wanted: _Wanted, message: StoredMessage) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "MessageId": message.message_id,
        "ReceiptHandle": queue.receipt(message),
        "MD5OfBody": message.body_md5,
        "Body": message.body,
    }
    if wanted.system:
        attributes = _system_attributes(queue, wanted, message)
        if "All" not in wanted.system:
            attributes = {name: attributes[name] for name in attributes if name in wanted.system}
        if attributes:
            shown["Attributes"] = attributes
    if wanted.attributes and message.attributes:
        chosen, digest = _choose(message, wanted.attributes)
        if chosen:
            shown["MD5OfMessageAttributes"] = digest
            shown["MessageAttributes"] = chosen
    return shown


def _system_attributes(queue: VirtualQueue, wanted: _Wanted, message: StoredMessage) -> dict[str, str]:
    attributes = {
        "SenderId": message.sender_id,
        "SentTimestamp": str(int(message.sent * 1000)),
        "ApproximateReceiveCount": str(message.receive_count),
        "ApproximateFirstReceiveTimestamp": str(int(message.first_received * 1000)),
    }
    if message.group:
        attributes["MessageGroupId"] = message.group
    if message.deduplication_id:
        attributes["MessageDeduplicationId"] = message.deduplication_id
    if message.trace:
        attributes["AWSTraceHeader"] = message.trace
    if message.source is not None:
        attributes["DeadLetterQueueSourceArn"] = message.source.arn_in(wanted.region)
    if queue.fifo:
        attributes["SequenceNumber"] = queue.sequence(message)
    return attributes


def _choose(message: StoredMessage, names: Sequence[str]) -> tuple[dict[str, dict[str, Any]], str]:
    """Return the requested message attributes, by name, by ``prefix.*`` or all, and their MD5."""
    attributes = message.attributes or {}
    if any(name in ("All", ".*", "*") for name in names):
        return attributes, message.attributes_md5
    prefixes = tuple(name.removesuffix(".*") for name in names if name.endswith(".*"))
    chosen = {
        name: attributes[name] for name in attributes if name in names or (prefixes and name.startswith(prefixes))
    }
    return chosen, digest_attributes(chosen)
