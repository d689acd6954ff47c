"""A file that holds a secret, read again when it changes, so that a rotated one needs no restart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

import structlog

from courier.errors import CannotStart

MAX_BYTES: Final = 65_536
"""No secret is as long; a file that is was named by mistake, and a device would be read for ever."""

T = TypeVar("T")

log = structlog.get_logger("courier.http")


class _Stamp(NamedTuple):
    """What tells a file that has changed: a new one in its place too, as Kubernetes puts them there."""

    modified_ns: int
    inode: int
    size: int


class SecretFile(Generic[T]):
    """The value that a file holds.

    What is wrong with a file at the start keeps Courier from starting; later the last value that was right is kept,
    since a file in the middle of being written is no reason to stop.
    """

    __slots__ = ("_encoding", "_flag", "_parse", "_path", "_stamp", "value")

    def __init__(self, flag: str, path: Path, parse: Callable[[str], T], *, encoding: str = "utf-8") -> None:
        """Read the file. ``parse`` raises ValueError, with a text that says what would be right and shows no secret.

        Raises CannotStart, naming the option that is ``flag``; ``parse`` may raise it too, with a line of its own.
        """
        self._flag = flag
        self._path = path
        self._parse = parse
        self._encoding = encoding
        self._stamp: _Stamp | None = None
        self.value = self._read()

    def refresh(self) -> None:
        """Read the file again where it isn't the one that was read last. Never raises."""
        try:
            stamp = _stamp(os.stat(self._path))
        except OSError:
            stamp = None
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.value = self._read()
        except CannotStart as error:
            log.warning("cannot take over a changed secret, going on with the one before", reason=str(error))
        else:
            log.info("took over a changed secret", option=self._flag, path=str(self._path))

    def _read(self) -> T:
        try:
            with open(self._path, "rb") as file:
                self._stamp = _stamp(os.fstat(file.fileno()))
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise CannotStart(
                f"{self._flag}: cannot read {self._path}: {error.strerror or error}; give a file that can be read"
            ) from None
        try:
            if len(content) > MAX_BYTES:
                raise ValueError(f"is longer than {MAX_BYTES} bytes; give a file that holds nothing else")
            return self._parse(content.decode(self._encoding))
        except UnicodeDecodeError:
            raise CannotStart(f"{self._flag}: {self._path} is not UTF-8; give a text file") from None
        except ValueError as error:
            raise CannotStart(f"{self._flag}: {self._path} {error}") from None


def _stamp(stat: os.stat_result) -> _Stamp:
    return _Stamp(stat.st_mtime_ns, stat.st_ino, stat.st_size)
