from __future__ import annotations

import base64
from typing import Any

import pytest

from courier.local.virtual.attribute_digest import digest_attributes
from courier.local.virtual.content import read_message
from courier.local.virtual.errors import INVALID_MESSAGE_CONTENTS, INVALID_PARAMETER_VALUE, ServiceError


def refusal(**parameters: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        read_message({"MessageBody": "a", **parameters})
    return caught.value


@pytest.mark.parametrize(
    "character", ["\t", "\n", "\r", " ", "\x7f", "\ud7ff", "\ue000", "\ufffd", "\U00010000", "\U0010ffff"]
)
def test_a_character_that_sqs_allows_is_taken(character: str) -> None:
    message = read_message({"MessageBody": f"a{character}b"})
    assert (message.body, message.size) == (f"a{character}b", 2 + len(character.encode()))


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x0c", "\x1f", "\ufffe", "\uffff"])
def test_a_character_that_sqs_forbids_is_refused_and_named(character: str) -> None:
    error = refusal(MessageBody=f"a{character}b")
    assert error.kind is INVALID_MESSAGE_CONTENTS
    assert f"#x{ord(character):X}" in error.detail


@pytest.mark.parametrize("number", ["0", "-1", "+1.5", "1e30", ".5", "5.", "123456789.123456789E-10"])
def test_a_number_is_taken_as_it_is_written(number: str) -> None:
    attribute = {"DataType": "Number.float", "StringValue": number}
    assert read_message({"MessageBody": "a", "MessageAttributes": {"n": attribute}}).attributes == {"n": attribute}


# Source: "A number can have up to 38 digits of precision, and it can be between 10^-128 and 10^+126. Amazon SQS trims
# leading and trailing zeroes." in https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/
# sqs-message-metadata.html. What it answers otherwise isn't documented.
@pytest.mark.parametrize(
    ("number", "taken"),
    [
        ("1" * 38, True),
        ("1" * 39, False),
        (f"{'1' * 20}.{'1' * 18}", True),
        (f"{'1' * 20}.{'1' * 19}", False),
        ("0" * 50 + "1." + "0" * 50, True),
        ("0" * 500 + "." + "0" * 500, True),
        ("1" + "0" * 126, True),
        ("1" + "0" * 127, False),
        ("1e126", True),
        ("-1e126", True),
        ("1.1e126", False),
        ("-1.1e126", False),
        ("1e-128", True),
        ("-9.9e-129", False),
        ("0e999", True),
        (f"1e{'9' * 50}", False),
        (f"1e-{'9' * 50}", False),
    ],
)
def test_a_number_has_up_to_38_digits_and_a_range(number: str, taken: bool) -> None:
    attributes = {"n": {"DataType": "Number", "StringValue": number}}
    if taken:
        assert read_message({"MessageBody": "a", "MessageAttributes": attributes}).attributes == attributes
    else:
        assert refusal(MessageAttributes=attributes).kind is INVALID_PARAMETER_VALUE


def test_a_number_of_any_length_is_read_once() -> None:
    # Digit by digit from each digit it would take hours, and no other request were answered meanwhile.
    for text in ("1" * 500_000 + "x", "1" * 1_000_000, "0" * 500_000 + "." + "0" * 499_999 + "1"):
        digits = {"n": {"DataType": "Number", "StringValue": text}}
        assert refusal(MessageAttributes=digits).kind is INVALID_PARAMETER_VALUE


@pytest.mark.parametrize("number", ["", "one", "0x1", "1,5", "1 ", "nan", "e5", "."])
def test_what_is_no_number_is_refused(number: str) -> None:
    error = refusal(MessageAttributes={"n": {"DataType": "Number", "StringValue": number}})
    assert error.kind is INVALID_PARAMETER_VALUE


@pytest.mark.parametrize(
    "attribute",
    [
        "text",
        {},
        {"DataType": "String"},
        {"DataType": "", "StringValue": "a"},
        {"DataType": "String." + "x" * 250, "StringValue": "a"},
        {"DataType": "Strings", "StringValue": "a"},
        {"DataType": "Binary", "StringValue": "a"},
        {"DataType": "Binary", "BinaryValue": "not base64!"},
        {"DataType": "String", "StringValue": "a\x00"},
    ],
)
def test_an_attribute_that_makes_no_sense_is_refused(attribute: Any) -> None:
    assert refusal(MessageAttributes={"name": attribute}).kind is INVALID_PARAMETER_VALUE


@pytest.mark.parametrize("name", [".a", "a.", "a..b", "a b", "a§", "a!", "x" * 257, "aws.a", "AMAZON.a"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    error = refusal(MessageAttributes={name: {"DataType": "String", "StringValue": "a"}})
    assert error.kind is INVALID_PARAMETER_VALUE


def test_letters_of_any_language_are_taken_in_a_name() -> None:
    attribute = {"DataType": "String", "StringValue": "a"}
    message = read_message({"MessageBody": "a", "MessageAttributes": {"attr.1øßä": attribute}})
    assert message.size == 1 + len("attr.1øßä".encode()) + len("String") + 1


def test_list_values_are_not_supported_by_sqs_itself() -> None:
    attribute = {"DataType": "String", "StringListValues": ["a"]}
    assert refusal(MessageAttributes={"name": attribute}).kind.shape.endswith("#UnsupportedOperation")


def test_only_the_trace_header_is_a_system_attribute_that_can_be_sent() -> None:
    value = {"DataType": "String", "StringValue": "a"}
    assert refusal(MessageSystemAttributes={"SenderId": value}).kind is INVALID_PARAMETER_VALUE
    number = {"DataType": "Number", "StringValue": "1"}
    assert refusal(MessageSystemAttributes={"AWSTraceHeader": number}).kind is INVALID_PARAMETER_VALUE
    message = read_message({"MessageBody": "a", "MessageSystemAttributes": {"AWSTraceHeader": value}})
    assert (message.trace, message.size) == ("a", 1)


def test_empty_attributes_are_as_none() -> None:
    message = read_message({"MessageBody": "a", "MessageAttributes": {}, "MessageSystemAttributes": {}})
    assert (message.attributes, message.attributes_md5, message.trace_md5) == (None, "", "")


def test_the_digest_is_the_one_that_sqs_gave() -> None:
    value = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"
    attributes = {"attr1": {"DataType": "Binary", "BinaryValue": base64.b64encode(value).decode()}}
    assert digest_attributes(attributes) == "8cbe4db156db8a94db8b801b7addb984"
    assert (
        digest_attributes({"Foo": {"DataType": "String", "StringValue": "Bar"}}) == "ae7155c6026991b6d54b11589678bf9c"
    )


def test_the_digest_does_not_depend_on_the_order_of_the_attributes() -> None:
    one = {"a": {"DataType": "String", "StringValue": "1"}, "b": {"DataType": "Number", "StringValue": "2"}}
    assert digest_attributes(one) == digest_attributes(dict(reversed(one.items())))
