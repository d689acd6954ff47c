"""An audit log, watched: how long it takes to make records durable, and how often it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from courier.audit.committer import AuditLog
from courier.errors import AuditError


class TimedLog:
    """Passes everything on to a log, and tells what became of it from the thread that called.

    ``on_sync`` is given the seconds of each append whose lines are all durable; ``on_failure`` is called for each
    append and each probe that isn't well.
    """

    def __init__(self, log: AuditLog, on_sync: Callable[[float], None], on_failure: Callable[[], None]) -> None:
        self._log = log
        self._on_sync = on_sync
        self._on_failure = on_failure
        self.rotate = log.rotate
        self.close = log.close

    def append(self, lines: Sequence[bytes], /) -> None:
        """Make the lines durable, or raise AuditError as the log does."""
        began = time.monotonic()
        try:
            self._log.append(lines)
        except AuditError:
            self._on_failure()
            raise
        self._on_sync(time.monotonic() - began)

    def probe(self) -> None:
        """Raise AuditError as the log does."""
        try:
            self._log.probe()
        except AuditError:
            self._on_failure()
            raise
