"""A chain on disk, to which lines are added durably: a seal, the ledger of retention, or the journal of the archive."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from courier.audit.chain import Chain, encode, read_chain_file
from courier.audit.lock import sync_directory
from courier.audit.reader import DAMAGE_ADVICE
from courier.audit.regular_file import open_regular, write_all
from courier.log.recurring import RecurringLine

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

log = structlog.get_logger("courier.audit")

_damaged_line = RecurringLine(
    log, "warning", "a seal or another chain of the audit log is damaged; it is left as it is"
)


class ChainFile:
    """The writer of one chain. All calls block, and come from one thread.

    A last line that a crash or a full disk tore is cut off before the next one is added. Any other damage is evidence:
    it stays, and lines are added behind it.
    """

    def __init__(self, path: Path, key: Ed25519PrivateKey | None = None, begins_with: str | None = "") -> None:
        """``key`` signs the lines. ``begins_with`` is that of :func:`courier.audit.chain.read_chain`."""
        self.path = path
        self._key = key
        self._begins_with = begins_with
        self._is_read = False
        self._hash: str | None = None
        self._cut_at: int | None = None

    def read(self) -> Chain:
        """Return the lines that are there, none if the file is missing; raise OSError."""
        chain = read_chain_file(self.path, self._begins_with)
        if chain.fault and not chain.is_cut:
            _damaged_line(
                str(self.path), file=str(self.path), offset=chain.sound, reason=chain.fault, advice=DAMAGE_ADVICE
            )
        self._hash = chain.links[-1].hash if chain.links else None
        self._cut_at = chain.sound if chain.is_cut else None
        self._is_read = True
        return chain

    def append(self, fields: Mapping[str, Any]) -> str:
        """Add a line durably, and return its hash; raise OSError. Then the line isn't there, and may be added again."""
        if not self._is_read:
            self.read()
        fd = open_regular(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            self._hash = self._append(fd, fields)
        finally:
            os.close(fd)
        return self._hash

    def _append(self, fd: int, fields: Mapping[str, Any]) -> str:
        if self._cut_at is not None:
            os.ftruncate(fd, min(self._cut_at, os.fstat(fd).st_size))
        end = os.fstat(fd).st_size
        # Somebody may have removed or emptied the file since. Then it begins again.
        before = self._first(fields) if end == 0 or self._hash is None else self._hash
        line, digest = encode(before, fields, self._key)
        self._cut_at = end
        try:
            write_all(fd, line)
            os.fdatasync(fd)
            if end == 0:
                sync_directory(self.path.parent)
        except OSError:
            # If this fails too, the next call does it.
            with suppress(OSError):
                os.ftruncate(fd, end)
            raise
        self._cut_at = None
        return digest

    def _first(self, fields: Mapping[str, Any]) -> str:
        return str(fields["previous"]) if self._begins_with is None else self._begins_with
