"""What comes of an exchange: an answer of the server, or the reason why there is none."""

from __future__ import annotations

from typing import Final, NamedTuple

RESOLVE: Final = "name not resolved"
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

REASONS: Final = (
    RESOLVE,
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


class Answer(NamedTuple):
    """A final answer (never a 1xx) that came whole, or up to the cap.

    ``headers`` are in the order of arrival, names in lower case, trailers left out. ``body`` is at most the
    session's answer cap; ``truncated`` says that there was more, which wasn't read. ``request_written`` is false
    where the answer was complete while a part of the request still waited in this process: the server can't have
    seen all of it. What the kernel had taken counts as written. ``first_byte_at`` is the instant at which the
    first byte of this answer was read, seconds on CLOCK_BOOTTIME; ``duration`` is seconds since ``send``.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    truncated: bool
    request_written: bool
    first_byte_at: float
    duration: float

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header, its ``name`` given in lower case; None where there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Failure(NamedTuple):
    """No answer, and why.

    ``reason`` is one of :data:`REASONS`, ``detail`` a line for people, ``duration`` seconds since ``send``. It says
    nothing about what the server did: the request may have been received and acted upon, even where connecting
    failed, since that may have been the second attempt.
    """

    reason: str
    detail: str
    duration: float
