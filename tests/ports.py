"""Ports that stay one's own while nobody listens on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scripts.faults.ports import held_port


@contextmanager
def reserved_port() -> Iterator[int]:
    """Hold a free loopback port for the length of a ``with`` block."""
    with held_port() as holder:
        yield int(holder.getsockname()[1])
