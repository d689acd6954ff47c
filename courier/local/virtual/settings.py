"""The attributes of a queue: which can be set, and those that the queue itself uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from courier.local.virtual.errors import (
    INVALID_ATTRIBUTE_NAME,
    INVALID_ATTRIBUTE_VALUE,
    INVALID_PARAMETER_VALUE,
    ServiceError,
    unknown_attribute,
)
from courier.local.virtual.policies import (
    check_access_policy,
    read_allow_policy,
    read_redrive_policy,
    redrive_document,
)
from courier.local.virtual.values import is_number

MAX_MESSAGE_BYTES: Final = 1_048_576

RANGES: Final = {
    "DelaySeconds": (0, 900),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
    "MaximumMessageSize": (1024, MAX_MESSAGE_BYTES),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}
CHOICES: Final = {
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoQueue": ("true",),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
    "SqsManagedSseEnabled": ("true", "false"),
}
DOCUMENTS: Final = frozenset({"KmsMasterKeyId", "Policy", "RedriveAllowPolicy", "RedrivePolicy"})
FIFO_ONLY: Final = frozenset({"ContentBasedDeduplication", "DeduplicationScope", "FifoQueue", "FifoThroughputLimit"})

DEFAULTS: Final = {
    "DelaySeconds": "0",
    "MaximumMessageSize": str(MAX_MESSAGE_BYTES),
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}
FIFO_DEFAULTS: Final = {
    **DEFAULTS,
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoQueue": "true",
    "FifoThroughputLimit": "perQueue",
}

STANDARD_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
FIFO_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")


class QueueSettings(NamedTuple):
    """The attributes that a queue uses; times in seconds, sizes in bytes."""

    visibility: int
    delay: int
    wait: int
    retention: int
    max_message_bytes: int
    content_based_deduplication: bool
    deduplicates_per_group: bool


def read_settings(attributes: Mapping[str, str]) -> QueueSettings:
    """Return the settings from all attributes of a queue, including defaults."""
    return QueueSettings(
        visibility=int(attributes["VisibilityTimeout"]),
        delay=int(attributes["DelaySeconds"]),
        wait=int(attributes["ReceiveMessageWaitTimeSeconds"]),
        retention=int(attributes["MessageRetentionPeriod"]),
        max_message_bytes=int(attributes["MaximumMessageSize"]),
        content_based_deduplication=attributes.get("ContentBasedDeduplication") == "true",
        deduplicates_per_group=attributes.get("DeduplicationScope") == "messageGroup",
    )


def check_name(name: str, *, fifo: bool) -> None:
    """Raise ServiceError if a queue of this type can't have that name."""
    if fifo and not FIFO_NAME.fullmatch(name):
        raise ServiceError(
            INVALID_PARAMETER_VALUE,
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
            "must end with .fifo suffix and be 1 to 80 in length.",
        )
    if not fifo and not STANDARD_NAME.fullmatch(name):
        raise ServiceError(
            INVALID_PARAMETER_VALUE,
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )


def check_attributes(given: Mapping[str, Any], *, fifo: bool) -> dict[str, str]:
    """Return the attributes to set after checking them; an empty document removes the attribute.

    SQS has been observed to take JSON numbers and booleans as their texts, and to ignore ``null``. Raise ServiceError
    for an attribute that doesn't exist, or not for this type of queue, and for a value out of range.
    """
    checked = {}
    for name, value in given.items():
        if value is None:
            continue
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, int):
            value = str(value)
        if not isinstance(value, str):
            raise _invalid_value(name)
        if name in FIFO_ONLY and not fifo:
            if name in ("DeduplicationScope", "FifoThroughputLimit"):
                detail = f"You can specify the {name} only when FifoQueue is set to true."
                raise ServiceError(INVALID_ATTRIBUTE_NAME, detail)
            raise unknown_attribute(name)
        checked[name] = _check_value(name, value)
    return checked


def _check_value(name: str, value: str) -> str:
    if name in RANGES:
        if not is_number(value, *RANGES[name]):
            raise _invalid_value(name)
        return str(int(value))
    if name in CHOICES:
        chosen = value.lower() if value.lower() in ("true", "false") else value
        if chosen not in CHOICES[name]:
            raise _invalid_value(name)
        return chosen
    if name not in DOCUMENTS:
        raise unknown_attribute(name)
    return _check_document(name, value) if value else ""


def _check_document(name: str, document: str) -> str:
    if name == "RedrivePolicy":
        return redrive_document(*read_redrive_policy(document))
    if name == "RedriveAllowPolicy":
        read_allow_policy(document)
        return orjson.dumps(orjson.loads(document)).decode()
    if name == "Policy":
        check_access_policy(document)
    return document


def _invalid_value(name: str) -> ServiceError:
    return ServiceError(INVALID_ATTRIBUTE_VALUE, f"Invalid value for the parameter {name}.")
