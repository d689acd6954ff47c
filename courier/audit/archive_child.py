"""The child that uploads: it takes jobs from its standard input, one a line, and answers each with a line.

The first line says where the archive is. Its standard input is also its lifeline: at its end the auditor is gone, or
has nothing more to upload, and this process ends at once, in the middle of an upload too.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import orjson

from courier.audit.archive_client import connect_archive
from courier.audit.archive_failure import ArchiveFailure, NotArchived
from courier.audit.archive_place import archive_place
from courier.audit.archive_upload import Archiver
from courier.audit.failure_kinds import KEYS
from courier.audit.sealing import JOURNAL_NAME
from courier.errors import CannotStart

LOWEST_PRIORITY: Final = 19


class Uploads:
    """The archive of one directory, connected at the first job."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """``settings`` are those of :class:`courier.audit.archive_process.ArchiveProcess`."""
        self._directory = Path(settings["directory"])
        self._place = archive_place(settings["place"])
        self._where = settings["region"], settings["endpoint_url"]
        self._archiver: Archiver | None = None

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do a job, and return its answer; raise NotArchived."""
        archiver = self._connected()
        if job["do"] == "store":
            stored = archiver.store(self._directory / job["file"], job["key"], metadata=job["metadata"])
            archiver.store(self._directory / job["seal"], job["seal_key"], job["seal_bytes"])
            return {"bytes": stored.size, "sha256": stored.sha256}
        for name, size in job["copies"].items():
            archiver.extend(self._directory / name, self._place.key(name), size)
        return {}

    def _connected(self) -> Archiver:
        if self._archiver is None:
            try:
                client = connect_archive(*self._where)
            except CannotStart as error:
                raise NotArchived(ArchiveFailure(KEYS, str(error))) from error
            archiver = Archiver(client, self._place)
            archiver.check_owner(self._directory / JOURNAL_NAME)
            self._archiver = archiver
        return self._archiver


def answer(uploads: Uploads, job: bytes) -> bytes:
    """Return the line that answers a job."""
    try:
        result = uploads.do(orjson.loads(job))
    except NotArchived as error:
        result = error.failure._asdict()
    return orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE)


def main() -> None:
    """Do the jobs until the end of the standard input."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, LOWEST_PRIORITY)
    jobs: SimpleQueue[bytes] = SimpleQueue()
    uploads = Uploads(orjson.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    while True:
        sys.stdout.buffer.write(answer(uploads, jobs.get()))
        sys.stdout.buffer.flush()


def _read_jobs(jobs: SimpleQueue[bytes]) -> None:
    while line := sys.stdin.buffer.readline():
        jobs.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
