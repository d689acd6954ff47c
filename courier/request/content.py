"""What is sent of a message, where that isn't its body as it was received, and the steps that make it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

from courier.http.answer import Failure
from courier.message import Message


class Content(NamedTuple):
    """The message as it is sent: with the body and the attributes that its request is made of.

    ``headers`` are more header lines, each with its line end.
    """

    message: Message
    headers: bytes = b""


class Pending(Protocol):
    """A step that waits, for an object or for a certificate."""

    def cancel(self) -> None:
        """Give up. The result isn't passed on any more."""


Made: TypeAlias = Content | Failure
"""The result of a step. A failure has a reason of :mod:`courier.recipient.content`."""

Step: TypeAlias = Callable[[Content, Callable[[Made], None]], Made | Pending]
"""One step of the preparation. It returns its result, or what it waits for and calls back with the result later, once.

It never calls back before it has returned.
"""
