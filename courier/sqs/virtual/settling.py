"""DeleteMessage, ChangeMessageVisibility, and their batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from courier.sqs.virtual.call import Call
from courier.sqs.virtual.errors import ServiceError
from courier.sqs.virtual.parameters import Parameters, entries, failed_entry, required_number, required_text
from courier.sqs.virtual.queue import MAX_VISIBILITY_SECONDS, Queue
from courier.sqs.virtual.queue_actions import called_queue

if TYPE_CHECKING:
    from courier.sqs.virtual.service import VirtualSqs


def delete_message(sqs: VirtualSqs, call: Call) -> dict[str, Any]:
    """Delete one message."""
    queue = called_queue(sqs, call.parameters)
    _delete(queue, call.parameters, call.now)
    sqs.changed(queue, call.now)
    return {}


def delete_message_batch(sqs: VirtualSqs, call: Call) -> dict[str, Any]:
    """Delete up to ten messages, each for itself."""
    return _each(sqs, call, "DeleteMessageBatchRequestEntry", _delete)


def change_message_visibility(sqs: VirtualSqs, call: Call) -> dict[str, Any]:
    """Change for how long one message stays hidden."""
    queue = called_queue(sqs, call.parameters)
    _change_visibility(queue, call.parameters, call.now)
    sqs.changed(queue, call.now)
    return {}


def change_message_visibility_batch(sqs: VirtualSqs, call: Call) -> dict[str, Any]:
    """Change for how long up to ten messages stay hidden, each for itself."""
    return _each(sqs, call, "ChangeMessageVisibilityBatchRequestEntry", _change_visibility)


def _each(
    sqs: VirtualSqs, call: Call, shape: str, settle: Callable[[Queue, Parameters, float], None]
) -> dict[str, Any]:
    queue = called_queue(sqs, call.parameters)
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
    return {"Failed": failed, "Successful": successful}


def _delete(queue: Queue, parameters: Parameters, now: float) -> None:
    queue.delete(required_text(parameters, "ReceiptHandle"), now)


def _change_visibility(queue: Queue, parameters: Parameters, now: float) -> None:
    receipt = required_text(parameters, "ReceiptHandle")
    queue.change_visibility(receipt, required_number(parameters, "VisibilityTimeout", 0, MAX_VISIBILITY_SECONDS), now)
