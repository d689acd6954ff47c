"""What is sent of a message, where that isn't its body as it was received."""

from __future__ import annotations

from typing import NamedTuple

from courier.message import Message


class Content(NamedTuple):
    """The message as it is sent: with the body and the attributes that its request is made of.

    ``headers`` are more header lines, each with its line end.
    """

    message: Message
    headers: bytes = b""
