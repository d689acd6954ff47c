"""Contract of the actions on queues: the same on the virtual queue and on moto, with boto3 as the client.

Tests that take ``virtual_queue`` itself run on the virtual queue alone; each says where moto is known to differ from
SQS.
"""

from __future__ import annotations

import json
import threading
from typing import Any, Final

import pytest

from tests.integration.sqs_endpoints import create_queue, queue_arn, redrive_policy, refusal, sqs_client, unique_name

DEADLINE: Final = 15.0
NO_QUEUE: Final = "AWS.SimpleQueueService.NonExistentQueue"


def attributes(sqs: Any, queue: str, *names: str) -> dict[str, str]:
    answer = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=list(names) or ["All"])
    given: dict[str, str] = answer.get("Attributes", {})
    return given


def test_a_queue_is_found_by_its_name(endpoint: str, sqs: Any) -> None:
    name = unique_name()
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    assert queue.startswith(f"{endpoint}/")
    assert queue.endswith(f"/{name}")
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == queue


def test_the_queue_url_has_the_host_by_which_the_client_knows_the_server(virtual_queue: str) -> None:
    # Virtual only: where moto's own host stands in its URLs depends on its configuration.
    endpoint = virtual_queue.replace("127.0.0.1", "localhost")
    queue = create_queue(endpoint)
    assert queue.startswith(f"{endpoint}/")
    other = sqs_client(virtual_queue)
    other.send_message(QueueUrl=queue, MessageBody="a")
    there = queue.replace("localhost", "127.0.0.1")
    assert attributes(other, there)["ApproximateNumberOfMessages"] == "1"


def test_a_queue_has_the_defaults_of_sqs(endpoint: str, sqs: Any) -> None:
    given = attributes(sqs, create_queue(endpoint))
    expected = {
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "DelaySeconds": "0",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "ReceiveMessageWaitTimeSeconds": "0",
        "VisibilityTimeout": "30",
    }
    assert {name: given[name] for name in expected} == expected
    assert given["QueueArn"].startswith("arn:aws:sqs:us-east-1:")
    assert float(given["CreatedTimestamp"]) <= float(given["LastModifiedTimestamp"])
    assert "FifoQueue" not in given


def test_a_fifo_queue_has_the_defaults_of_sqs(endpoint: str, sqs: Any) -> None:
    given = attributes(sqs, create_queue(endpoint, fifo=True))
    expected = {
        "ContentBasedDeduplication": "false",
        "DeduplicationScope": "queue",
        "FifoQueue": "true",
        "FifoThroughputLimit": "perQueue",
        "SqsManagedSseEnabled": "true",
    }
    assert {name: given[name] for name in expected} == expected


def test_the_attributes_asked_for_are_given(endpoint: str, sqs: Any) -> None:
    queue = create_queue(endpoint, {"VisibilityTimeout": "7"})
    assert attributes(sqs, queue, "VisibilityTimeout", "RedrivePolicy") == {"VisibilityTimeout": "7"}
    assert sqs.get_queue_attributes(QueueUrl=queue).get("Attributes", {}) == {}
    unknown = {"QueueUrl": queue, "AttributeNames": ["Nonsense"]}
    assert refusal(sqs.get_queue_attributes, **unknown) == "InvalidAttributeName"


def test_creating_a_queue_again_with_the_same_attributes_gives_the_same_queue(sqs: Any) -> None:
    name = unique_name()
    wanted = {"VisibilityTimeout": "7"}
    queue = sqs.create_queue(QueueName=name, Attributes=wanted)["QueueUrl"]
    assert sqs.create_queue(QueueName=name, Attributes=wanted)["QueueUrl"] == queue
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == queue
    other = {"VisibilityTimeout": "8"}
    assert refusal(sqs.create_queue, QueueName=name, Attributes=other) == "QueueAlreadyExists"
    assert attributes(sqs, queue, "VisibilityTimeout") == wanted


def test_attributes_can_be_changed(endpoint: str, sqs: Any) -> None:
    queue = create_queue(endpoint)
    wanted = {"VisibilityTimeout": "0", "DelaySeconds": "600"}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes=wanted)
    assert attributes(sqs, queue, *wanted) == wanted
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    assert attributes(sqs, queue)["ApproximateNumberOfMessagesDelayed"] == "1"


