"""The parameters of a request: types, ranges, and the entries of a batch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from courier.local.virtual.errors import (
    BATCH_ENTRY_IDS_NOT_DISTINCT,
    EMPTY_BATCH_REQUEST,
    INVALID_BATCH_ENTRY_ID,
    SERIALIZATION,
    TOO_MANY_ENTRIES,
    ServiceError,
    invalid_parameter,
    missing_parameter,
)

Parameters = Mapping[str, Any]

MAX_ENTRIES: Final = 10
OUT_OF_RANGE: Final = {
    "DelaySeconds": "DelaySeconds must be >= 0 and <= 900.",
    "VisibilityTimeout": "Must be >= 0 and <= 43200, if provided.",
    "WaitTimeSeconds": "Must be >= 0 and <= 20, if provided.",
}
"""The words of SQS for a number that is out of range, where they differ from its usual ones."""

ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")


def text(parameters: Parameters, name: str) -> str:
    """Return a text, empty if missing. Raise ServiceError for another type."""
    value = parameters.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong_type(name)
    return value


def required_text(parameters: Parameters, name: str) -> str:
    """Return a required text. Raise ServiceError if it is missing."""
    value = text(parameters, name)
    if not value:
        raise missing_parameter(name)
    return value


def number(parameters: Parameters, name: str, low: int, high: int) -> int | None:
    """Return a whole number, ``None`` if missing. Raise ServiceError if it is out of range or not a number."""
    value = parameters.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name)
    if not low <= value <= high:
        raise invalid_parameter(
            name, value, OUT_OF_RANGE.get(name) or f"Must be between {low} and {high}, if provided."
        )
    return value


def required_number(parameters: Parameters, name: str, low: int, high: int) -> int:
    """Return a required whole number. Raise ServiceError if it is missing or out of range."""
    value = number(parameters, name, low, high)
    if value is None:
        raise missing_parameter(name)
    return value


def texts(parameters: Parameters, name: str) -> Sequence[str]:
    """Return a list of texts, empty if missing. Raise ServiceError for another type."""
    values = parameters.get(name)
    if values is None:
        return ()
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _wrong_type(name)
    return values


def mapping(parameters: Parameters, name: str) -> dict[str, Any]:
    """Return a JSON object, empty if missing. Raise ServiceError for another type."""
    value = parameters.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong_type(name)
    return value


def entries(parameters: Parameters, shape: str) -> list[dict[str, Any]]:
    """Return the entries of a batch call. Raise ServiceError if the batch as a whole is invalid."""
    batch = parameters.get("Entries")
    if batch is None:
        raise missing_parameter("Entries")
    if not isinstance(batch, list) or not all(isinstance(entry, dict) for entry in batch):
        raise _wrong_type("Entries")
    if not batch:
        raise ServiceError(EMPTY_BATCH_REQUEST, f"There should be at least one {shape} in the request.")
    if len(batch) > MAX_ENTRIES:
        detail = f"Maximum number of entries per request are {MAX_ENTRIES}. You have sent {len(batch)}."
        raise ServiceError(TOO_MANY_ENTRIES, detail)
    seen = set()
    for entry in batch:
        entry_id = text(entry, "Id")
        if not ENTRY_ID.fullmatch(entry_id):
            raise ServiceError(
                INVALID_BATCH_ENTRY_ID,
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long.",
            )
        if entry_id in seen:
            raise ServiceError(BATCH_ENTRY_IDS_NOT_DISTINCT, f"Id {entry_id} repeated.")
        seen.add(entry_id)
    return batch


def batch_answer(successful: list[dict[str, Any]], failed: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer to a batch call. SQS leaves out a list that is empty."""
    answer: dict[str, Any] = {}
    if failed:
        answer["Failed"] = failed
    if successful:
        answer["Successful"] = successful
    return answer


def failed_entry(entry_id: str, error: ServiceError) -> dict[str, Any]:
    """Return the result of an entry that failed."""
    return {
        "Id": entry_id,
        "SenderFault": error.sender_fault,
        "Code": error.kind.code,
        "Message": error.detail,
    }


def _wrong_type(name: str) -> ServiceError:
    return ServiceError(SERIALIZATION, f"The value of {name} has the wrong type.")
