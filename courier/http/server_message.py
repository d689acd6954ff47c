"""What the HTTP server takes and gives: requests, responses, limits, and the bytes of an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Final, NamedTuple

STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
BODILESS: Final = frozenset({204, 304})


class Request(NamedTuple):
    """One whole request.

    ``target`` is the request target as it came (path and query, not unescaped); ``headers`` has lower-case names, and
    values that came several times joined with ``", "``; ``body`` is without its transfer coding.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Response(NamedTuple):
    """What a handler answers. Content-Length, Date and Connection are the server's to set, not the handler's."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


Handler = Callable[[Request], Response | Awaitable[Response]]


@dataclass(frozen=True)
class Limits:
    """What a client may send, in bytes: more head is answered with 431, more body with 413."""

    max_head: int = 65_536
    max_body: int = 16 * 1024 * 1024


@lru_cache(maxsize=2)
def _date_line(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}\r\n"


def render(response: Response, head_only: bool, keep_alive: bool, old_client: bool) -> bytes:
    """Write out a whole answer. Raises ValueError where a header holds a line break.

    ``head_only`` leaves the body out, as HEAD wants it; ``old_client`` speaks HTTP/1.0.
    """
    status, headers, body = response
    head = STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    head += _date_line(int(time()))
    for name, value in headers:
        head += f"{name}: {value}\r\n"
    if head.count("\n") != len(headers) + 2 or head.count("\r") != len(headers) + 2:
        raise ValueError("a header of the answer holds a line break")
    if status not in BODILESS:
        head += f"Content-Length: {len(body)}\r\n"
    if not keep_alive:
        head += "Connection: close\r\n"
    elif old_client:
        head += "Connection: keep-alive\r\n"
    encoded = f"{head}\r\n".encode("latin-1")
    return encoded if head_only or status in BODILESS else encoded + body
