from __future__ import annotations

import os

import pytest

from courier.process.bulk import read_bulk, write_bulk


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_a_bulk_that_the_kernel_takes_in_pieces_is_written_once(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:most]))
    data = bytes(range(256)) * 4
    descriptor = write_bulk(data)
    try:
        assert read_bulk(descriptor) == data
    finally:
        os.close(descriptor)


def test_a_failed_write_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int, data: object) -> int:
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, "write", fail)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="no space left"):
        write_bulk(b"body")
    assert set(os.listdir("/proc/self/fd")) == before
