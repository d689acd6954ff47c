"""deploy/iam: the policies name the actions that the code calls, and no others."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from tests.unit.deploy.files import DEPLOY, ROOT

PACKAGE = ROOT / "courier"
POLICIES = sorted((DEPLOY / "iam").glob("*.json"))
SENDING = {"sqs:SendMessage"}
"""What the client could call, and calls for the failure queue, periodic tasks and the harness alone."""

OF_COMMANDS = {"sqs:ListDeadLetterSourceQueues"}
"""What only a command of an operator calls, with the operator's own permissions."""


def policy(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DEPLOY / "iam" / name).read_text())
    return document


def actions(name: str) -> set[str]:
    return {action for statement in policy(name)["Statement"] for action in statement["Action"]}


def called(service: str, files: Iterable[Path]) -> set[str]:
    """Return the IAM actions of the operations that are called by name, or as methods of boto3's client."""
    model = botocore.session.get_session().get_service_model(service)
    methods = {xform_name(operation): operation for operation in model.operation_names}
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and node.value in model.operation_names:
                found.add(node.value)
            if isinstance(node, ast.Attribute) and node.attr in methods:
                found.add(methods[node.attr])
    # A batch is allowed by the action for one, on SQS; Firehose has an action for it.
    return {f"{service}:{name.removesuffix('Batch') if service == 'sqs' else name}" for name in found}


def test_consuming_takes_the_actions_that_the_sqs_client_and_the_preflight_call() -> None:
    assert actions("courier-consume.json") == called("sqs", (PACKAGE / "sqs").glob("*.py")) - SENDING - OF_COMMANDS


def test_the_failure_queue_is_looked_up_and_sent_to_and_nothing_else() -> None:
    looked_up = called("sqs", [PACKAGE / "sqs" / "lookup.py"])
    assert actions("courier-failure-queue.json") == looked_up | SENDING


def test_periodic_tasks_are_sent_to_the_queue_and_nothing_else() -> None:
    assert actions("courier-cron.json") == SENDING
    (statement,) = policy("courier-cron.json")["Statement"]
    assert statement["Resource"] == policy("courier-consume.json")["Statement"][0]["Resource"]


def test_the_dead_letter_queue_is_looked_up_and_counted_and_nothing_else() -> None:
    assert actions("courier-dead-letter-queue.json") == called("sqs", [PACKAGE / "sqs" / "lookup.py"])


def test_a_look_at_dead_letters_takes_what_consuming_does_but_deletes_nothing() -> None:
    assert actions("courier-look.json") == actions("courier-consume.json") - {"sqs:DeleteMessage"}


def test_keda_may_count_the_queue_that_courier_consumes_and_nothing_else() -> None:
    assert actions("keda.json") == {"sqs:GetQueueAttributes"}
    (statement,) = policy("keda.json")["Statement"]
    assert statement["Resource"] == policy("courier-consume.json")["Statement"][0]["Resource"]


def test_the_policies_of_the_two_queues_are_for_different_ones() -> None:
    resources = [policy(f"courier-{name}.json")["Statement"][0]["Resource"] for name in ("consume", "failure-queue")]
    assert len(set(resources)) == 2


def test_the_firehose_audit_takes_the_actions_that_it_calls() -> None:
    assert actions("courier-firehose.json") == called("firehose", (PACKAGE / "audit").glob("*.py"))


def test_the_lifecycle_hook_takes_the_actions_that_it_calls_for_a_group_that_is_named() -> None:
    names = called("autoscaling", [PACKAGE / "leaving" / "lifecycle_hook.py"])
    # This one knows no resources, so its policy would be for all of the account: give GROUP:HOOK instead.
    assert actions("courier-lifecycle.json") == names - {"autoscaling:DescribeAutoScalingInstances"}


def test_a_role_is_assumed_and_its_trust_policy_lets_it_be() -> None:
    (statement,) = policy("courier-assume-role.json")["Statement"]
    page = (ROOT / "docs" / "aws-accounts.md").read_text()
    (trust,) = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])["Statement"]
    assert statement["Action"] == [trust["Action"]] == ["sts:AssumeRole"]
    assert (
        f"--role-arn {statement['Resource']} --external-id {trust['Condition']['StringEquals']['sts:ExternalId']}"
        in page
    )
    assert statement["Resource"].split(":")[4] != trust["Principal"]["AWS"].split(":")[4]


FETCHING = list((PACKAGE / "fetch").glob("*.py"))

IAM_OF_S3 = {
    "CreateMultipartUpload": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListObjectsV2": "ListBucket",
}
"""S3 has no actions of these names. The managed transfer aborts uploads too, which no code of ours names."""


def test_the_archive_takes_the_actions_that_it_calls() -> None:
    names = {name.removeprefix("s3:") for name in called("s3", (PACKAGE / "audit").glob("*.py"))}
    expected = {f"s3:{IAM_OF_S3.get(name, name)}" for name in names} | {"s3:AbortMultipartUpload"}
    assert actions("courier-archive.json") == expected


def test_fetching_takes_the_actions_that_it_calls_and_the_one_that_tells_a_missing_object_from_a_denied_one() -> None:
    names = {name.removeprefix("s3:").replace("DeleteObjects", "DeleteObject") for name in called("s3", FETCHING)}
    assert actions("courier-fetch.json") == {f"s3:{name}" for name in names} | {"s3:ListBucket"}


def test_the_archive_may_delete_and_overwrite_no_policy_and_no_object() -> None:
    assert not [action for action in actions("courier-archive.json") if "Delete" in action or "Policy" in action]


def test_an_encrypted_queue_takes_what_sqs_asks_kms_for_when_it_is_read_and_one_that_is_sent_to_a_data_key_too() -> (
    None
):
    read, sent = policy("courier-kms.json")["Statement"]
    assert read["Action"] == ["kms:Decrypt"]
    # SQS makes a data key for what is sent, and decrypts it to see that it can: its documentation names both.
    assert sent["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert "FailureQueue" in sent["Sid"]
    assert read["Resource"] != sent["Resource"]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: str(path.name))
def test_every_policy_is_for_one_resource_and_has_no_wildcard(path: Path) -> None:
    document = policy(path.name)
    assert document["Version"] == "2012-10-17"
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        # Only the keys of objects and the ids of tasks can't be named in advance.
        text = json.dumps(statement)
        for unforeseen in ("/courier/host-1/*", "my-bodies/*", "task/prod/*"):
            text = text.replace(unforeseen, "")
        assert "*" not in text
        assert statement["Resource"].startswith("arn:aws:")
        assert statement["Action"] == sorted(statement["Action"])
        assert statement["Sid"].isalnum()
