"""A block on optional imports of libraries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(name: str) -> Iterator[None]:
    """Hide a module from imports in the ``with`` block, from libraries that import it if it is installed.

    A module that is already imported stays. Courier hides rich from structlog: it costs 0.1 s at each start and memory
    in each process, for coloured tracebacks that Courier never prints.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # None makes the import fail, by the reference of the import system
    try:
        yield
    finally:
        del sys.modules[name]