def test_a_redrive_policy_can_be_set_and_taken_away(endpoint: str, sqs: Any) -> None:
    dead, queue = create_queue(endpoint), create_queue(endpoint)
    policy = redrive_policy(endpoint, dead, 3)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": policy})
    assert json.loads(attributes(sqs, queue, "RedrivePolicy")["RedrivePolicy"]) == json.loads(policy)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": ""})
    assert attributes(sqs, queue, "RedrivePolicy") == {}


def test_a_dead_letter_queue_has_to_be_there(endpoint: str, sqs: Any) -> None:
    queue = create_queue(endpoint)
    policy = {"deadLetterTargetArn": queue_arn(endpoint, queue) + "-not", "maxReceiveCount": 3}
    wanted = {"RedrivePolicy": json.dumps(policy)}
    assert refusal(sqs.set_queue_attributes, QueueUrl=queue, Attributes=wanted) in (
        "InvalidParameterValue",
        NO_QUEUE,  # moto
    )


@pytest.mark.parametrize(
    "policy",
    [
        "nonsense",
        "[]",
        "{}",
        '{"deadLetterTargetArn": "dummy", "maxReceiveCount": 3}',
        "no count",
        "receives: 0",
        "receives: 1001",
    ],
)
def test_a_redrive_policy_that_cannot_be_is_refused(virtual_queue: str, policy: str) -> None:
    # Virtual only: moto takes these, or fails. SQS was seen to refuse the dummy ARN; maxReceiveCount is 1 to 1,000.
    queue = create_queue(virtual_queue)
    if policy == "no count":
        policy = json.dumps({"deadLetterTargetArn": queue_arn(virtual_queue, queue)})
    if policy.startswith("receives: "):
        policy = redrive_policy(virtual_queue, create_queue(virtual_queue), int(policy.removeprefix("receives: ")))
    code = refusal(sqs_client(virtual_queue).set_queue_attributes, QueueUrl=queue, Attributes={"RedrivePolicy": policy})
    assert code == "InvalidParameterValue"


def test_a_dead_letter_queue_is_of_the_same_type(virtual_queue: str) -> None:
    # Virtual only: moto doesn't check it. "The dead-letter queue of a FIFO queue must also be a FIFO queue."
    policy = redrive_policy(virtual_queue, create_queue(virtual_queue), 3)
    queue = create_queue(virtual_queue, fifo=True)
    code = refusal(sqs_client(virtual_queue).set_queue_attributes, QueueUrl=queue, Attributes={"RedrivePolicy": policy})
    assert code == "InvalidParameterValue"


def test_the_sources_of_a_dead_letter_queue_are_listed(endpoint: str, sqs: Any) -> None:
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListDeadLetterSourceQueues.html
    dead, other = create_queue(endpoint), create_queue(endpoint)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == []
    policy = {"RedrivePolicy": redrive_policy(endpoint, dead, 3)}
    sources = sorted(create_queue(endpoint, policy) for _ in range(3))
    create_queue(endpoint, {"RedrivePolicy": redrive_policy(endpoint, other, 3)})
    assert sorted(sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"]) == sources
    sqs.set_queue_attributes(QueueUrl=sources[0], Attributes={"RedrivePolicy": ""})
    sqs.delete_queue(QueueUrl=sources[1])
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == sources[2:]


def test_the_sources_of_a_dead_letter_queue_are_listed_page_by_page(virtual_queue: str) -> None:
    # Virtual only: moto ignores MaxResults. "You must set MaxResults to receive a value for NextToken in the response."
    dead = create_queue(virtual_queue)
    policy = {"RedrivePolicy": redrive_policy(virtual_queue, dead, 3)}
    sources = sorted(create_queue(virtual_queue, policy) for _ in range(5))
    listing = sqs_client(virtual_queue).get_paginator("list_dead_letter_source_queues")
    for page_size in (1, 2, 4, 5, 6):
        pages = [
            page["queueUrls"] for page in listing.paginate(QueueUrl=dead, PaginationConfig={"PageSize": page_size})
        ]
        assert [source for page in pages for source in page] == sources
        assert len(pages) == -(-len(sources) // page_size)
    assert "NextToken" not in sqs_client(virtual_queue).list_dead_letter_source_queues(QueueUrl=dead)


def test_a_queue_that_does_not_exist_has_no_sources(endpoint: str, sqs: Any) -> None:
    gone = create_queue(endpoint)
    sqs.delete_queue(QueueUrl=gone)
    assert refusal(sqs.list_dead_letter_source_queues, QueueUrl=gone) == NO_QUEUE


def test_queues_are_listed_by_prefix_and_page_by_page(endpoint: str, sqs: Any) -> None:
    stem = unique_name("listed")
    queues = sorted(sqs.create_queue(QueueName=f"{stem}-{n}")["QueueUrl"] for n in range(5))
    assert sorted(sqs.list_queues(QueueNamePrefix=stem)["QueueUrls"]) == queues
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=f"{stem}-none")
    paged: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = sqs.list_queues(QueueNamePrefix=stem, MaxResults=2, **token)
        assert len(answer["QueueUrls"]) <= 2
        paged += answer["QueueUrls"]
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert sorted(paged) == queues


def test_a_deleted_queue_is_gone(endpoint: str, sqs: Any) -> None:
    name = unique_name()
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    sqs.delete_queue(QueueUrl=queue)
    assert refusal(sqs.get_queue_url, QueueName=name) == NO_QUEUE
    assert refusal(sqs.send_message, QueueUrl=queue, MessageBody="a") == NO_QUEUE
    assert refusal(sqs.receive_message, QueueUrl=queue) == NO_QUEUE
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == queue
    assert attributes(sqs, queue)["ApproximateNumberOfMessages"] == "0"


def test_deleting_a_queue_ends_its_long_polls(virtual_queue: str) -> None:
    # Virtual only: moto looks for the queue again only when the poll is over.
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue)
    codes: list[str] = []

    def poll() -> None:
        codes.append(refusal(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=20))

    thread = threading.Thread(target=poll)
    thread.start()
    sqs.delete_queue(QueueUrl=queue)
    thread.join(DEADLINE)
    assert codes == [NO_QUEUE]


