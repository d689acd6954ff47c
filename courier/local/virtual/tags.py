"""The tags of a queue, checked like SQS checks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from courier.local.virtual.errors import INVALID_PARAMETER_VALUE, SERIALIZATION, ServiceError
from courier.local.virtual.parameters import Parameters, mapping

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-tags.html
MAX_TAGS: Final = 50
MAX_KEY: Final = 128
MAX_VALUE: Final = 256


def read_tags(parameters: Parameters, name: str) -> dict[str, str]:
    """Return the tags in a request, none if missing. Raise ServiceError if one is malformed."""
    tags = mapping(parameters, name)
    for key, value in tags.items():
        if not isinstance(value, str):
            raise ServiceError(SERIALIZATION, f"The value of {name} has the wrong type.")
        check_key(key)
        if len(value) > MAX_VALUE:
            raise ServiceError(INVALID_PARAMETER_VALUE, "Tag values must be between 0 and 256 characters in length.")
    return tags


def merged_tags(name: str, before: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a queue with new ones. Raise ServiceError if they are too many."""
    tags = {**before, **given}
    if len(tags) > MAX_TAGS:
        raise ServiceError(INVALID_PARAMETER_VALUE, f"Too many tags added for queue {name}.")
    return tags


def check_key(key: str) -> None:
    """Raise ServiceError if a key can't be that of a tag."""
    if not 1 <= len(key) <= MAX_KEY:
        raise wrong_key()
    if key.lower().startswith("aws:"):
        raise ServiceError(INVALID_PARAMETER_VALUE, "Tag keys can't begin with 'aws:', which is reserved.")


def wrong_key() -> ServiceError:
    """Return the error for a key that is too short or too long."""
    return ServiceError(INVALID_PARAMETER_VALUE, "Tag keys must be between 1 and 128 characters in length.")
