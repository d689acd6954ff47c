"""The side of S3: what fetches the bodies that messages point to, and what removes their objects.

It imports botocore, so import it only where --body fetch asks for it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from courier.config.config import Config
from courier.fetch.fetching import MOST_THREADS, Fetching, FetchSettings
from courier.fetch.removal import Removal
from courier.fetch.s3_client import S3Settings
from courier.http.spool import MEMORY_BYTES
from courier.process import scoreboard
from courier.process.scoreboard import Slot

MOST_IN_MEMORY: Final = 64 << 20
"""Bytes of fetched bodies that a sender holds in memory at most, however many deliveries it has in flight."""


def fetching_step(config: Config, loop: asyncio.AbstractEventLoop, region: str | None, slot: Slot | None) -> Fetching:
    """Return the step that fetches bodies, and counts in the slot. ``region`` is that of the queue."""
    settings = FetchSettings(
        places=config.fetch_bucket,
        most_bytes=config.fetch_max_bytes,
        timeout=config.fetch_timeout_seconds,
        removes=config.fetch_delete,
        memory_bytes=min(MEMORY_BYTES, MOST_IN_MEMORY // config.concurrency),
        s3=_s3(config, region, min(config.concurrency, MOST_THREADS)),
    )
    return Fetching(loop, settings, _Counts(slot) if slot is not None else None)


def object_removal(config: Config, region: str | None, slot: Slot) -> Removal:
    """Return what removes the objects of deleted messages, and counts in the slot."""
    words = slot.words

    def count(removed: int, left: int) -> None:
        words[scoreboard.OBJECTS_REMOVED] += removed
        words[scoreboard.OBJECTS_LEFT] += left

    return Removal(_s3(config, region, 1), count)


def _s3(config: Config, region: str | None, threads: int) -> S3Settings:
    return S3Settings(config.region or region, config.fetch_endpoint_url, threads)


class _Counts:
    """The words of a sender that count its fetches."""

    def __init__(self, slot: Slot) -> None:
        self._words = slot.words

    def open_breakers(self, count: int) -> None:
        self._words[scoreboard.BUCKETS_CLOSED] = count

    def fetched(self, size: int) -> None:
        self._words[scoreboard.OBJECTS_FETCHED] += 1
        self._words[scoreboard.FETCHED_BYTES] += size

    def failed(self) -> None:
        self._words[scoreboard.FETCH_FAILURES] += 1
