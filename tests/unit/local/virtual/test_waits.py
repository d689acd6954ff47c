"""The waits of SQS between some calls, which the virtual queue enforces only if told to.

Sources: "When you delete a queue, you must wait at least 60 seconds before creating a queue with the same name" in
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html, and LocalStack's
test_successive_purge_calls_fail, which was run against AWS.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from courier.local.exchange import Request, Response
from courier.local.virtual.service import VirtualSqs


class Client:
    """A client of a service with a clock that the test sets."""

    def __init__(self, *, enforce_waits: bool) -> None:
        self.now = 1000.0
        self.sqs = VirtualSqs(clock=lambda: self.now, enforce_waits=enforce_waits)

    def call(self, action: str, region: str = "us-east-1", **parameters: Any) -> tuple[int, str, str]:
        """Make a call, and return status, code and text of its error; the code of a success is empty."""
        headers = {
            "authorization": f"AWS4-HMAC-SHA256 Credential=key/20261126/{region}/sqs/aws4_request",
            "host": "queue.test",
            "x-amz-target": f"AmazonSQS.{action}",
        }
        response = self.sqs.handle(Request("POST", "/", headers, orjson.dumps(parameters)))
        assert isinstance(response, Response)
        code = dict(response.headers).get("x-amzn-query-error", "").partition(";")[0]
        return response.status, code, orjson.loads(response.body).get("message", "")


def test_a_queue_is_purged_once_a_minute() -> None:
    client = Client(enforce_waits=True)
    for name in ("queue", "other"):
        client.call("CreateQueue", QueueName=name)
    assert client.call("PurgeQueue", QueueUrl="queue")[0] == 200
    assert client.call("PurgeQueue", QueueUrl="other")[0] == 200
    client.now += 59.9
    assert client.call("PurgeQueue", QueueUrl="queue") == (
        403,
        "AWS.SimpleQueueService.PurgeQueueInProgress",
        "Only one PurgeQueue operation on queue is allowed every 60 seconds.",
    )
    client.now += 0.1
    assert client.call("PurgeQueue", QueueUrl="queue")[0] == 200


@pytest.mark.parametrize("everywhere", [False, True])
def test_the_name_of_a_deleted_queue_is_free_after_a_minute(everywhere: bool) -> None:
    client = Client(enforce_waits=True)
    if everywhere:
        client.sqs.create_queue("queue")
    else:
        client.call("CreateQueue", QueueName="queue")
    assert client.call("DeleteQueue", QueueUrl="queue")[0] == 200
    client.now += 59.9
    assert client.call("CreateQueue", QueueName="queue") == (
        400,
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
    )
    assert (client.call("CreateQueue", "eu-west-1", QueueName="queue")[0] == 200) is not everywhere
    assert client.call("CreateQueue", QueueName="other")[0] == 200
    client.now += 0.1
    assert client.call("CreateQueue", QueueName="queue")[0] == 200
    assert client.call("PurgeQueue", QueueUrl="queue")[0] == 200


def test_nobody_waits_unless_it_is_asked_for() -> None:
    client = Client(enforce_waits=False)
    for _ in range(2):
        assert client.call("CreateQueue", QueueName="queue")[0] == 200
        assert client.call("PurgeQueue", QueueUrl="queue")[0] == 200
        assert client.call("PurgeQueue", QueueUrl="queue")[0] == 200
        assert client.call("DeleteQueue", QueueUrl="queue")[0] == 200
