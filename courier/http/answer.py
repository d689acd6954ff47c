"""The result of an exchange: the answer of the server, or the reason why there is none."""

from __future__ import annotations

from typing import Final, NamedTuple

RESOLVE: Final = "name not resolved"
"""DNS says that there is no such name, or no address for it."""
RESOLVER_FAILED: Final = "name server failed"
NO_RESOLVER: Final = "no name server"
"""None is configured on this machine."""
DENIED: Final = "address denied"
CONNECT_REFUSED: Final = "connection refused"
CONNECT_FAILED: Final = "connection failed"
CONNECT_TIMEOUT: Final = "connect timeout"
TLS: Final = "TLS failure"
FIRST_BYTE_TIMEOUT: Final = "first byte timeout"
TIMEOUT: Final = "timeout"
RESET: Final = "connection reset"
PROTOCOL: Final = "protocol error"
CANCELLED: Final = "cancelled"

NO_DESCRIPTORS: Final = "out of file descriptors"
NO_PORTS: Final = "out of local ports"
NO_MEMORY: Final = "out of memory"
NO_THREADS: Final = "out of threads"

REASONS: Final = (
    RESOLVE,
    RESOLVER_FAILED,
    NO_RESOLVER,
    DENIED,
    CONNECT_REFUSED,
    CONNECT_FAILED,
    CONNECT_TIMEOUT,
    TLS,
    FIRST_BYTE_TIMEOUT,
    TIMEOUT,
    RESET,
    PROTOCOL,
    CANCELLED,
)

PROXY_UNREACHABLE: Final = "proxy unreachable"
PROXY_REFUSED: Final = "proxy refused"
"""Failures of a session that goes through a proxy, before the proxy has passed anything on."""

SHORTAGES: Final = (NO_DESCRIPTORS, NO_PORTS, NO_MEMORY, NO_THREADS)
"""Reasons that lie in this machine: they say nothing about the server."""

UNREACHABLE: Final = frozenset(
    {RESOLVE, RESOLVER_FAILED, NO_RESOLVER, CONNECT_REFUSED, CONNECT_FAILED, CONNECT_TIMEOUT}
)
"""Failures to connect, after which a successful connection says that the server is back."""


class Answer(NamedTuple):
    """A final answer (never a 1xx) that came whole, or up to the cap.

    ``headers`` are in the order of arrival, with names in lower case and without trailers. ``body`` is at most the
    session's answer cap; ``truncated`` says that there was more, which wasn't read. ``request_written`` is false if the
    answer was complete while a part of the request still waited in this process: the server can't have seen all of it.
    Bytes that the kernel took count as written. ``first_byte_at`` (seconds on CLOCK_BOOTTIME) is the instant at which
    the first byte of this answer was read, or arrived if the limits ask for that. ``duration`` is seconds since
    ``send``.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    truncated: bool
    request_written: bool
    first_byte_at: float
    duration: float

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header, or None without one; ``name`` is in lower case."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Failure(NamedTuple):
    """The lack of an answer, and its reason.

    ``reason`` is one of :data:`REASONS` or :data:`SHORTAGES`, ``detail`` a line for people, ``duration`` seconds since
    ``send``. Within the next ``again_in`` seconds another attempt would fail too; 0 if that isn't known.

    It says nothing about the server: that may have received the request and acted upon it, even if connecting failed,
    since this may have been the second attempt.
    """

    reason: str
    detail: str
    duration: float
    again_in: float = 0.0


class NoAnswer(Exception):
    """Raised where a :class:`Failure` can't be returned: ``reason`` is the same, the text is its detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