@pytest.mark.parametrize("name", ["spa ce", "x" * 81, "dot.dot", "ümlaut"])
def test_a_name_that_cannot_be_is_refused(sqs: Any, name: str) -> None:
    assert refusal(sqs.create_queue, QueueName=name) == "InvalidParameterValue"


def test_a_name_of_a_fifo_queue_needs_the_attribute(virtual_queue: str) -> None:
    # Virtual only: moto makes a standard queue of that name.
    code = refusal(sqs_client(virtual_queue).create_queue, QueueName=unique_name(fifo=True))
    assert code == "InvalidParameterValue"


def test_a_fifo_queue_must_be_named_so(sqs: Any) -> None:
    code = refusal(sqs.create_queue, QueueName=unique_name(), Attributes={"FifoQueue": "true"})
    assert code == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("VisibilityTimeout", "43201", "InvalidAttributeValue"),
        ("DelaySeconds", "901", "InvalidAttributeValue"),
        ("MaximumMessageSize", "1023", "InvalidAttributeValue"),
        ("MessageRetentionPeriod", "59", "InvalidAttributeValue"),
        ("ReceiveMessageWaitTimeSeconds", "many", "InvalidAttributeValue"),
        ("Nonsense", "1", "InvalidAttributeName"),
        ("ContentBasedDeduplication", "true", "InvalidAttributeName"),
        ("DeduplicationScope", "queue", "InvalidAttributeName"),
    ],
)
def test_an_attribute_that_cannot_be_is_refused(virtual_queue: str, name: str, value: str, code: str) -> None:
    # Virtual only: moto takes most of these. The ranges are those of CreateQueue.
    sqs = sqs_client(virtual_queue)
    assert refusal(sqs.create_queue, QueueName=unique_name(), Attributes={name: value}) == code
    queue = create_queue(virtual_queue)
    assert refusal(sqs.set_queue_attributes, QueueUrl=queue, Attributes={name: value}) == code


def test_the_type_of_a_queue_cannot_be_changed(virtual_queue: str) -> None:
    # Virtual only: moto takes it. SQS was seen to answer so.
    sqs = sqs_client(virtual_queue)
    standard, fifo = create_queue(virtual_queue), create_queue(virtual_queue, fifo=True)
    change = sqs.set_queue_attributes
    assert refusal(change, QueueUrl=standard, Attributes={"FifoQueue": "true"}) == "InvalidAttributeName"
    assert refusal(change, QueueUrl=fifo, Attributes={"FifoQueue": "false"}) == "InvalidAttributeValue"
    change(QueueUrl=fifo, Attributes={"FifoQueue": "true"})


def test_an_attribute_that_says_standard_is_refused(virtual_queue: str) -> None:
    # Virtual only: moto takes it. SQS knows FifoQueue of FIFO queues alone.
    wanted = {"QueueName": unique_name(), "Attributes": {"FifoQueue": "false"}}
    assert refusal(sqs_client(virtual_queue).create_queue, **wanted) == "InvalidAttributeName"
