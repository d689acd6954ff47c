"""The pooled HTTP/1.1 client session."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from courier.http.answer import Answer, Failure
from courier.http.target import Target


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take and how much is kept; all times are seconds.

    ``connect_timeout`` bounds resolving, connecting and the TLS handshake together; ``first_byte_timeout`` the wait
    from the written request to the first byte of the answer (None: no bound of its own); ``timeout`` the whole
    attempt, connect and retry included. An idle connection is closed after ``idle_timeout``, and any connection is
    used no longer than ``max_age``, so that a changed name is noticed. ``answer_cap`` is how many bytes of an
    answer's body are kept and read.
    """

    connect_timeout: float = 5.0
    first_byte_timeout: float | None = None
    timeout: float = 30.0
    idle_timeout: float = 15.0
    max_age: float = 300.0
    answer_cap: int = 65536


class Exchange:
    """One request under way."""

    def cancel(self) -> None:
        """Give it up: the connection is closed and ``done`` gets Failure(CANCELLED) a turn of the loop later."""
        raise NotImplementedError


class Session:
    """Connections to one target, kept and used again. It belongs to one event loop and isn't thread-safe."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: Target,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        raise NotImplementedError

    def send(
        self,
        head: bytes,
        body: bytes,
        done: Callable[[Answer | Failure], None],
        timeout: float | None = None,
    ) -> Exchange:
        """Send a request; ``done`` is called exactly once, and never from inside this call."""
        raise NotImplementedError

    async def request(self, head: bytes, body: bytes, timeout: float | None = None) -> Answer | Failure:
        """Send a request and wait for what comes of it."""
        raise NotImplementedError

    def close(self) -> None:
        """Close idle connections; requests under way end as Failure(CANCELLED)."""
        raise NotImplementedError
