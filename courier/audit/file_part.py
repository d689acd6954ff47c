"""The beginning of a local file as it is uploaded, and the checksums by which S3's answer is compared with it."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import md5, sha256
from io import SEEK_CUR, SEEK_END, SEEK_SET
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, NoReturn, Self

from courier.audit.archive_failure import LOCAL, ArchiveFailure, NotArchived
from courier.audit.regular_file import open_regular

MIB: Final = 1024**2

PART_BYTES: Final = 8 * MIB
"""Bytes of one part of an upload in parts, which is also its memory."""

MOST_PARTS: Final = 9_000
"""S3 takes 10,000."""

_BLOCK: Final = MIB


class FilePart:
    """The first ``size`` bytes of an open file, readable like a file. As a context manager it closes the file.

    A file that can't be read raises NotArchived of the kind LOCAL.
    """

    def __init__(self, fd: int, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self._fd = fd
        self._at = 0

    def beginning(self, size: int) -> FilePart:
        """Return the first bytes alone. It uses the same descriptor, so it mustn't be closed or outlive this one."""
        return FilePart(self._fd, self.path, size)

    def read(self, size: int | None = -1) -> bytes:
        """Read up to ``size`` bytes."""
        left = self.size - self._at
        wanted = left if size is None or size < 0 else min(size, left)
        pieces = []
        while wanted:
            try:
                piece = os.pread(self._fd, wanted, self._at)
            except OSError as error:
                _unreadable(f"cannot read {self.path}: {error.strerror}", "look at the file and its disk")
            if not piece:
                _unreadable(
                    f"{self.path} ends at {self._at} instead of {self.size}",
                    "find out which program has cut it",
                )
            pieces.append(piece)
            self._at += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Move to a place."""
        self._at = offset + {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def seekable(self) -> bool:
        """Return true."""
        return True

    def close(self) -> None:
        """Do nothing. boto3 closes what it has sent, but the content is needed again to compare it."""

    def blocks(self, size: int = _BLOCK) -> Iterator[bytes]:
        """Yield all bytes from the start."""
        self.seek(0)
        while block := self.read(size):
            yield block

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


def open_part(path: Path, size: int | None = None) -> FilePart:
    """Open a file, or its first ``size`` bytes. The caller closes it. Raise NotArchived of the kind LOCAL."""
    try:
        fd = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        _unreadable(f"{path} is gone", "find out which program removes files there")
    except OSError as error:
        _unreadable(f"cannot read {path}: {error.strerror}", "look at the file and its disk")
    there = os.fstat(fd).st_size
    if size is not None and there < size:
        os.close(fd)
        _unreadable(f"{path} has {there} bytes instead of {size}", "find out which program has cut it")
    return FilePart(fd, path, there if size is None else size)


class Digests(NamedTuple):
    """The size of a content, its SHA-256 (hexadecimal), the checksum that S3 makes of it, and the size of its parts.

    The checksum is base64. If there is more than one part, it is made of the SHA-256 of each.
    """

    size: int
    sha256: str
    checksum: str
    part_bytes: int


def part_bytes_of(size: int) -> int:
    """Return the size of the parts in which a content of ``size`` bytes is uploaded; always the same for a size."""
    return max(PART_BYTES, -(-size // MOST_PARTS // MIB) * MIB)


def digest(content: FilePart) -> Digests:
    """Return the digests of a content; it reads all of it."""
    part_bytes = part_bytes_of(content.size)
    whole, of_parts, parts = sha256(), sha256(), 0
    for part in content.blocks(part_bytes):
        whole.update(part)
        of_parts.update(sha256(part).digest() if content.size > part_bytes else b"")
        parts += 1
    checksum = of_parts if parts > 1 else whole
    return Digests(content.size, whole.hexdigest(), _base64(checksum.digest()), part_bytes)


def is_same(found: Mapping[str, Any], content: FilePart, digests: Digests) -> bool:
    """Return whether what S3 says of an object, the answer of HeadObject, is true of a content too.

    A server that keeps no SHA-256 is taken by its ETag, if that is an MD5. Without either the answer is no.
    """
    if found.get("ContentLength") != digests.size:
        return False
    checksum = found.get("ChecksumSHA256")
    if checksum:
        whole = _base64(bytes.fromhex(digests.sha256))
        # S3 adds the number of parts.
        return str(checksum).partition("-")[0] in (digests.checksum, whole)
    return str(found.get("ETag", "")).strip('"') == _md5_tag(content, digests)


def _md5_tag(content: FilePart, digests: Digests) -> str:
    """Return the ETag that a server without encryption gives a content."""
    parts = [md5(part, usedforsecurity=False) for part in content.blocks(digests.part_bytes)]
    if len(parts) == 1:
        return parts[0].hexdigest()
    joined = md5(b"".join(part.digest() for part in parts), usedforsecurity=False)
    return f"{joined.hexdigest()}-{len(parts)}" if parts else joined.hexdigest()


def _base64(digest: bytes) -> str:
    return b64encode(digest).decode()


def _unreadable(reason: str, remedy: str) -> NoReturn:
    raise NotArchived(ArchiveFailure(LOCAL, f"{reason}; {remedy}"))
