"""Why dead letters failed, from the audit log: for messages that a redrive policy moved, which say nothing themselves.

The log is read once, when the first such message is there. What it says of failed messages goes into a database in an
unnamed temporary file, because there may be millions of them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import orjson

from courier.audit.event import LAPSED, REJECTED, RETRY
from courier.audit.filter import Filter
from courier.audit.found import Fields
from courier.audit.search import Observer, search
from courier.audit.segment import Segment
from courier.dlq.dead_letter import BY_AUDIT, LONGEST_TEXT, UNKNOWN, DeadLetter, Failure, read_status, read_time
from courier.errors import CannotStart

WANTED: Final = Filter(outcomes=frozenset({RETRY, REJECTED, LAPSED}))
ROWS: Final = 5000

_TABLE: Final = "CREATE TABLE failure (id TEXT PRIMARY KEY, is_lapse INT, fields BLOB) WITHOUT ROWID"
# The last failure counts. That a lease lapsed says less than any answer.
_INSERT: Final = (
    "INSERT INTO failure VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET is_lapse = excluded.is_lapse, "
    "fields = excluded.fields WHERE excluded.is_lapse <= is_lapse"
)
_SELECT: Final = "SELECT fields FROM failure WHERE id = ?"


class Stopped(Exception):
    """The reading of the log was stopped."""


class AuditReasons:
    """The failures that an audit log knows. Without a directory it knows none.

    ``observer`` is told what is read; its calls come from another thread.
    """

    def __init__(self, directory: Path | None, observer: Observer | None = None) -> None:
        self._directory = directory
        self._watched = _Stoppable(observer or Observer())
        self._database: sqlite3.Connection | None = None
        self._lock = asyncio.Lock()

    async def complete(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Return dead letters, those of unknown failure with the last one that the log has. Raise CannotStart.

        Raise Stopped after :meth:`stop`.
        """
        if self._directory is None or all(letter.failure.reason for letter in letters):
            return list(letters)
        async with self._lock:
            if self._database is None:
                self._database = await asyncio.to_thread(self._read, self._directory)
        return [letter if letter.failure.reason else self._completed(letter, self._database) for letter in letters]

    def stop(self) -> None:
        """Stop reading the log."""
        self._watched.is_stopped = True

    def close(self) -> None:
        """Remove the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _completed(self, letter: DeadLetter, database: sqlite3.Connection) -> DeadLetter:
        try:
            row = database.execute(_SELECT, (letter.message_id,)).fetchone()
        except sqlite3.Error as error:
            raise _unusable(error) from None
        return letter if row is None else letter._replace(failure=Failure(*orjson.loads(row[0])))

    def _read(self, directory: Path) -> sqlite3.Connection:
        # The name "" is that of a temporary file, which goes with its connection.
        database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            # In KiB. Message ids come in no order, so that a small cache would read and write a page for each.
            database.execute("PRAGMA cache_size = -32768")
            database.execute(_TABLE)
            found = self._rows(directory)
            while rows := list(islice(found, ROWS)):
                database.execute("BEGIN")
                database.executemany(_INSERT, rows)
                database.execute("COMMIT")
        except sqlite3.Error as error:
            database.close()
            raise _unusable(error) from None
        except BaseException:
            database.close()
            raise
        return database

    def _rows(self, directory: Path) -> Iterator[tuple[str, bool, bytes]]:
        try:
            for found in search(directory, WANTED, self._watched):
                failure = failure_in(found.fields)
                if failure is not UNKNOWN:
                    is_lapse = found.fields.get("outcome") == LAPSED
                    yield found.fields["message_id"], is_lapse, orjson.dumps(tuple(failure))
        except OSError as error:
            raise CannotStart(
                f"cannot read the audit directory {directory}: {error.strerror or error}; correct --audit-path"
            ) from None


def failure_in(fields: Fields) -> Failure:
    """Return the failure that a record or an event line tells of; UNKNOWN if it tells of none."""
    outcome = fields.get("outcome", "")
    reason = fields.get("reason") or outcome.partition(": ")[2]
    if not reason:
        return UNKNOWN
    receives = fields.get("receive_count")
    return Failure(
        reason=reason[:LONGEST_TEXT],
        status=read_status(fields.get("status")),
        failed_at=read_time(fields.get("time")),
        source_queue=fields.get("source_queue", "")[:LONGEST_TEXT],
        receive_count=receives if type(receives) is int and 0 < receives < 1 << 31 else 0,
        answer=fields.get("answer", "")[:LONGEST_TEXT],
        known_from=BY_AUDIT,
    )


class _Stoppable(Observer):
    """Passes on what another observer is told, until it is stopped."""

    def __init__(self, observer: Observer) -> None:
        self.is_stopped = False
        self._observer = observer

    def chosen(self, segments: Sequence[Segment]) -> None:
        """Pass it on."""
        self._observer.chosen(segments)

    def began(self, segment: Segment) -> None:
        """Pass it on."""
        self._observer.began(segment)

    def read(self, segment: Segment, size: int) -> None:
        """Pass it on; raise Stopped after a stop."""
        if self.is_stopped:
            raise Stopped
        self._observer.read(segment, size)

    def damaged(self, segment: Segment, offset: int, reason: str) -> None:
        """Pass it on."""
        self._observer.damaged(segment, offset, reason)

    def unreadable(self, segment: Segment, reason: str) -> None:
        """Pass it on."""
        self._observer.unreadable(segment, reason)


def _unusable(error: sqlite3.Error) -> CannotStart:
    return CannotStart(
        f"cannot keep the reasons of the audit log in a temporary file: {error}; "
        "free space there, name another directory in SQLITE_TMPDIR, or leave --audit-path out"
    )
