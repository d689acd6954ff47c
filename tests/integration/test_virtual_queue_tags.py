"""Contract of tags and permissions: the same on the virtual queue and on moto, with boto3 as the client.

Tests that take ``virtual_queue`` itself run on the virtual queue alone; each says where moto is known to differ.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.sqs_endpoints import create_queue, refusal, sqs_client, unique_name


def tags(sqs: Any, queue: str) -> dict[str, str]:
    given: dict[str, str] = sqs.list_queue_tags(QueueUrl=queue).get("Tags", {})
    return given


def policy(sqs: Any, queue: str) -> dict[str, Any] | None:
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"]).get("Attributes", {})
    return json.loads(attributes["Policy"]) if "Policy" in attributes else None


def test_tags_are_added_replaced_and_removed(endpoint: str, sqs: Any) -> None:
    # Source: LocalStack's test_tag_untag_queue and test_tag_queue_overwrites_existing_tag, which were run against AWS.
    queue = create_queue(endpoint)
    assert tags(sqs, queue) == {}
    sqs.tag_queue(QueueUrl=queue, Tags={"one": "1", "two": "2", "empty": ""})
    assert tags(sqs, queue) == {"one": "1", "two": "2", "empty": ""}
    sqs.tag_queue(QueueUrl=queue, Tags={"one": "uno", "One": "capital"})
    sqs.untag_queue(QueueUrl=queue, TagKeys=["two", "nonsense", "empty"])
    assert tags(sqs, queue) == {"one": "uno", "One": "capital"}
    sqs.untag_queue(QueueUrl=queue, TagKeys=["one", "One"])
    assert tags(sqs, queue) == {}


def test_a_queue_is_created_with_tags(sqs: Any) -> None:
    # Source: LocalStack's test_create_queue_with_tags, which was run against AWS.
    queue = sqs.create_queue(QueueName=unique_name(), tags={"one": "1"})["QueueUrl"]
    assert tags(sqs, queue) == {"one": "1"}


def test_tags_that_cannot_be_are_refused_and_change_nothing(endpoint: str, sqs: Any) -> None:
    # Source: moto's test_tag_queue_errors and test_untag_queue_errors.
    queue = create_queue(endpoint)
    sqs.tag_queue(QueueUrl=queue, Tags={"one": "1"})
    assert refusal(sqs.tag_queue, QueueUrl=queue, Tags={}) == "MissingParameter"
    assert refusal(sqs.untag_queue, QueueUrl=queue, TagKeys=[]) == "InvalidParameterValue"
    many = {f"key-{number}": "value" for number in range(51)}
    assert refusal(sqs.tag_queue, QueueUrl=queue, Tags=many) == "InvalidParameterValue"
    assert tags(sqs, queue) == {"one": "1"}


def test_a_list_without_tags_is_left_out(virtual_queue: str) -> None:
    # Source: the snapshot of LocalStack's test_tag_untag_queue. Virtual only: moto gives an empty list.
    queue = create_queue(virtual_queue)
    assert "Tags" not in sqs_client(virtual_queue).list_queue_tags(QueueUrl=queue)


@pytest.mark.parametrize("bad", [{"": "value"}, {"k" * 129: "value"}, {"key": "v" * 257}, {"aws:key": "value"}])
def test_a_tag_has_the_lengths_that_aws_documents(virtual_queue: str, bad: dict[str, str]) -> None:
    # Virtual only: moto checks none of it. https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html
    sqs, queue = sqs_client(virtual_queue), create_queue(virtual_queue)
    assert refusal(sqs.tag_queue, QueueUrl=queue, Tags=bad) == "InvalidParameterValue"
    assert refusal(sqs.create_queue, QueueName=unique_name(), tags=bad) == "InvalidParameterValue"
    sqs.tag_queue(QueueUrl=queue, Tags={"k" * 128: "v" * 256})
    assert tags(sqs, queue) == {"k" * 128: "v" * 256}


def test_fifty_tags_are_the_most_whenever_they_come(virtual_queue: str) -> None:
    # Virtual only: moto counts those of one call. "We recommend adding no more than 50 tags to a queue", and SQS was
    # seen to refuse more.
    sqs, queue = sqs_client(virtual_queue), create_queue(virtual_queue)
    sqs.tag_queue(QueueUrl=queue, Tags={f"key-{number}": "value" for number in range(50)})
    assert refusal(sqs.tag_queue, QueueUrl=queue, Tags={"one more": "value"}) == "InvalidParameterValue"
    sqs.tag_queue(QueueUrl=queue, Tags={"key-0": "other"})


def test_permissions_are_statements_of_the_policy(virtual_queue: str) -> None:
    # Source: LocalStack's test_sqs_permission_lifecycle, which was run against AWS. Virtual only: moto has another
    # version in its policy, and other words.
    sqs, queue = sqs_client(virtual_queue), create_queue(virtual_queue)
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    accounts = ["111111111111", "668614515564"]
    sqs.add_permission(QueueUrl=queue, Label="both", AWSAccountIds=accounts, Actions=["ReceiveMessage"])
    both = {
        "Sid": "both",
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam::{account}:root" for account in accounts]},
        "Action": "SQS:ReceiveMessage",
        "Resource": arn,
    }
    expected = {"Version": "2008-10-17", "Id": f"{arn}/SQSDefaultPolicy", "Statement": [both]}
    assert policy(sqs, queue) == expected
    one = {"QueueUrl": queue, "AWSAccountIds": accounts[:1], "Actions": ["SendMessage", "PurgeQueue"]}
    assert refusal(sqs.add_permission, **one, Label="both") == "InvalidParameterValue"
    sqs.add_permission(**one, Label="one")
    added = policy(sqs, queue)
    assert added is not None
    assert added["Statement"][1]["Principal"] == {"AWS": "arn:aws:iam::111111111111:root"}
    assert added["Statement"][1]["Action"] == ["SQS:SendMessage", "SQS:PurgeQueue"]
    sqs.remove_permission(QueueUrl=queue, Label="one")
    assert policy(sqs, queue) == expected
    assert refusal(sqs.remove_permission, QueueUrl=queue, Label="one") == "InvalidParameterValue"
    sqs.remove_permission(QueueUrl=queue, Label="both")
    assert policy(sqs, queue) is None


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        # Source: moto's test_add_permission_errors.
        ({"Actions": ["RemovePermission"]}, "InvalidParameterValue"),
        ({"Actions": []}, "MissingParameter"),
        ({"AWSAccountIds": []}, "InvalidParameterValue"),
        (
            {
                "Actions": [
                    "ChangeMessageVisibility",
                    "DeleteMessage",
                    "GetQueueAttributes",
                    "GetQueueUrl",
                    "ListDeadLetterSourceQueues",
                    "PurgeQueue",
                    "ReceiveMessage",
                    "SendMessage",
                ]
            },
            "OverLimit",
        ),
    ],
)
def test_a_permission_that_cannot_be_is_refused(sqs: Any, endpoint: str, changed: dict[str, Any], code: str) -> None:
    queue = create_queue(endpoint)
    good = {"QueueUrl": queue, "Label": "l", "AWSAccountIds": ["111111111111"], "Actions": ["ReceiveMessage"]}
    assert refusal(sqs.add_permission, **{**good, **changed}) == code
    assert policy(sqs, queue) is None


@pytest.mark.parametrize("statement", [{"Effect": "Deny", "Principal": "*", "Action": "*"}, None])
def test_a_permission_is_added_to_the_policy_that_is_there(virtual_queue: str, statement: Any) -> None:
    # Virtual only: moto puts its own policy in the place of another. A single statement needs no list in IAM.
    sqs, queue = sqs_client(virtual_queue), create_queue(virtual_queue)
    if statement:
        document = json.dumps({"Version": "2012-10-17", "Id": "mine", "Statement": statement})
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": document})
    sqs.add_permission(QueueUrl=queue, Label="l", AWSAccountIds=["111111111111"], Actions=["*"])
    given = policy(sqs, queue)
    assert given is not None
    assert [each.get("Sid") for each in given["Statement"]] == ([None, "l"] if statement else ["l"])
    assert (given["Id"] == "mine") is bool(statement)
