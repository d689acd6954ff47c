"""The actions AddPermission and RemovePermission: statements of a queue's access policy.

The virtual queue shows the policy, and applies none of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from courier.local.virtual.account import partition_of
from courier.local.virtual.call import Call
from courier.local.virtual.errors import OVER_LIMIT, ServiceError, invalid_parameter, missing_parameter
from courier.local.virtual.parameters import required_text, texts
from courier.local.virtual.queue import VirtualQueue
from courier.local.virtual.queue_actions import called_queue

if TYPE_CHECKING:
    from courier.local.virtual.call import SqsService

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html
MAX_ACTIONS: Final = 7
GRANTED: Final = frozenset(
    {
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    }
)
ACCOUNT_ID: Final = re.compile(r"[0-9]{12}")
LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")


def add_permission(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Add a statement to the access policy, under a label that no other statement has."""
    queue = called_queue(sqs, call)
    label = _label(call)
    actions = texts(call.parameters, "Actions")
    accounts = texts(call.parameters, "AWSAccountIds")
    if not actions:
        raise missing_parameter("Actions")
    if len(actions) > MAX_ACTIONS:
        raise ServiceError(OVER_LIMIT, f"{len(actions)} Actions were found, maximum allowed is {MAX_ACTIONS}.")
    for action in actions:
        if action not in GRANTED:
            reason = "Only the queue owner is allowed to invoke this action."
            raise invalid_parameter("ActionName", f"SQS:{action}", reason)
    if not accounts or not all(ACCOUNT_ID.fullmatch(account) for account in accounts):
        raise invalid_parameter("PrincipalId", f"[{', '.join(accounts)}]", "Unable to verify.")
    statements = _statements(sqs, queue)
    if any(statement.get("Sid") == label for statement in statements):
        raise invalid_parameter("Label", label, "Already exists.")
    principals = [f"arn:{partition_of(call.region)}:iam::{account}:root" for account in accounts]
    statements.append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": _one_or_all(principals)},
            "Action": _one_or_all([f"SQS:{action}" for action in actions]),
            "Resource": queue.arn_in(call.region),
        }
    )
    _write(sqs, call, queue, statements)
    return {}


def remove_permission(sqs: SqsService, call: Call) -> dict[str, Any]:
    """Remove the statement of a label from the access policy."""
    queue = called_queue(sqs, call)
    label = _label(call)
    statements = _statements(sqs, queue)
    kept = [statement for statement in statements if statement.get("Sid") != label]
    if len(kept) == len(statements):
        raise invalid_parameter("Label", label, "can't find label.")
    _write(sqs, call, queue, kept)
    return {}


def _label(call: Call) -> str:
    label = required_text(call.parameters, "Label")
    if not LABEL.fullmatch(label):
        reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
        raise invalid_parameter("Label", label, reason)
    return label


def _policy(sqs: SqsService, queue: VirtualQueue) -> dict[str, Any]:
    document = sqs.registry.attributes(queue).get("Policy")
    policy: dict[str, Any] = orjson.loads(document) if document else {"Version": "2008-10-17"}
    return policy


def _statements(sqs: SqsService, queue: VirtualQueue) -> list[dict[str, Any]]:
    statements = _policy(sqs, queue).get("Statement", [])
    return [statements] if isinstance(statements, dict) else list(statements)


def _write(sqs: SqsService, call: Call, queue: VirtualQueue, statements: list[dict[str, Any]]) -> None:
    document = ""
    if statements:
        policy = _policy(sqs, queue)
        policy.setdefault("Id", f"{queue.arn_in(call.region)}/SQSDefaultPolicy")
        document = orjson.dumps({**policy, "Statement": statements}).decode()
    sqs.registry.change(queue, {"Policy": document}, call.now, call.region)


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values
