"""The file that a command writes: it gets its name when it is whole."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from courier.audit.regular_file import NEW
from courier.errors import CannotStart, ConfigError
from courier.log.printable import escaped

PART: Final = ".part"
"""The suffix of an output file that isn't whole yet."""


def _show(line: bytes) -> None:
    """Write a line to a terminal, which mustn't obey what a body says."""
    text = escaped(line.rstrip(b"\r\n").decode("utf-8", "surrogateescape"))
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")


class OutputFile:
    """Standard output, or a file that gets its name when all is written and synced."""

    def __init__(self, path: Path | None, flag: str) -> None:
        """``flag`` is the option that named the file."""
        self._path = path
        self._flag = flag
        self._part = None if path is None else path.with_name(path.name + PART)
        self._file: Any = None

    def __enter__(self) -> Any:
        if self._path is None or self._part is None:
            return _show if sys.stdout.isatty() else sys.stdout.buffer.write
        if self._path.exists():
            raise ConfigError(f"{self._flag}: {self._path} exists; remove it, or give another name")
        try:
            self._file = os.fdopen(os.open(self._part, NEW, 0o600), "wb", buffering=1024 * 1024)
        except FileExistsError:
            raise ConfigError(f"{self._flag}: {self._part} exists; remove it unless another export writes it") from None
        except OSError as error:
            raise ConfigError(f"{self._flag}: cannot create {self._part}: {error.strerror}") from None
        return self._write

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self._file is None or self._part is None or self._path is None:
            return
        if kind is not None:
            self._remove()
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            # A link, unlike a rename, never replaces what has come there meanwhile.
            os.link(self._part, self._path)
            self._part.unlink()
        except OSError as failure:
            self._remove()
            raise self._failed(failure) from None

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> CannotStart:
        reason = error.strerror or error
        return CannotStart(f"cannot write {self._path}: {reason}; free space there, or give another name")

    def _remove(self) -> None:
        assert self._part is not None
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._part.unlink()
