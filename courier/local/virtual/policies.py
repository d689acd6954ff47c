"""The JSON documents among the attributes of a queue: redrive policy, redrive allow policy, and access policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from courier.local.virtual.errors import (
    INVALID_ATTRIBUTE_VALUE,
    OVER_LIMIT,
    ServiceError,
    invalid_parameter,
)
from courier.local.virtual.values import ARN, is_number

MAX_RECEIVES: Final = 1000
MAX_SOURCES: Final = 10
MAX_STATEMENTS: Final = 20

REDRIVE_FIELDS: Final = ("maxReceiveCount", "deadLetterTargetArn")
ALLOW_FIELDS: Final = frozenset({"redrivePermission", "sourceQueueArns"})
PERMISSIONS: Final = ("allowAll", "denyAll", "byQueue")
BY_QUEUE: Final = "byQueue"
POLICY_FIELDS: Final = frozenset({"Version", "Id", "Statement"})
POLICY_VERSIONS: Final = (None, "2008-10-17", "2012-10-17")
STATEMENT_FIELDS: Final = frozenset(
    {
        "Action",
        "Condition",
        "Effect",
        "NotAction",
        "NotPrincipal",
        "NotResource",
        "Principal",
        "Resource",
        "Sid",
    }
)
NO_ALLOW_POLICY: Final = "Amazon SQS can't create the redrive allow policy"


class RedrivePolicy(NamedTuple):
    """A well-formed redrive policy. Its dead-letter queue may not exist."""

    target_arn: str
    max_receives: int


class RedriveAllowPolicy(NamedTuple):
    """Which queues may name a queue as their dead-letter queue; ``sources`` counts for ``byQueue`` alone."""

    permission: str
    sources: tuple[str, ...]


def redrive_document(target_arn: str, max_receives: int) -> str:
    """Return a redrive policy as SQS writes it, however it was given."""
    return orjson.dumps({"deadLetterTargetArn": target_arn, "maxReceiveCount": max_receives}).decode()


def read_redrive_policy(document: str) -> RedrivePolicy:
    """Return a redrive policy. Raise ServiceError if it is malformed."""
    policy = _json_object(document)
    if policy is None:
        raise _invalid_redrive(document, "Redrive policy is not a valid JSON map.")
    target = policy.get("deadLetterTargetArn")
    if target is None:
        raise _invalid_redrive(document, "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
    if not isinstance(target, str) or not ARN.fullmatch(target):
        raise _invalid_redrive(document, "Invalid value for deadLetterTargetArn.")
    if "maxReceiveCount" not in policy:
        raise _invalid_redrive(document, "Redrive policy does not contain mandatory attribute: maxReceiveCount.")
    receives = str(policy["maxReceiveCount"])
    if not is_number(receives, 1, MAX_RECEIVES):
        reason = f"Invalid value for maxReceiveCount: {receives}, valid values are from 1 to 1000 both inclusive."
        raise _invalid_redrive(document, reason)
    if len(policy) > len(REDRIVE_FIELDS):
        reason = f"Only following attributes are supported: [{', '.join(REDRIVE_FIELDS)}]."
        raise _invalid_redrive(document, reason)
    return RedrivePolicy(target, int(receives))


def read_allow_policy(document: str) -> RedriveAllowPolicy:
    """Return a redrive allow policy. Raise ServiceError if it is malformed."""
    policy = _json_object(document)
    sources = policy.get("sourceQueueArns") if policy else None
    if (
        not policy
        or not policy.keys() <= ALLOW_FIELDS
        or policy.get("redrivePermission") not in PERMISSIONS
        or not (sources is None or (isinstance(sources, list) and all(isinstance(source, str) for source in sources)))
    ):
        detail = (
            f"Invalid value for the parameter RedriveAllowPolicy. Reason: {NO_ALLOW_POLICY}, "
            "as it’s in an unsupported format."
        )
        raise ServiceError(INVALID_ATTRIBUTE_VALUE, detail)
    permission = policy["redrivePermission"]
    if sources is not None and permission != BY_QUEUE:
        reason = (
            f"{NO_ALLOW_POLICY}. To specify one or more source queue ARNs, you must set redrivePermission to byQueue."
        )
        raise invalid_parameter("RedriveAllowPolicy", document, reason)
    if permission == BY_QUEUE and not sources:
        reason = (
            f"{NO_ALLOW_POLICY}. When you specify the byQueue permission type, "
            "you must also specify one or more sourceQueueArns values."
        )
        raise invalid_parameter("RedriveAllowPolicy", document, reason)
    if sources and len(sources) > MAX_SOURCES:
        reason = f"{NO_ALLOW_POLICY}. The maximum number of source queue ARNs you can specify is {MAX_SOURCES}."
        raise invalid_parameter("RedriveAllowPolicy", document, reason)
    return RedriveAllowPolicy(permission, tuple(sources or ()))


def check_access_policy(document: str) -> None:
    """Raise ServiceError if an access policy is malformed. The virtual queue doesn't apply it."""
    policy = _json_object(document)
    if policy is None or not policy.keys() <= POLICY_FIELDS or policy.get("Version") not in POLICY_VERSIONS:
        raise invalid_policy()
    given = policy.get("Statement")
    statements = [given] if isinstance(given, dict) else given
    if not isinstance(statements, list) or not statements:
        raise invalid_policy()
    if len(statements) > MAX_STATEMENTS:
        detail = f"{len(statements)} statements were found in the submitted policy, max allowed is {MAX_STATEMENTS}"
        raise ServiceError(OVER_LIMIT, detail)
    if not all(_is_statement(statement) for statement in statements):
        raise invalid_policy()


def invalid_policy() -> ServiceError:
    """Return the error for a malformed access policy."""
    return ServiceError(INVALID_ATTRIBUTE_VALUE, "Invalid value for the parameter Policy.")


def _is_statement(statement: Any) -> bool:
    return (
        isinstance(statement, dict)
        and statement.keys() <= STATEMENT_FIELDS
        and statement.get("Effect") in ("Allow", "Deny")
        and not statement.keys().isdisjoint({"Action", "NotAction"})
    )


def _json_object(document: str) -> Mapping[str, Any] | None:
    try:
        value = orjson.loads(document)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _invalid_redrive(document: str, reason: str) -> ServiceError:
    return invalid_parameter("RedrivePolicy", document, reason)
