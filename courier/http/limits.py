"""What bounds a session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take and how much is kept; all times are seconds.

    ``connect_timeout`` bounds resolving, connecting and the TLS handshake together; ``first_byte_timeout`` the wait
    from the written request to the first byte of the answer (None: no bound of its own); ``timeout`` the whole
    attempt, connect and retry included. An idle connection is closed after ``idle_timeout``, and any connection is
    used no longer than ``max_age``, so that a changed name is noticed. ``answer_cap`` is how many bytes of an
    answer's body are kept and read.

    Deadlines are swept, not timed one by one: that of a request may strike a twentieth of a second late, and an idle
    connection be closed up to five seconds late (it isn't used in those).
    """

    connect_timeout: float = 5.0
    first_byte_timeout: float | None = None
    timeout: float = 30.0
    idle_timeout: float = 15.0
    max_age: float = 300.0
    answer_cap: int = 65536
