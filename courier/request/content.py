"""What is sent of a message, where that isn't its body as it was received, and the steps that make it."""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

from courier.http.answer import Failure
from courier.http.file_body import Body, FileBody
from courier.message import Message


class Pointer(NamedTuple):
    """An object in S3."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def pack(self) -> bytes:
        """Return it as bytes, to travel to the auditor."""
        return marshal.dumps(tuple(self))

    @classmethod
    def unpack(cls, packed: bytes) -> Pointer:
        """Return the pointer of :meth:`pack`."""
        return cls(*marshal.loads(packed))


class Content(NamedTuple):
    """The message as it is sent: with the body and the attributes that its request is made of.

    ``headers`` are more header lines, each with its line end; those that have no room are left out. ``required`` are
    lines that stay: if they have no room, the message isn't sent. ``path`` is the request target, empty for that of the
    recipient's URL. ``file`` is a body too large for memory, in place of the message's, which is empty then.
    ``pointer`` is the object to remove once the message is deleted. ``dropped`` counts headers without a valid value.
    """

    message: Message
    headers: bytes = b""
    required: bytes = b""
    path: bytes = b""
    dropped: int = 0
    file: FileBody | None = None
    pointer: Pointer | None = None

    @property
    def body(self) -> Body:
        """The body that is sent."""
        return self.message.body if self.file is None else self.file

    def sha256(self) -> str:
        """Return the digest of the body in hexadecimal; empty if that of a file isn't known."""
        return hashlib.sha256(self.message.body).hexdigest() if self.file is None else self.file.sha256


def in_memory(content: Content) -> Content:
    """Return a content whose body is in a file, with the body in memory, and close the file."""
    assert content.file is not None
    body = b"".join(content.file.pieces())
    content.file.close()
    return content._replace(message=content.message._replace(body=body), file=None)


class Pending(Protocol):
    """A step that waits, for an object or for a certificate."""

    def cancel(self) -> None:
        """Give up. The result isn't passed on any more."""


Made: TypeAlias = Content | Failure | Exception
"""The result of a step. A failure has a reason of :mod:`courier.recipient.content`.

A step that waits may also call back with an exception, which is a bug; one that doesn't wait raises it.
"""

Step: TypeAlias = Callable[[Content, Callable[[Made], None]], Made | Pending]
"""One step of the preparation. It returns its result, or what it waits for and calls back with the result later, once.

It never calls back before it has returned.
"""
