"""Message move tasks, on the virtual queue alone, with boto3 as the client: moto has none.

Source: LocalStack's ``tests/aws/services/sqs/test_sqs_move_task.py``, which was run against AWS, with its snapshots.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from tests.integration.sqs_endpoints import create_queue, queue_arn, redrive_policy, sqs_client

DEADLINE: Final = 15.0


class Pipe:
    """A queue, its dead-letter queue, and another queue."""

    def __init__(self, endpoint: str) -> None:
        self.sqs = sqs_client(endpoint)
        self.dead, self.other = create_queue(endpoint), create_queue(endpoint)
        self.queue = create_queue(endpoint, {"RedrivePolicy": redrive_policy(endpoint, self.dead, 1)})
        self.arn, self.other_arn = queue_arn(endpoint, self.dead), queue_arn(endpoint, self.other)

    def fail(self, count: int) -> None:
        """Bring so many messages to the dead-letter queue."""
        for number in range(count):
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=str(number))
        for _ in range(2 * count):
            self.sqs.receive_message(QueueUrl=self.queue, VisibilityTimeout=0)

    def latest(self) -> dict[str, Any]:
        (task,) = self.sqs.list_message_move_tasks(SourceArn=self.arn)["Results"]
        return dict(task)

    def ended(self) -> dict[str, Any]:
        wait_until(lambda: self.latest()["Status"] not in ("RUNNING", "CANCELLING"))
        return self.latest()


@pytest.fixture
def pipe(virtual_queue: str) -> Pipe:
    return Pipe(virtual_queue)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refused(call: Any, **parameters: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_task_moves_dead_letters_and_says_so(pipe: Pipe, elsewhere: bool) -> None:
    pipe.fail(12)
    target = {"DestinationArn": pipe.other_arn} if elsewhere else {}
    handle = pipe.sqs.start_message_move_task(SourceArn=pipe.arn, **target)["TaskHandle"]
    assert json.loads(base64.b64decode(handle))["sourceArn"] == pipe.arn
    task = pipe.ended()
    assert abs(task.pop("StartedTimestamp") / 1000 - time.time()) < 60
    assert task == {
        "Status": "COMPLETED",
        "SourceArn": pipe.arn,
        "ApproximateNumberOfMessagesMoved": 12,
        "ApproximateNumberOfMessagesToMove": 12,
        **target,
    }
    queue = pipe.other if elsewhere else pipe.queue
    received: list[str] = []
    while len(received) < 12:
        messages = pipe.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5)["Messages"]
        received += [message["Body"] for message in messages]
    assert received == [str(number) for number in range(12)]
    assert "Messages" not in pipe.sqs.receive_message(QueueUrl=pipe.dead)


def test_a_long_poll_gets_what_a_task_moves_at_a_rate_and_a_cancelled_one_stops(pipe: Pipe) -> None:
    pipe.fail(10)
    start = {"SourceArn": pipe.arn, "DestinationArn": pipe.other_arn, "MaxNumberOfMessagesPerSecond": 2}
    handle = pipe.sqs.start_message_move_task(**start)["TaskHandle"]
    for body in ("0", "1"):
        (message,) = pipe.sqs.receive_message(QueueUrl=pipe.other, WaitTimeSeconds=10)["Messages"]
        assert message["Body"] == body
    running = pipe.latest()
    assert running["TaskHandle"] == handle
    assert (running["Status"], running["MaxNumberOfMessagesPerSecond"]) == ("RUNNING", 2)
    assert refused(pipe.sqs.start_message_move_task, **start) == (
        400,
        "InvalidParameterValue",
        "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
    )
    moved = pipe.sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    ended = pipe.ended()
    assert ended["Status"] == "CANCELLED"
    assert "TaskHandle" not in ended
    assert 2 <= moved <= ended["ApproximateNumberOfMessagesMoved"] < 10
    assert pipe.sqs.receive_message(QueueUrl=pipe.dead)["Messages"]
    assert refused(pipe.sqs.cancel_message_move_task, TaskHandle=handle)[:2] == (400, "InvalidParameterValue")


def test_a_task_without_its_destination_fails(pipe: Pipe) -> None:
    pipe.fail(5)
    start = {"SourceArn": pipe.arn, "DestinationArn": pipe.other_arn, "MaxNumberOfMessagesPerSecond": 5}
    pipe.sqs.start_message_move_task(**start)
    pipe.sqs.delete_queue(QueueUrl=pipe.other)
    ended = pipe.ended()
    assert (ended["Status"], ended["FailureReason"]) == ("FAILED", "AWS.SimpleQueueService.NonExistentQueue")
    assert pipe.sqs.receive_message(QueueUrl=pipe.dead)["Messages"]


def test_the_ten_latest_tasks_are_listed_the_latest_first(pipe: Pipe) -> None:
    for rate in range(1, 13):
        pipe.sqs.start_message_move_task(SourceArn=pipe.arn, MaxNumberOfMessagesPerSecond=rate)
        assert pipe.ended()["MaxNumberOfMessagesPerSecond"] == rate
    listed = pipe.sqs.list_message_move_tasks(SourceArn=pipe.arn, MaxResults=10)["Results"]
    assert [task["MaxNumberOfMessagesPerSecond"] for task in listed] == list(range(12, 2, -1))
    assert refused(pipe.sqs.list_message_move_tasks, SourceArn=pipe.arn, MaxResults=11)[1] == "InvalidParameterValue"


def test_a_task_that_cannot_be_is_refused(virtual_queue: str, pipe: Pipe) -> None:
    start, cancel = pipe.sqs.start_message_move_task, pipe.sqs.cancel_message_move_task
    no_source = "The resource that you specified for the SourceArn parameter doesn't exist."
    no_destination = "The resource that you specified for the DestinationArn parameter doesn't exist."
    assert refused(start, SourceArn=f"{pipe.arn}-not") == (404, "ResourceNotFoundException", no_source)
    assert refused(start, SourceArn=pipe.arn, DestinationArn=f"{pipe.other_arn}-not") == (
        404,
        "ResourceNotFoundException",
        no_destination,
    )
    assert refused(start, SourceArn=pipe.other_arn, DestinationArn=pipe.arn) == (
        400,
        "InvalidParameterValue",
        "Source queue must be configured as a Dead Letter Queue.",
    )
    assert refused(cancel, TaskHandle="nonsense") == (
        400,
        "InvalidParameterValue",
        "Value for parameter TaskHandle is invalid.",
    )
    for arn, text in ((f"{pipe.arn}-not", no_source), (pipe.arn, "Task does not exist.")):
        handle = base64.b64encode(json.dumps({"taskId": "none", "sourceArn": arn}).encode()).decode()
        assert refused(cancel, TaskHandle=handle) == (404, "ResourceNotFoundException", text)
    # Source: "The destination queue must be of the same type"; MaxNumberOfMessagesPerSecond is at most 500.
    fifo = queue_arn(virtual_queue, create_queue(virtual_queue, fifo=True))
    for wrong in ({"DestinationArn": fifo}, {"DestinationArn": pipe.arn}, {"MaxNumberOfMessagesPerSecond": 501}):
        assert refused(start, SourceArn=pipe.arn, **wrong)[:2] == (400, "InvalidParameterValue")
    assert pipe.sqs.list_message_move_tasks(SourceArn=pipe.arn)["Results"] == []
