"""Refusals of a request: the status, the reason, and the bytes of the answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, NamedTuple

import orjson


class RequestRefusal(NamedTuple):
    """The answer to a refused request: the status, and the reason in one line for the client."""

    status: int
    reason: str


TOO_SLOW: Final = RequestRefusal(408, "the request did not arrive in time")
TOO_MANY: Final = RequestRefusal(503, "all connections wait for their answers")


def render(refusal: RequestRefusal, *, head_only: bool) -> bytes:
    """Return the whole answer, which closes the connection; ``head_only`` leaves the body out, for HEAD."""
    body = orjson.dumps({"error": refusal.reason})
    status = HTTPStatus(refusal.status)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    return head if head_only else head + body
