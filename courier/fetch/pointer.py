"""Pointers: what the extended clients put into a queue in place of a body that they have put into S3. Pure.

The clients of AWS for Java and Python, and those modelled on them, agree on the form: the body is a JSON array of a
class name and of an object with ``s3BucketName`` and ``s3Key``, and an attribute says how long the real body is. The
names of the class and of the attribute are older or newer ones; a client reads both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from courier.http.answer import Failure
from courier.message import Message
from courier.recipient.content import BAD_POINTER, BUCKET
from courier.request.content import Pointer

SIZE_ATTRIBUTES: Final = frozenset({"ExtendedPayloadSize", "SQSLargePayloadSize"})
"""The attributes that mark a pointer. The clients take them off again, so they are no attributes of the message."""

CLASSES: Final = ("software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer")

_MARKS: Final = tuple(name.encode() for name in CLASSES)

LONGEST: Final = 16_384
"""Maximum bytes of a pointer. A key has at most 1,024 bytes, of which JSON makes at most six times as many."""

LONGEST_KEY: Final = 1024
"""Maximum bytes of a key, by S3's limit."""

_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class BucketPrefix:
    """A bucket, or a part of it: that of the keys that begin with ``prefix``."""

    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket

    def has(self, pointer: Pointer) -> bool:
        """Return whether an object is there."""
        return pointer.bucket == self.bucket and pointer.key.startswith(self.prefix)


def is_pointer(message: Message) -> bool:
    """Return whether a message is a pointer: by its attribute, as for the clients, or else by its body.

    A body in the form of a pointer without the attribute is one that lost it on its way: the recipient could do nothing
    with it.
    """
    if message.attributes and any(attribute.name in SIZE_ATTRIBUTES for attribute in message.attributes):
        return True
    body = message.body
    return body[:1] in b"[ \t\r\n" and len(body) <= LONGEST and any(mark in body for mark in _MARKS) and _is_form(body)


def read_pointer(body: bytes, places: tuple[BucketPrefix, ...]) -> Pointer | Failure:
    """Return the pointer in a body, if it points to one of the places; otherwise why it isn't followed."""
    if len(body) > LONGEST:
        return Failure(BAD_POINTER, f"{len(body)} bytes are too many for a pointer to S3", 0.0)
    read = _read(body)
    if isinstance(read, str):
        return Failure(BAD_POINTER, read, 0.0)
    if not any(place.has(read) for place in places):
        return Failure(BUCKET, f"{_shown(read)} isn't in a bucket of --fetch-bucket", 0.0)
    return read


def with_fetched_body(message: Message, body: bytes) -> Message:
    """Return a message with its real body, and without the attribute that marked the pointer."""
    attributes = tuple([each for each in message.attributes if each.name not in SIZE_ATTRIBUTES])
    return message._replace(body=body, attributes=attributes)


def _is_form(body: bytes) -> bool:
    return not isinstance(_read(body), str)


def _read(body: bytes) -> Pointer | str:
    """Return the pointer in a body, or what is wrong with it."""
    try:
        parts: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "the body isn't the JSON of a pointer to S3"
    if not (isinstance(parts, list) and len(parts) == 2 and isinstance(parts[1], dict)):
        return "the body isn't a JSON array of a class name and an object"
    if parts[0] not in CLASSES:
        return f"{str(parts[0])[:_SHOWN]!r} isn't the class of a pointer to S3"
    bucket, key = parts[1].get("s3BucketName"), parts[1].get("s3Key")
    if not (isinstance(bucket, str) and bucket and isinstance(key, str) and key):
        return "the pointer has no s3BucketName or no s3Key"
    if len(key.encode("utf-8", "replace")) > LONGEST_KEY:
        return f"no key in S3 is longer than {LONGEST_KEY} bytes"
    if not {".", ".."}.isdisjoint(key.split("/")):
        # What comes between may take them for steps of a path, which could lead out of the bucket.
        return "the key has a segment of dots only"
    return Pointer(bucket, key)


def _shown(pointer: Pointer) -> str:
    text = str(pointer)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
