"""The actions StartMessageMoveTask, CancelMessageMoveTask and ListMessageMoveTasks, and the tasks themselves."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import orjson

from courier.local.virtual.account import EVERYWHERE
from courier.local.virtual.call import Call
from courier.local.virtual.errors import INVALID_PARAMETER_VALUE, ServiceError, invalid_parameter, resource_not_found
from courier.local.virtual.move_task import RUNNING, MoveTask
from courier.local.virtual.parameters import number, required_text, text
from courier.local.virtual.queue import VirtualQueue

if TYPE_CHECKING:
    from courier.local.virtual.call import SqsService

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
MAX_RATE: Final = 500
MAX_LISTED: Final = 10
NO_DEAD_LETTER_QUEUE: Final = "Source queue must be configured as a Dead Letter Queue."
ONE_AT_A_TIME: Final = (
    "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
)
SOURCE: Final = "SourceArn"
DESTINATION: Final = "DestinationArn"


class MoveTasks:
    """The latest tasks of each source queue. Those that run do so in the event loop of the service."""

    def __init__(self) -> None:
        self._tasks: dict[VirtualQueue, deque[MoveTask]] = {}

    def of(self, source: VirtualQueue) -> deque[MoveTask]:
        """Return the tasks of a source queue, the latest first."""
        return self._tasks.get(source) or deque(maxlen=MAX_LISTED)

    def start(self, sqs: SqsService, task: MoveTask) -> None:
        """Begin to move messages."""
        self._tasks.setdefault(task.source, deque(maxlen=MAX_LISTED)).appendleft(task)
        asyncio.get_running_loop().call_soon(_step, sqs, task)

    def forget(self, source: VirtualQueue) -> None:
        """Forget the tasks of a queue that was deleted."""
        self._tasks.pop(source, None)


def _step(sqs: SqsService, task: MoveTask) -> None:
    now = sqs.clock()
    for queue in task.step(now):
        sqs.changed(queue, now)
    if task.active and not sqs.closing:
        asyncio.get_running_loop().call_later(max(task.next_step() - now, 0.0), _step, sqs, task)


def start_message_move_task(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Begin to move the messages of a dead-letter queue; the answer doesn't wait for it."""
    source = _queue(sqs, call, SOURCE, required_text(call.parameters, SOURCE))
    if not sqs.registry.sources(source, call.region):
        raise ServiceError(INVALID_PARAMETER_VALUE, NO_DEAD_LETTER_QUEUE)
    arn = text(call.parameters, DESTINATION)
    target = _queue(sqs, call, DESTINATION, arn) if arn else None
    if target is source:
        raise invalid_parameter(DESTINATION, arn, "The destination must not be the source.")
    if target is not None and target.fifo is not source.fifo:
        raise invalid_parameter(DESTINATION, arn, "The destination must be of the same type of queue as the source.")
    rate = number(call.parameters, "MaxNumberOfMessagesPerSecond", 1, MAX_RATE)
    if any(task.active for task in sqs.moves.of(source)):
        raise ServiceError(INVALID_PARAMETER_VALUE, ONE_AT_A_TIME)
    task = MoveTask(source, target, rate, call.now, sqs.registry.current)
    sqs.moves.start(sqs, task)
    return {"TaskHandle": _write_handle(task, call.region)}


def cancel_message_move_task(sqs: SqsService, call: Call) -> dict[str, Any]:
    """End a task that runs. What it has moved stays where it is."""
    handle = required_text(call.parameters, "TaskHandle")
    task_id, arn = _read_handle(handle)
    source = _queue(sqs, call, SOURCE, arn)
    task = next((task for task in sqs.moves.of(source) if task.task_id == task_id), None)
    if task is None:
        raise resource_not_found("Task does not exist.")
    if task.status != RUNNING:
        raise ServiceError(INVALID_PARAMETER_VALUE, "Only active tasks can be cancelled.")
    task.cancel()
    return {"ApproximateNumberOfMessagesMoved": task.moved}


def list_message_move_tasks(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Describe the latest tasks of a source queue, the latest first."""
    source = _queue(sqs, call, SOURCE, required_text(call.parameters, SOURCE))
    limit = number(call.parameters, "MaxResults", 1, MAX_LISTED) or 1
    return {"Results": [_describe(task, call.region) for task in list(sqs.moves.of(source))[:limit]]}


def _describe(task: MoveTask, region: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "Status": task.status,
        "SourceArn": task.source.arn_in(region),
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": int(task.started * 1000),
    }
    if task.status == RUNNING:
        described["TaskHandle"] = _write_handle(task, region)
    if task.target is not None:
        described["DestinationArn"] = task.target.arn_in(region)
    if task.rate is not None:
        described["MaxNumberOfMessagesPerSecond"] = task.rate
    if task.failure:
        described["FailureReason"] = task.failure
    return described


def _queue(sqs: SqsService, call: Call, name: str, arn: str) -> VirtualQueue:
    queue = sqs.registry.named_by(arn)
    if queue is None or queue.region not in (call.region, EVERYWHERE):
        raise resource_not_found(f"The resource that you specified for the {name} parameter doesn't exist.")
    return queue


def _write_handle(task: MoveTask, region: str) -> str:
    return base64.b64encode(orjson.dumps({"taskId": task.task_id, "sourceArn": task.source.arn_in(region)})).decode()


def _read_handle(handle: str) -> tuple[str, str]:
    try:
        fields = orjson.loads(base64.b64decode(handle, validate=True))
        return str(fields["taskId"]), str(fields["sourceArn"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise ServiceError(INVALID_PARAMETER_VALUE, "Value for parameter TaskHandle is invalid.") from None
