"""The limits of a session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The limits on times, in seconds, and on memory.

    ``connect_timeout`` bounds resolving, connecting and the TLS handshake together; ``first_byte_timeout`` the wait
    from the written request to the first byte of the answer (None: no such bound); ``timeout`` the whole attempt,
    connect and retry included. An idle connection is closed after ``idle_timeout``, and no connection is used after
    ``max_age``, so that a changed name is noticed. ``answer_cap`` is the most bytes of an answer's body that are read.
    With ``by_arrival`` the first byte of an answer counts from its arrival in the kernel, not from its reading, which
    costs a system call for each answer.

    Deadlines are swept, not timed one by one: a request may end a twentieth of a second late, and an idle connection
    five seconds late (it isn't used in those).
    """

    connect_timeout: float = 5.0
    first_byte_timeout: float | None = None
    timeout: float = 30.0
    idle_timeout: float = 15.0
    max_age: float = 300.0
    answer_cap: int = 65536
    by_arrival: bool = False
