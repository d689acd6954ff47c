"""The child that compresses a segment, reads it back, and compares it: ``python -m courier.audit.compress_child``.

    pack PACKING PLAIN-FD TARGET-FD     writes the compressed file, syncs it, reads it back and compares it
    compare PACKING PLAIN-FD TARGET-FD  only compares

It gets open files and no names, so that nobody can give it others. It prints the size and the SHA-256 of the compressed
file. The comparison reads the compressed file from the disk, not from memory, and byte by byte: that costs a seventh of
what another SHA-256 of the records would.
"""

from __future__ import annotations

import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256

from courier.audit.chore_work import ChoreError, run_chore
from courier.audit.zstd import zstd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

BLOCK = 256 * 1024

ZSTD_LEVEL = 1
"""Of records of 400 bytes: 0.6 µs each to 18 %. Level 3 takes 2 µs to 19 %, and level -1 0.5 µs to 31 %."""

ZSTD_WINDOW_LOG = 17
ZSTD_HASH_LOG = 13
"""128 KiB of records and a table of 32 KiB stay in the processor's nearest caches. That saves a fifth of the time of
level 1, decompression included. Records resemble their neighbours, so they shrink as much; prose shrinks 7 % less."""

GZIP_LEVEL = 1
"""2.7 µs for each of these records to 22 %; level 6 takes three times as long."""

_GZIP_FORMAT = 31

ERRORS: tuple[type[Exception], ...] = (EOFError, zlib.error, *((zstd.ZstdError,) if zstd else ()))
"""What damage of a compressed file raises, besides OSError."""


class Digested(io.RawIOBase):
    """A file that is read from its start, with the SHA-256 and the number of the bytes that were read."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.digest = sha256()
        self.size = 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        got = os.preadv(self._fd, [buffer], self.size)
        self.digest.update(memoryview(buffer)[:got])
        self.size += got
        return got


def pack(packing: str, plain: int, target: int) -> str:
    """Compress a file into an empty one durably, and return the result of :func:`compare`. Raise OSError."""
    status = os.fstat(plain)
    with open(target, "wb", buffering=BLOCK, closefd=False) as out:
        for piece in _packed(packing, plain, status.st_size):
            out.write(piece)
    # Whoever may read the records, and whoever goes by the age of files, sees no difference.
    os.fchmod(target, status.st_mode & 0o777)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.fsync(target)
    os.posix_fadvise(target, 0, 0, os.POSIX_FADV_DONTNEED)
    return compare(packing, plain, target)


def compare(packing: str, plain: int, target: int) -> str:
    """Return, as JSON, size and SHA-256 of a compressed file; raise ChoreError if it isn't the plain one compressed."""
    raw = Digested(target)
    at = 0
    try:
        with _unpacked(packing, raw) as unpacked:
            while block := unpacked.read(BLOCK):
                if os.pread(plain, len(block), at) != block:
                    raise ChoreError(f"the compressed file differs from the plain one within {BLOCK} bytes from {at}")
                at += len(block)
    except ERRORS as error:
        raise ChoreError(f"the compressed file is damaged: {error}") from None
    size = os.fstat(plain).st_size
    if at != size:
        raise ChoreError(f"the compressed file contains {at} bytes, and the plain one has {size}")
    if raw.size != os.fstat(target).st_size:
        raise ChoreError("the compressed file grew while it was read")
    return f'{{"bytes": {raw.size}, "sha256": "{raw.digest.hexdigest()}"}}'


def _packed(packing: str, plain: int, size: int) -> Iterator[bytes]:
    press: Callable[[bytes], bytes]
    flush: Callable[[], bytes]
    if packing == ".zst":
        # The checksum of zstd shows damage to whoever only decompresses.
        options = {
            zstd.CompressionParameter.compression_level: ZSTD_LEVEL,
            zstd.CompressionParameter.window_log: ZSTD_WINDOW_LOG,
            zstd.CompressionParameter.hash_log: ZSTD_HASH_LOG,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        compressor = zstd.ZstdCompressor(options=options)
        compressor.set_pledged_input_size(size)
        press, flush = compressor.compress, compressor.flush
    else:
        deflate = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
        press, flush = deflate.compress, deflate.flush
    at = 0
    while block := os.pread(plain, BLOCK, at):
        at += len(block)
        yield press(block)
    yield flush()


def _unpacked(packing: str, raw: Digested) -> IO[bytes]:
    if packing == ".zst":
        file: IO[bytes] = zstd.ZstdFile(raw)
        return file
    # Imported here, because few use it.
    import gzip

    return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]


def main() -> None:
    """Do what the arguments say."""
    what, packing, plain, target = sys.argv[1:]
    work = {"pack": pack, "compare": compare}[what]
    run_chore(lambda: work(packing, int(plain), int(target)))


if __name__ == "__main__":
    main()
