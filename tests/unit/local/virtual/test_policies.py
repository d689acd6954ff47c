"""The documents among the attributes of a queue.

The texts are those that https://github.com/Inqnuam/local-aws-sqs has in its tests, as SQS answered; the rules are those
of https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from courier.local.virtual.account import arn_of
from courier.local.virtual.errors import ServiceError
from courier.local.virtual.queue import Redrive, VirtualQueue
from courier.local.virtual.registry import Registry

START: Final = 1_000_000.0
STATEMENT: Final = {
    "Sid": "send",
    "Effect": "Allow",
    "Principal": {"AWS": ["123456789012"]},
    "Action": "sqs:SendMessage",
    "Resource": "arn:aws:sqs:us-east-1:123456789012:queue",
}
NO_MAP: Final = "Redrive policy is not a valid JSON map."
UNSUPPORTED: Final = (
    "Invalid value for the parameter RedriveAllowPolicy. Reason: Amazon SQS can't create the redrive allow policy, as "
    "it’s in an unsupported format."
)


def refusal(name: str, document: Any) -> ServiceError:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(ServiceError) as caught:
        Registry().create("queue", {name: text}, START)
    return caught.value


def source_of(registry: Registry, dead: VirtualQueue, name: str = "source") -> VirtualQueue:
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 3})
    return registry.create(name, {"RedrivePolicy": policy}, START)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("nonsense", NO_MAP),
        (" ", NO_MAP),
        ("[]", NO_MAP),
        ("4", NO_MAP),
        ({}, "Redrive policy does not contain mandatory attribute: deadLetterTargetArn."),
        (
            {"deadLetterTargetArn": arn_of("dead", "us-east-1")},
            "Redrive policy does not contain mandatory attribute: maxReceiveCount.",
        ),
        (
            {"deadLetterTargetArn": arn_of("dead", "us-east-1"), "maxReceiveCount": -36},
            "Invalid value for maxReceiveCount: -36, valid values are from 1 to 1000 both inclusive.",
        ),
        (
            {"deadLetterTargetArn": arn_of("dead", "us-east-1"), "maxReceiveCount": 5},
            "Dead letter target does not exist.",
        ),
        (
            {"deadLetterTargetArn": arn_of("dead", "us-east-1"), "maxReceiveCount": 5, "other": "value"},
            "Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].",
        ),
    ],
)
def test_a_malformed_redrive_policy_is_refused(document: Any, reason: str) -> None:
    error = refusal("RedrivePolicy", document)
    text = document if isinstance(document, str) else json.dumps(document)
    assert error.kind.code == "InvalidParameterValue"
    assert error.detail == f"Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"


@pytest.mark.parametrize(
    "document",
    [
        "nonsense",
        "[]",
        "4",
        "false",
        {},
        {"redrivePermission": "nonsense"},
        {"redrivePermission": "allowAll", "other": "value"},
        {"redrivePermission": "byQueue", "sourceQueueArns": "arn:aws:sqs"},
        {"redrivePermission": "byQueue", "sourceQueueArns": [{"other": "value"}]},
    ],
)
def test_a_redrive_allow_policy_of_another_form_is_refused(document: Any) -> None:
    error = refusal("RedriveAllowPolicy", document)
    assert (error.kind.code, error.detail) == ("InvalidAttributeValue", UNSUPPORTED)


@pytest.mark.parametrize(
    ("document", "end"),
    [
        ({"redrivePermission": "byQueue"}, "you must also specify one or more sourceQueueArns values."),
        (
            {"redrivePermission": "byQueue", "sourceQueueArns": []},
            "you must also specify one or more sourceQueueArns values.",
        ),
        (
            {"redrivePermission": "byQueue", "sourceQueueArns": ["arn"] * 11},
            "The maximum number of source queue ARNs you can specify is 10.",
        ),
        (
            {"redrivePermission": "allowAll", "sourceQueueArns": ["arn"]},
            "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.",
        ),
        (
            {"redrivePermission": "denyAll", "sourceQueueArns": ["arn"]},
            "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.",
        ),
    ],
)
def test_a_redrive_allow_policy_that_contradicts_itself_is_refused(document: Any, end: str) -> None:
    error = refusal("RedriveAllowPolicy", document)
    assert error.kind.code == "InvalidParameterValue"
    assert error.detail.startswith(
        f"Value {json.dumps(document)} for parameter RedriveAllowPolicy is invalid. Reason: "
    )
    assert error.detail.endswith(end)


@pytest.mark.parametrize(
    "document",
    [
        "nonsense",
        "[]",
        '"text"',
        "533",
        "null",
        {"Version": "2012-10-17"},
        {"Version": "4532-10-17", "Statement": [STATEMENT]},
        {"Version": "2012-10-17", "Statement": []},
        {"Version": "2012-10-17", "Statement": ["text"]},
        {"Version": "2012-10-17", "Statement": [STATEMENT], "other": "value"},
        {"Version": "2012-10-17", "Statement": {**STATEMENT, "other": "value"}},
        {"Version": "2012-10-17", "Statement": [STATEMENT, {**STATEMENT, "Effect": "Perhaps"}]},
    ],
)
def test_a_malformed_access_policy_is_refused(document: Any) -> None:
    error = refusal("Policy", document)
    assert (error.kind.code, error.detail) == ("InvalidAttributeValue", "Invalid value for the parameter Policy.")


def test_an_access_policy_has_up_to_20_statements() -> None:
    policy = {"Version": "2012-10-17", "Statement": [STATEMENT] * 20}
    Registry().create("queue", {"Policy": json.dumps(policy)}, START)
    error = refusal("Policy", {**policy, "Statement": [STATEMENT] * 22})
    assert error.kind.code == "OverLimit"
    assert error.detail == "22 statements were found in the submitted policy, max allowed is 20"


@pytest.mark.parametrize("statement", [STATEMENT, [STATEMENT], {**STATEMENT, "Action": ["sqs:SendMessage"]}])
def test_an_access_policy_comes_back_as_it_was_given(statement: Any) -> None:
    registry = Registry()
    policy = json.dumps({"Version": "2012-10-17", "Id": "id", "Statement": statement}, indent=1)
    queue = registry.create("queue", {"Policy": policy}, START)
    assert registry.attributes(queue)["Policy"] == policy
    registry.change(queue, {"Policy": ""}, START)
    assert "Policy" not in registry.attributes(queue)


@pytest.mark.parametrize("as_text", [False, True])
def test_a_redrive_policy_comes_back_as_compact_json_with_a_number(as_text: bool) -> None:
    # Source: moto's test_redrive_policy_set_attributes_with_string_value, and the snapshots of LocalStack.
    registry = Registry()
    dead = registry.create("dead", {}, START)
    count: object = "42" if as_text else 42
    policy = json.dumps({"maxReceiveCount": count, "deadLetterTargetArn": dead.arn}, indent=2)
    queue = registry.create("queue", {"RedrivePolicy": policy}, START)
    assert registry.attributes(queue)["RedrivePolicy"] == (
        f'{{"deadLetterTargetArn":"{dead.arn}","maxReceiveCount":42}}'
    )


def test_the_same_policies_written_otherwise_are_no_conflict() -> None:
    # Source: CreateQueue returns the URL of a queue whose attributes have the same values.
    registry = Registry()
    dead = registry.create("dead", {"RedriveAllowPolicy": '{"redrivePermission":"allowAll"}'}, START)
    assert registry.create("dead", {"RedriveAllowPolicy": '{ "redrivePermission": "allowAll" }'}, START) is dead
    policy = {"deadLetterTargetArn": dead.arn, "maxReceiveCount": "3"}
    queue = registry.create("queue", {"RedrivePolicy": json.dumps(policy)}, START)
    for other in ({"maxReceiveCount": 3, "deadLetterTargetArn": dead.arn}, policy):
        assert registry.create("queue", {"RedrivePolicy": json.dumps(other, indent=1)}, START) is queue
    with pytest.raises(ServiceError) as caught:
        registry.create("queue", {"RedrivePolicy": json.dumps({**policy, "maxReceiveCount": 4})}, START)
    assert caught.value.kind.code == "QueueAlreadyExists"
    assert caught.value.detail.endswith("a different value for attribute RedrivePolicy")
    with pytest.raises(ServiceError):
        registry.create("queue", {"RedrivePolicy": ""}, START)
    assert registry.create("queue", {}, START) is queue


@pytest.mark.parametrize("permission", ["denyAll", "byQueue", "allowAll"])
def test_a_dead_letter_queue_can_deny_its_sources(permission: str) -> None:
    # Source: "denyAll: No source queues can specify this queue as the dead-letter queue. byQueue: Only queues specified
    # by the sourceQueueArns parameter". What SQS answers to others isn't documented.
    registry = Registry()
    allowed = arn_of("allowed", "us-east-1")
    policy: dict[str, Any] = {"redrivePermission": permission}
    if permission == "byQueue":
        policy["sourceQueueArns"] = [allowed]
    dead = registry.create("dead", {"RedriveAllowPolicy": json.dumps(policy)}, START)
    for name in ("allowed", "other"):
        if permission == "allowAll" or (permission == "byQueue" and name == "allowed"):
            assert source_of(registry, dead, name).redrive == Redrive(dead, 3)
        else:
            with pytest.raises(ServiceError) as caught:
                source_of(registry, dead, name)
            assert caught.value.kind.code == "InvalidParameterValue"
            assert "RedriveAllowPolicy" in caught.value.detail


def test_a_queue_that_takes_the_name_of_a_deleted_dead_letter_queue_takes_its_place() -> None:
    # Source: a redrive policy names its dead-letter queue by ARN, and the ARN is made of region, account and name.
    registry = Registry()
    queue = source_of(registry, registry.create("dead", {}, START))
    registry.delete(registry.find("dead"))
    assert registry.attributes(queue)["RedrivePolicy"].startswith('{"deadLetterTargetArn":"arn:aws:sqs:')
    dead = registry.create("dead", {}, START)
    assert queue.redrive == Redrive(dead, 3)
    assert registry.sources(dead) == [queue]
