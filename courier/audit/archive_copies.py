"""The schedule of the copies of the journal and the ledger in the archive. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

COPY_SECONDS: Final = 300.0
"""Minimum seconds between two copies while segments wait, since each copy is a whole one."""


class Copies:
    """Which sizes of the chains were copied, by name, and when they are due again. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._copied: Mapping[str, int] = {}
        self._at = -math.inf

    def due_at(self, chains: Mapping[str, int], now: float, *, wait: bool) -> float:
        """Return when chains of these sizes are due; infinity if they haven't changed.

        With ``wait``, they aren't copied too often.
        """
        if chains == self._copied:
            return math.inf
        return self._at + COPY_SECONDS if wait else now

    def begun(self, chains: Mapping[str, int], now: float) -> None:
        """Take note that chains of these sizes are being copied. They aren't due again until they change."""
        self._copied, self._at = chains, now

    def failed(self) -> None:
        """Take note that the copies have to be made again."""
        self._copied, self._at = {}, -math.inf
