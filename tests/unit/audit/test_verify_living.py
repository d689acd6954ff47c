"""Verification of a directory that is being written, rotated, compressed and retained: it accuses nobody."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final

import pytest

from courier.audit.compression import Compression
from courier.audit.files import AuditFiles
from courier.audit.retention import Retention
from courier.audit.retention_plan import Limits
from courier.audit.sealing import ChoreMaker
from courier.audit.trail import LEDGER, DirectoryTrail
from courier.audit.verify import verify
from tests.unit.audit.sealed_trail import record
from tests.unit.cli.running import until

GROUP: Final = 100
"""Records that are made durable at once; a hundred times a second, they are 10,000 a second."""


class Writer(threading.Thread):
    """A log thread that writes without a pause, or 10,000 records a second where the disk is faster."""

    def __init__(self, directory: Path, packing: str, keep_bytes: int) -> None:
        super().__init__()
        self.records = 0
        self.failure: BaseException | None = None
        self._end = threading.Event()
        self._files = AuditFiles(directory, 100_000, 3600.0)
        limits = Limits(None, keep_bytes, 100_000)
        chores: list[ChoreMaker] = [
            lambda sealing: Compression(sealing, packing),
            lambda sealing: Retention(sealing, limits),
        ]
        self._files.open_at_once(lambda: None, chores=chores)

    def run(self) -> None:
        try:
            while not self._end.wait(0.01):
                self._files.append([record(self.records + one) for one in range(GROUP)])
                self.records += GROUP
            self._files.close()
        except BaseException as error:
            self.failure = error
            raise

    def stop(self) -> None:
        self._end.set()
        self.join()


@pytest.mark.parametrize("packing", ["", ".zst", ".gz"])
def test_a_directory_at_work_is_never_accused(tmp_path: Path, packing: str) -> None:
    writer = Writer(tmp_path, packing, 1_000_000)
    writer.start()
    try:
        until(lambda: any(tmp_path.glob("*.seal")), lambda: "nothing is sealed")
        seen, packed, end = 0, 0, time.monotonic() + 4.0
        while time.monotonic() < end or not (tmp_path / LEDGER).exists():
            report = verify(DirectoryTrail(tmp_path))
            assert report.evidence == []
            seen += report.vouched.segments
            packed += len(list(tmp_path.glob(f"*{packing}"))) if packing else 1
    finally:
        writer.stop()
    assert writer.failure is None
    assert seen > 10
    assert packed
    report = verify(DirectoryTrail(tmp_path))
    assert report.evidence == []
    # It seals what it can within its time to stop; the next start does the rest.
    assert {one.kind for one in report.doubts} <= {"no seal", "tail"}
