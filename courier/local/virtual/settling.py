"""The actions DeleteMessage and ChangeMessageVisibility, and their batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from courier.local.virtual.call import Call
from courier.local.virtual.errors import ServiceError
from courier.local.virtual.parameters import (
    Parameters,
    batch_answer,
    entries,
    failed_entry,
    required_number,
    required_text,
)
from courier.local.virtual.queue import MAX_VISIBILITY_SECONDS, VirtualQueue
from courier.local.virtual.queue_actions import called_queue

if TYPE_CHECKING:
    from courier.local.virtual.call import SqsService

Settle = Callable[[VirtualQueue, Parameters, float], None]
"""Settles a message of a queue, according to the parameters, at an instant."""


def delete_message(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Delete one message."""
    return _one(sqs, call, _delete)


def delete_message_batch(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Delete up to ten messages individually."""
    return _each(sqs, call, "DeleteMessageBatchRequestEntry", _delete)


def change_message_visibility(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Change how long one message stays hidden."""
    return _one(sqs, call, _change_visibility)


def change_message_visibility_batch(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Change individually how long up to ten messages stay hidden."""
    return _each(sqs, call, "ChangeMessageVisibilityBatchRequestEntry", _change_visibility)


def _one(sqs: SqsService, call: Call, settle: Settle) -> dict[str, Any]:
    queue = called_queue(sqs, call)
    settle(queue, call.parameters, call.now)
    sqs.changed(queue, call.now)
    return {}


def _each(sqs: SqsService, call: Call, shape: str, settle: Settle) -> dict[str, Any]:
    queue = called_queue(sqs, call)
    faults = sqs.faults
    successful = []
    failed = []
    for entry in entries(call.parameters, shape):
        try:
            if faults is not None and (fault := faults.entry(call.action, entry)):
                raise fault
            settle(queue, entry, call.now)
            successful.append({"Id": entry["Id"]})
        except ServiceError as error:
            failed.append(failed_entry(entry["Id"], error))
    sqs.changed(queue, call.now)
    return batch_answer(successful, failed)


def _delete(queue: VirtualQueue, parameters: Parameters, now: float) -> None:
    queue.delete(required_text(parameters, "ReceiptHandle"), now)


def _change_visibility(queue: VirtualQueue, parameters: Parameters, now: float) -> None:
    receipt = required_text(parameters, "ReceiptHandle")
    queue.change_visibility(receipt, required_number(parameters, "VisibilityTimeout", 0, MAX_VISIBILITY_SECONDS), now)
