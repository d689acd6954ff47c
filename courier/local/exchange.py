"""Requests, answers and limits of the local servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Request(NamedTuple):
    """One whole request.

    ``target`` is the path and the query as they came, not unescaped; ``headers`` has lower-case names, and values that
    came several times joined with ``", "``; ``body`` is without its transfer coding.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Response(NamedTuple):
    """The answer of a handler. The server sets Content-Length, Date and Connection, not the handler."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


Handler = Callable[[Request], Response | Awaitable[Response]]


@dataclass(frozen=True)
class ServerLimits:
    """The limits on what clients may send and hold, in bytes, seconds and connections.

    A larger head is answered with 431, a larger body with 413, and a head that isn't whole after ``head_seconds`` with
    408. ``stall_seconds`` is how long a body may make no progress, or an answer may stay unread. ``max_unfinished``
    limits all unfinished bodies together. Above it, and above ``max_connections``, the server closes connections
    without a whole request, the oldest first. It never closes one that waits for its answer.
    """

    max_head: int = 16 * 1024
    max_body: int = 16 * 1024 * 1024
    max_unfinished: int = 256 * 1024 * 1024
    max_connections: int = 16_384
    head_seconds: float = 5.0
    stall_seconds: float = 30.0
