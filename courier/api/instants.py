"""Instants of the board, as answers show them."""

from __future__ import annotations


def unix(at: float, now: float, unix_now: float) -> float | None:
    """Return the Unix time of an instant in monotonic seconds, ``None`` for 0, which is never.

    ``now`` and ``unix_now`` are the same instant on both clocks.
    """
    return round(unix_now - (now - at), 3) if at else None
