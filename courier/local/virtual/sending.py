"""The actions SendMessage and SendMessageBatch."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

from courier.local.virtual.call import Call
from courier.local.virtual.content import read_message
from courier.local.virtual.errors import (
    BATCH_REQUEST_TOO_LONG,
    INVALID_PARAMETER_VALUE,
    MISSING_PARAMETER,
    ServiceError,
    invalid_parameter,
    missing_parameter,
)
from courier.local.virtual.parameters import Parameters, batch_answer, entries, failed_entry, number, text
from courier.local.virtual.queue import Accepted, VirtualQueue
from courier.local.virtual.queue_actions import called_queue
from courier.local.virtual.settings import MAX_MESSAGE_BYTES
from courier.local.virtual.stored import StoredMessage

if TYPE_CHECKING:
    from courier.local.virtual.call import SqsService

MAX_DELAY_SECONDS: Final = 900
GROUP_OR_DEDUPLICATION_ID: Final = re.compile(r"[!-~]{1,128}")
WRONG_QUEUE_TYPE: Final = "The request include parameter that is not valid for this queue type."
NO_DEDUPLICATION_ID: Final = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)


def send_message(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Accept one message."""
    queue = called_queue(sqs, call)
    message = read_message(call.parameters, call.trace)
    _check(message, queue, call.parameters)
    accepted = queue.send(message, call.now, _delay(queue, call.parameters))
    sqs.changed(queue, call.now)
    return _render_sent(message, accepted)


def send_message_batch(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Accept up to ten messages individually.

    The whole batch is refused if all of it is too large, or if an entry lacks an id that a FIFO queue requires.
    """
    queue = called_queue(sqs, call)
    batch = entries(call.parameters, "SendMessageBatchRequestEntry")
    faults = sqs.faults
    ready: list[tuple[str, StoredMessage, int | None]] = []
    failed = []
    total = 0
    for entry in batch:
        try:
            if faults is not None and (fault := faults.entry(call.action, entry)):
                raise fault
            message = read_message(entry, call.trace)
            total += message.size  # also of a message that is too large by itself, since all of the batch was sent
            _check(message, queue, entry)
            ready.append((entry["Id"], message, _delay(queue, entry)))
        except ServiceError as error:
            if error.kind is MISSING_PARAMETER or error.detail == NO_DEDUPLICATION_ID:
                raise ServiceError(INVALID_PARAMETER_VALUE, error.detail) from None
            failed.append(failed_entry(entry["Id"], error))
    if total > MAX_MESSAGE_BYTES:
        detail = f"Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {total} bytes."
        raise ServiceError(BATCH_REQUEST_TOO_LONG, detail)
    successful = []
    for entry_id, message, delay in ready:
        accepted = queue.send(message, call.now, delay)
        successful.append({"Id": entry_id, **_render_sent(message, accepted)})
    sqs.changed(queue, call.now)
    return batch_answer(successful, failed)


def _check(message: StoredMessage, queue: VirtualQueue, parameters: Parameters) -> None:
    """Read the ids of a message. Raise ServiceError if the queue can't accept it."""
    limit = queue.settings.max_message_bytes
    if message.size > limit:
        detail = f"One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
        raise ServiceError(INVALID_PARAMETER_VALUE, detail)
    message.group = _checked_id(parameters, "MessageGroupId")
    message.deduplication_id = _checked_id(parameters, "MessageDeduplicationId")
    if queue.fifo:
        if not message.group:
            raise missing_parameter("MessageGroupId")
        if not message.deduplication_id:
            if not queue.settings.content_based_deduplication:
                raise ServiceError(INVALID_PARAMETER_VALUE, NO_DEDUPLICATION_ID)
            message.deduplication_id = hashlib.sha256(message.body.encode()).hexdigest()
    elif message.deduplication_id:
        raise invalid_parameter("MessageDeduplicationId", message.deduplication_id, WRONG_QUEUE_TYPE)


def _checked_id(parameters: Parameters, name: str) -> str:
    if parameters.get(name) is None:
        return ""
    value = text(parameters, name)
    if not GROUP_OR_DEDUPLICATION_ID.fullmatch(value):
        detail = f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        raise invalid_parameter(name, value, detail)
    return value


def _delay(queue: VirtualQueue, parameters: Parameters) -> int | None:
    delay = number(parameters, "DelaySeconds", 0, MAX_DELAY_SECONDS)
    if delay and queue.fifo:
        raise invalid_parameter("DelaySeconds", delay, WRONG_QUEUE_TYPE)
    return delay


def _render_sent(message: StoredMessage, accepted: Accepted) -> dict[str, Any]:
    sent = {"MessageId": accepted.message_id, "MD5OfMessageBody": message.body_md5}
    if message.attributes_md5:
        sent["MD5OfMessageAttributes"] = message.attributes_md5
    if message.trace_md5:
        sent["MD5OfMessageSystemAttributes"] = message.trace_md5
    if accepted.sequence:
        sent["SequenceNumber"] = accepted.sequence
    return sent
