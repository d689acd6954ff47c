"""Waiting on a condition with a deadline, in async tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 10.0, explain: Callable[[], object] = str) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition never came true: {explain()}"
        await asyncio.sleep(0.002)


async def stays(condition: Callable[[], object], seconds: float = 0.3) -> None:
    """Look for a while whether the condition stays true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), "the condition did not stay true"
        await asyncio.sleep(0.005)
