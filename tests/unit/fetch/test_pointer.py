"""Which messages are pointers to S3, and which of those are followed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.fetch.pointer import CLASSES, SIZE_ATTRIBUTES, BucketPrefix, is_pointer, read_pointer, with_fetched_body
from courier.http.answer import Failure
from courier.message import Attribute
from courier.recipient.content import BAD_POINTER, BUCKET
from courier.request.content import Pointer
from tests.unit.stage import message

PLACES = (BucketPrefix("bodies"), BucketPrefix("shared", "ours/"))


def pointer(bucket: object = "bodies", key: object = "k", name: object = CLASSES[0]) -> bytes:
    return json.dumps([name, {"s3BucketName": bucket, "s3Key": key}]).encode()


def reason(body: bytes) -> str:
    read = read_pointer(body, PLACES)
    assert isinstance(read, Failure), read
    return read.reason


@pytest.mark.parametrize(
    "body",
    [
        # As the client for Java writes it, the one for Python, and both of them in their older form.
        b'["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"bodies","s3Key":"4a-b"}]',
        b'["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "bodies", "s3Key": "4a-b"}]',
        b'["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"bodies","s3Key":"4a-b"}]',
        # Jackson ignores properties that it doesn't know.
        b'["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3Key":"4a-b","s3BucketName":"bodies","version":2}]',
    ],
)
def test_the_forms_of_the_clients_are_read(body: bytes) -> None:
    assert is_pointer(message("a", body=body))
    assert read_pointer(body, PLACES) == Pointer("bodies", "4a-b")


@pytest.mark.parametrize("name", sorted(SIZE_ATTRIBUTES))
def test_the_attribute_marks_a_pointer_and_is_taken_off(name: str) -> None:
    other = Attribute("kind", "String", "order")
    attributes = (Attribute(name, "Number", "300000"), other)
    marked = message("a", body=pointer())._replace(attributes=attributes)
    assert is_pointer(marked)
    real = with_fetched_body(marked, b"real")
    assert (real.body, real.attributes) == (b"real", (other,))
    # A client would fail on such a message too: it is no body that anybody sent.
    assert is_pointer(marked._replace(body=b"no pointer"))
    assert reason(b"no pointer") == BAD_POINTER


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'["a",{}]', b'["software.amazon.payloadoffloading.PayloadS3Pointer"]', b"[" * 9000]
)
def test_any_other_body_is_no_pointer(body: bytes) -> None:
    assert not is_pointer(message("a", body=body))


@pytest.mark.parametrize(
    ("bucket", "key"),
    [("other", "k"), ("bodies.", "k"), ("Bodies", "k"), ("bodies/x", "k"), ("shared", "theirs/k"), ("shared", "ours")],
)
def test_no_other_place_is_asked(bucket: str, key: str) -> None:
    assert reason(pointer(bucket, key)) == BUCKET


def test_a_part_of_a_bucket_is_a_place() -> None:
    assert read_pointer(pointer("shared", "ours/k"), PLACES) == Pointer("shared", "ours/k")


@pytest.mark.parametrize(
    "body",
    [
        pointer(key="a/../../other/k"),
        pointer(key=".."),
        pointer(key="./k"),
        pointer(key=""),
        pointer(bucket=""),
        pointer(bucket=["bodies"]),
        pointer(key=7),
        pointer(key="k" * 1025),
        pointer(key="é" * 600),
        pointer(key="k" * 20_000),
        pointer(name="java.util.logging.FileHandler"),
        pointer(name=CLASSES),
        b'["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"bodies"}]',
        b'["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"bodies","s3Key":"\\ud800"}]',
    ],
)
def test_a_pointer_that_lies_is_refused(body: bytes) -> None:
    assert reason(body) == BAD_POINTER


_JSON = st.recursive(
    st.none() | st.booleans() | st.text() | st.sampled_from(CLASSES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["s3BucketName", "s3Key", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_body_is_it_is_a_pointer_to_a_place_or_a_reason(body: bytes) -> None:
    is_pointer(message("a", body=body))
    read: Any = read_pointer(body, PLACES)
    assert isinstance(read, Failure) or any(place.has(read) for place in PLACES)
