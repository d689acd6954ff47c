"""The content of a message: body, attributes, ids and sizes, checked like SQS checks them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from courier.local.virtual.attribute_digest import digest_attributes
from courier.local.virtual.errors import (
    INVALID_MESSAGE_CONTENTS,
    INVALID_PARAMETER_VALUE,
    UNSUPPORTED_OPERATION,
    ServiceError,
)
from courier.local.virtual.parameters import Parameters, mapping, required_text
from courier.local.virtual.stored import StoredMessage

MAX_ATTRIBUTES: Final = 10
TRACE_HEADER: Final = "AWSTraceHeader"

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
FORBIDDEN_CHARACTER: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# The documentation allows only A to Z, but SQS has been observed to accept letters of any language.
ATTRIBUTE_NAME: Final = re.compile(r"(?!aws\.|amazon\.)(?!\.)(?!.*\.\.)(?!.*\.$)[\w.-]{1,256}", re.IGNORECASE)
DATA_TYPE: Final = re.compile(r"(String|Number|Binary)(\..+)?", re.DOTALL)
NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
MAX_DATA_TYPE: Final = 256

# "A number can have up to 38 digits of precision, and it can be between 10^-128 and 10^+126."
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
MAX_DIGITS: Final = 38
SMALLEST: Final = Decimal("1e-128")
LARGEST: Final = Decimal("1e126")


def read_message(parameters: Parameters, trace: str = "") -> StoredMessage:
    """Return the message that a request or a batch entry describes. Raise ServiceError if it is invalid.

    ``trace`` is the trace header of the HTTP request, which a message without a trace header of its own gets.
    """
    body = required_text(parameters, "MessageBody")
    if not (body.isascii() and body.isprintable()):
        bad = FORBIDDEN_CHARACTER.search(body)
        if bad:
            detail = f"Invalid binary character '#x{ord(bad[0]):X}' was found in the message body."
            raise ServiceError(INVALID_MESSAGE_CONTENTS, detail)
    encoded = body.encode()
    message = StoredMessage(body, hashlib.md5(encoded, usedforsecurity=False).hexdigest(), len(encoded), trace=trace)
    if "MessageAttributes" in parameters:
        _read_attributes(message, mapping(parameters, "MessageAttributes"))
    if "MessageSystemAttributes" in parameters:
        _read_system_attributes(message, mapping(parameters, "MessageSystemAttributes"))
    return message


def _read_attributes(message: StoredMessage, given: dict[str, Any]) -> None:
    if not given:
        return
    if len(given) > MAX_ATTRIBUTES:
        detail = f"Number of message attributes [{len(given)}] exceeds the allowed maximum [{MAX_ATTRIBUTES}]."
        raise ServiceError(INVALID_PARAMETER_VALUE, detail)
    message.attributes = {name: _read_attribute(name, value) for name, value in given.items()}
    message.attributes_md5 = digest_attributes(message.attributes)
    message.size += sum(_attribute_size(name, value) for name, value in message.attributes.items())


def _read_system_attributes(message: StoredMessage, given: dict[str, Any]) -> None:
    if not given:
        return
    for name in given:
        if name != TRACE_HEADER:
            raise ServiceError(INVALID_PARAMETER_VALUE, f"Message system attribute name '{name}' is invalid.")
    attribute = _read_attribute(TRACE_HEADER, given[TRACE_HEADER], prefix_allowed=True)
    if attribute["DataType"] != "String":
        raise ServiceError(INVALID_PARAMETER_VALUE, f"The message system attribute '{TRACE_HEADER}' must be a String.")
    message.trace = attribute["StringValue"]
    message.trace_md5 = digest_attributes({TRACE_HEADER: attribute})


def _read_attribute(name: str, given: Any, *, prefix_allowed: bool = False) -> dict[str, Any]:
    if not prefix_allowed and not ATTRIBUTE_NAME.fullmatch(name):
        raise ServiceError(INVALID_PARAMETER_VALUE, f"The message attribute name '{name}' is invalid.")
    if not isinstance(given, dict):
        raise ServiceError(INVALID_PARAMETER_VALUE, f"The message attribute '{name}' is invalid.")
    if given.get("StringListValues") or given.get("BinaryListValues"):
        detail = "Message attribute list values in SendMessage operation are not supported."
        raise ServiceError(UNSUPPORTED_OPERATION, detail)
    data_type = given.get("DataType")
    if not isinstance(data_type, str) or not data_type:
        detail = f"The message attribute '{name}' must contain non-empty message attribute type."
        raise ServiceError(INVALID_PARAMETER_VALUE, detail)
    kind = DATA_TYPE.fullmatch(data_type)
    if kind is None or len(data_type) > MAX_DATA_TYPE:
        raise ServiceError(
            INVALID_PARAMETER_VALUE,
            f"The type of message (user) attribute '{name}' is invalid. "
            "You must use only the following supported type prefixes: Binary, Number, String.",
        )
    field = "BinaryValue" if kind[1] == "Binary" else "StringValue"
    return {"DataType": data_type, field: _read_value(name, kind[1], given.get(field))}


def _read_value(name: str, kind: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        detail = f"Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'."
        raise ServiceError(INVALID_PARAMETER_VALUE, detail)
    if kind == "Number" and not _is_number(value):
        detail = f"Can't cast the value of message (user) attribute '{name}' to a number."
        raise ServiceError(INVALID_PARAMETER_VALUE, detail)
    if kind == "Binary":
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            detail = f"The value of message (user) attribute '{name}' is not base64."
            raise ServiceError(INVALID_PARAMETER_VALUE, detail) from None
    elif FORBIDDEN_CHARACTER.search(value):
        detail = f"The value of message (user) attribute '{name}' contains invalid characters."
        raise ServiceError(INVALID_PARAMETER_VALUE, detail)
    return value


def _is_number(text: str) -> bool:
    """Return whether SQS takes a text as a number: with up to 38 digits besides outer zeroes, and in its range."""
    if not NUMBER.fullmatch(text):
        return False
    digits = text.lower().partition("e")[0].lstrip("+-").replace(".", "").strip("0")
    if not digits:
        return True
    try:
        size = Decimal(text).copy_abs()
    except InvalidOperation:  # an exponent of twenty digits
        return False
    return len(digits) <= MAX_DIGITS and SMALLEST <= size <= LARGEST


def _attribute_size(name: str, attribute: dict[str, Any]) -> int:
    if "BinaryValue" in attribute:
        value = len(base64.b64decode(attribute["BinaryValue"]))
    else:
        value = len(attribute["StringValue"].encode())
    return len(name.encode()) + len(attribute["DataType"].encode()) + value
