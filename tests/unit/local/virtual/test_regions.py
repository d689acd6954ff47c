"""Regions: each has queues of its own, and all of them have those that Courier itself creates.

Source: "Queues are per region": the ARN has the region, and so does the endpoint of SQS. Here all regions share an
address, and the region is that of the signature.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson
import pytest

from courier.local.exchange import Request, Response
from courier.local.virtual.service import VirtualSqs

IRELAND: Final = "eu-west-1"
OHIO: Final = "us-east-2"


class Client:
    """A client that signs its requests for a region."""

    def __init__(self, sqs: VirtualSqs, region: str) -> None:
        self._sqs = sqs
        self._authorization = f"AWS4-HMAC-SHA256 Credential=key/20261126/{region}/sqs/aws4_request, SignedHeaders=host"

    def call(self, action: str, **parameters: Any) -> tuple[int, dict[str, Any]]:
        headers: Mapping[str, str] = {
            "host": "queue.test",
            "authorization": self._authorization,
            "x-amz-target": f"AmazonSQS.{action}",
        }
        response = self._sqs.handle(Request("POST", "/", headers, orjson.dumps(parameters)))
        assert isinstance(response, Response)
        return response.status, orjson.loads(response.body)

    def done(self, action: str, **parameters: Any) -> dict[str, Any]:
        status, answer = self.call(action, **parameters)
        assert status == 200, answer
        return answer

    def refused(self, action: str, **parameters: Any) -> str:
        status, answer = self.call(action, **parameters)
        assert status == 400
        return str(answer["message"])

    def attributes(self, url: str) -> dict[str, str]:
        given: dict[str, str] = self.done("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return given


@pytest.mark.parametrize(
    ("region", "arn"),
    [
        (IRELAND, "arn:aws:sqs:eu-west-1:000000000000:queue"),
        ("cn-north-1", "arn:aws-cn:sqs:cn-north-1:000000000000:queue"),
        ("us-gov-west-1", "arn:aws-us-gov:sqs:us-gov-west-1:000000000000:queue"),
        ("local", "arn:aws:sqs:local:000000000000:queue"),
    ],
)
def test_the_arn_of_a_queue_has_the_region_of_its_creator(region: str, arn: str) -> None:
    client = Client(VirtualSqs(), region)
    assert client.attributes(client.done("CreateQueue", QueueName="queue")["QueueUrl"])["QueueArn"] == arn


def test_queues_of_one_name_in_two_regions_are_two_queues() -> None:
    sqs = VirtualSqs()
    ireland, ohio = Client(sqs, IRELAND), Client(sqs, OHIO)
    url = ireland.done("CreateQueue", QueueName="queue", Attributes={"DelaySeconds": "7"})["QueueUrl"]
    assert ohio.done("CreateQueue", QueueName="queue")["QueueUrl"] == url
    ireland.done("SendMessage", QueueUrl=url, MessageBody="a", DelaySeconds=0)
    assert ohio.done("ReceiveMessage", QueueUrl=url) == {}
    ohio.done("DeleteQueue", QueueUrl=url)
    assert ireland.done("ReceiveMessage", QueueUrl=url)["Messages"][0]["Body"] == "a"


def test_a_queue_of_another_region_does_not_exist_and_the_answer_says_where_one_is() -> None:
    sqs = VirtualSqs()
    ireland, ohio = Client(sqs, IRELAND), Client(sqs, OHIO)
    url = ireland.done("CreateQueue", QueueName="queue")["QueueUrl"]
    assert ohio.refused("GetQueueUrl", QueueName="queue") == (
        "The specified queue does not exist. There is one of this name in eu-west-1."
    )
    assert ohio.refused("GetQueueUrl", QueueName="other") == "The specified queue does not exist."
    assert ohio.done("ListQueues") == {}
    assert ireland.done("ListQueues") == {"QueueUrls": [url]}


def test_a_dead_letter_queue_is_in_the_region_of_its_sources() -> None:
    # Source: "you must use the same AWS account and Region for the source queue and the dead-letter queue" was the rule
    # of https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html.
    sqs = VirtualSqs()
    ireland, ohio = Client(sqs, IRELAND), Client(sqs, OHIO)
    dead = ireland.attributes(ireland.done("CreateQueue", QueueName="dead")["QueueUrl"])["QueueArn"]
    policy = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 1})}
    assert ohio.refused("CreateQueue", QueueName="queue", Attributes=policy).endswith("target does not exist.")
    ohio.done("CreateQueue", QueueName="dead")
    assert ohio.refused("CreateQueue", QueueName="queue", Attributes=policy).endswith("target does not exist.")
    ireland.done("CreateQueue", QueueName="queue", Attributes=policy)


def test_all_regions_find_the_queues_that_courier_creates() -> None:
    sqs = VirtualSqs()
    dead = sqs.create_queue("dead")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
    sqs.create_queue("queue", {"RedrivePolicy": policy})
    for client, region in ((Client(sqs, name), name) for name in (IRELAND, OHIO)):
        url = client.done("GetQueueUrl", QueueName="queue")["QueueUrl"]
        dead_url = client.done("GetQueueUrl", QueueName="dead")["QueueUrl"]
        assert client.done("CreateQueue", QueueName="queue")["QueueUrl"] == url
        own = client.done("CreateQueue", QueueName=f"own-{region}", Attributes={"DelaySeconds": "7"})["QueueUrl"]
        assert client.done("ListQueues") == {"QueueUrls": [dead_url, own, url]}
        given = client.attributes(url)
        assert given["QueueArn"] == f"arn:aws:sqs:{region}:000000000000:queue"
        assert json.loads(given["RedrivePolicy"])["deadLetterTargetArn"] == client.attributes(dead_url)["QueueArn"]
        assert client.done("CreateQueue", QueueName="queue", Attributes={"RedrivePolicy": given["RedrivePolicy"]})
        client.done("SendMessage", QueueUrl=url, MessageBody="a")
        for _ in range(2):
            client.done("ReceiveMessage", QueueUrl=url, VisibilityTimeout=0)
        (letter,) = client.done("ReceiveMessage", QueueUrl=dead_url, AttributeNames=["All"])["Messages"]
        assert letter["Attributes"]["DeadLetterQueueSourceArn"] == given["QueueArn"]
        assert client.done("ListDeadLetterSourceQueues", QueueUrl=dead_url)["queueUrls"] == [url]


def test_a_list_of_queues_goes_through_both_kinds_page_by_page() -> None:
    sqs = VirtualSqs()
    client = Client(sqs, IRELAND)
    names = [f"queue-{number}" for number in range(9)]
    for number, name in enumerate(names):
        if number % 2:
            sqs.create_queue(name)
        else:
            client.done("CreateQueue", QueueName=name)
    for most in range(1, 11):
        listed: list[str] = []
        token: dict[str, str] = {}
        while True:
            answer = client.done("ListQueues", QueueNamePrefix="queue-", MaxResults=most, **token)
            listed += [url.rpartition("/")[2] for url in answer["QueueUrls"]]
            if "NextToken" not in answer:
                break
            token = {"NextToken": answer["NextToken"]}
        assert listed == names
