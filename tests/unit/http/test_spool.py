"""The spool: what is written comes out, from memory or from a file that has no name."""

from __future__ import annotations

import hashlib
import os
import resource
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.http.file_body import LEAST_BYTES, FileBody
from courier.http.spool import Spool


def content_of(body: bytes | FileBody) -> bytes:
    return b"".join(body.pieces()) if isinstance(body, FileBody) else body


@given(st.lists(st.binary(max_size=9000), max_size=12), st.integers(0, 60_000))
def test_pieces_of_any_size_become_the_body(pieces: list[bytes], memory_bytes: int) -> None:
    spool = Spool(memory_bytes)
    for piece in pieces:
        spool.write(piece)
    whole = b"".join(pieces)
    body = spool.body()
    assert (len(body), spool.size, content_of(body)) == (len(whole), len(whole), whole)
    assert isinstance(body, FileBody) == (len(whole) > max(memory_bytes, LEAST_BYTES))
    if isinstance(body, FileBody):
        assert body.sha256 == hashlib.sha256(whole).hexdigest()
        body.close()


@pytest.mark.parametrize("nameless", [True, False])
def test_the_file_has_no_name_and_goes_with_its_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not nameless:
        # A file system without such files, such as some of those on a network.
        monkeypatch.delattr(os, "O_TMPFILE")
    before = set(os.listdir("/proc/self/fd"))
    spool = Spool(0)
    spool.write(bytes(100_000))
    assert list(tmp_path.iterdir()) == []
    body = spool.body()
    spool.close()
    assert len(content_of(body)) == 100_000
    del body
    given_up = Spool(0)
    given_up.write(bytes(100_000))
    given_up.close()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_a_full_disk_is_an_error_of_the_write() -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool = Spool(0)
    # The kernel refuses a longer file; Python ignores the signal that comes with it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            spool.write(bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        spool.close()
