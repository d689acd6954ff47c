"""The thread of an audit log does what the log does, and tells what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from courier.audit.files import AuditFiles
from courier.audit.reader import read_records
from courier.auditor.log_thread import LogThread
from courier.errors import AuditError


class Full:
    """A log on a full disk."""

    def append(self, lines: Sequence[bytes], /) -> None:
        raise AuditError("no space left")

    def probe(self) -> None:
        raise AuditError("no space left")

    def rotate(self) -> None: ...

    def close(self) -> None: ...


async def test_each_append_is_timed_and_no_probe(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path, 1 << 20, 3600.0)
    files.open()
    syncs: list[float] = []
    failures: list[int] = []
    log = LogThread(files, syncs.append, lambda: failures.append(1))
    for number in (1, 2):
        await log.append([b'{"message_id":"%d"}\n' % number])
    await log.probe()
    log.close()
    assert len(syncs) == 2
    assert all(seconds > 0 for seconds in syncs)
    assert not failures
    assert [record.message_id for record in read_records(tmp_path)] == ["1", "2"]


async def test_what_fails_is_told_and_raised() -> None:
    syncs: list[float] = []
    failures: list[int] = []
    log = LogThread(Full(), syncs.append, lambda: failures.append(1))
    with pytest.raises(AuditError):
        await log.append([b"x\n"])
    with pytest.raises(AuditError):
        await log.probe()
    assert (syncs, failures) == ([], [1, 1])
