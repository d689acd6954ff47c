"""The errors of SQS in its JSON protocol.

Each has two names: the shape (``__type`` in the body), and the older code of the query protocol, which SQS still sends
in ``x-amzn-query-error`` and which boto3 reports. The texts are those of SQS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

MODELLED: Final = "com.amazonaws.sqs#"
GENERIC: Final = "com.amazon.coral.service#"


class ErrorKind(NamedTuple):
    """The common parts of all errors of one shape."""

    shape: str
    code: str
    status: int = 400


class ServiceError(Exception):
    """An error answer to a whole call or to one batch entry; ``detail`` is its text."""

    def __init__(self, kind: ErrorKind, detail: str, *, sender_fault: bool = True) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.sender_fault = sender_fault


def _modelled(shape: str, code: str = "", status: int = 400) -> ErrorKind:
    return ErrorKind(MODELLED + shape, code or shape, status)


def _prefixed(shape: str, status: int = 400) -> ErrorKind:
    return ErrorKind(MODELLED + shape, f"AWS.SimpleQueueService.{shape}", status)


ACCESS_DENIED: Final = ErrorKind(GENERIC + "AccessDeniedException", "AccessDenied", 403)
BATCH_ENTRY_IDS_NOT_DISTINCT: Final = _prefixed("BatchEntryIdsNotDistinct")
BATCH_REQUEST_TOO_LONG: Final = _prefixed("BatchRequestTooLong")
EMPTY_BATCH_REQUEST: Final = _prefixed("EmptyBatchRequest")
INTERNAL_FAILURE: Final = ErrorKind(GENERIC + "InternalFailure", "InternalFailure", 500)
INVALID_ACTION: Final = ErrorKind(GENERIC + "UnknownOperationException", "InvalidAction")
INVALID_ATTRIBUTE_NAME: Final = _modelled("InvalidAttributeName")
INVALID_ATTRIBUTE_VALUE: Final = _modelled("InvalidAttributeValue")
INVALID_BATCH_ENTRY_ID: Final = _prefixed("InvalidBatchEntryId")
INVALID_MESSAGE_CONTENTS: Final = _modelled("InvalidMessageContents")
INVALID_PARAMETER_VALUE: Final = ErrorKind(GENERIC + "InvalidParameterValueException", "InvalidParameterValue")
MISSING_PARAMETER: Final = ErrorKind(GENERIC + "MissingRequiredParameterException", "MissingParameter")
OVER_LIMIT: Final = _modelled("OverLimit", status=403)
PURGE_QUEUE_IN_PROGRESS: Final = _prefixed("PurgeQueueInProgress", 403)
QUEUE_DELETED_RECENTLY: Final = _prefixed("QueueDeletedRecently")
QUEUE_DOES_NOT_EXIST: Final = _modelled("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")
QUEUE_NAME_EXISTS: Final = _modelled("QueueNameExists", "QueueAlreadyExists")
RECEIPT_HANDLE_IS_INVALID: Final = _modelled("ReceiptHandleIsInvalid")
RESOURCE_NOT_FOUND: Final = _modelled("ResourceNotFoundException", status=404)
REQUEST_THROTTLED: Final = _modelled("RequestThrottled", status=403)
SERIALIZATION: Final = ErrorKind(GENERIC + "SerializationException", "SerializationException")
SERVICE_UNAVAILABLE: Final = ErrorKind(GENERIC + "ServiceUnavailable", "ServiceUnavailable", 503)
TOO_MANY_ENTRIES: Final = _prefixed("TooManyEntriesInBatchRequest")
UNSUPPORTED_OPERATION: Final = _prefixed("UnsupportedOperation")


def invalid_parameter(name: str, value: object, reason: str) -> ServiceError:
    """Return the error for a parameter with an invalid value."""
    return ServiceError(INVALID_PARAMETER_VALUE, f"Value {value} for parameter {name} is invalid. Reason: {reason}")


def missing_parameter(name: str) -> ServiceError:
    """Return the error for a missing parameter."""
    return ServiceError(MISSING_PARAMETER, f"The request must contain the parameter {name}.")


def unknown_attribute(name: str) -> ServiceError:
    """Return the error for a queue attribute that doesn't exist, or not for this type of queue."""
    return ServiceError(INVALID_ATTRIBUTE_NAME, f"Unknown Attribute {name}.")


def queue_does_not_exist(elsewhere: Sequence[str] = ()) -> ServiceError:
    """Return the error for a queue that doesn't exist, or only in the regions ``elsewhere``, which SQS wouldn't say."""
    hint = f" There is one of this name in {', '.join(elsewhere)}." if elsewhere else ""
    return ServiceError(QUEUE_DOES_NOT_EXIST, "The specified queue does not exist." + hint)


def resource_not_found(detail: str) -> ServiceError:
    """Return the error for a queue or a task that a call about move tasks names, and that doesn't exist."""
    return ServiceError(RESOURCE_NOT_FOUND, detail)


def receipt_is_invalid(receipt: str) -> ServiceError:
    """Return the error for a receipt handle that this queue never issued."""
    return ServiceError(
        RECEIPT_HANDLE_IS_INVALID, f'The input receipt handle "{receipt}" is not a valid receipt handle.'
    )


def receipt_has_expired(receipt: str) -> ServiceError:
    """Return a FIFO queue's error for a receipt handle whose visibility timeout is over."""
    return invalid_parameter("ReceiptHandle", receipt, "The receipt handle has expired.")


def not_available(receipt: str) -> ServiceError:
    """Return the error for a visibility change of a message that is gone or not in flight."""
    reason = "Message does not exist or is not available for visibility timeout change."
    return invalid_parameter("ReceiptHandle", receipt, reason)


def over_limit() -> ServiceError:
    """Return the error for a short poll of a queue with the maximum of messages in flight."""
    return ServiceError(OVER_LIMIT, "Too many messages are in flight.")


def throttled() -> ServiceError:
    """Return the error of SQS for too many requests. The virtual queue sends it only as a fault."""
    return ServiceError(REQUEST_THROTTLED, "Rate exceeded")
