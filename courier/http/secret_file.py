"""A file that holds a secret. It is read again when it changes, so that a rotation needs no restart."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

import structlog

from courier.errors import CannotStart
from courier.log.recurring import RecurringLine

MAX_BYTES: Final = 65_536
"""The most bytes of a secret. A longer file was named by mistake, and reading a device would never end."""

_LEADS_NOWHERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)

_BY_ERRNO: Final[Mapping[int, str]] = {
    errno.EMFILE: "raise LimitNOFILE (systemd) or ulimit -n, or lower --concurrency",
    errno.ENFILE: "raise fs.file-max: the whole system is out of open files",
    errno.ENOMEM: "give the host more memory, or lower --senders or --concurrency",
    errno.EACCES: "let Courier's user read it",
}

T = TypeVar("T")

log = structlog.get_logger("courier.http")


class UnreadableSecret(CannotStart):
    """A secret can't be read now. Its content may be right, so another attempt is worth it."""


class _Stamp(NamedTuple):
    """The marks of a file that show a change, also if another file takes its place, as in Kubernetes."""

    modified_ns: int
    inode: int
    size: int


class SecretFile(Generic[T]):
    """The value in a file.

    If the file is wrong at the start, Courier doesn't start. Later it keeps the last value that was right, since the
    file may be half written.

    ``exposure`` is a line if every user of the machine can read the file, else empty.
    """

    def __init__(
        self, flag: str, path: Path, parse: Callable[[str], T], *, encoding: str = "utf-8", secret: bool = True
    ) -> None:
        """Read the file. ``parse`` raises ValueError, with a text that says what would be right and shows no secret.

        Without ``secret`` every user may read the file. Raises CannotStart, which names the option ``flag``; ``parse``
        may raise it too, with a line of its own.
        """
        self._flag = flag
        self._path = path
        self._parse = parse
        self._encoding = encoding
        self._secret = secret
        self._stamp: _Stamp | None = None
        self._failed = RecurringLine(log, "warning", "cannot take over a changed secret, going on with the one before")
        self._changed = RecurringLine(log, "info", "took over a changed secret")
        self.exposure = ""
        self.value = self._read()

    def refresh(self) -> None:
        """Read the file again if it has changed. Never raises.

        The next call tries again if the file can't be read now (too few descriptors, a file server that is gone).
        """
        try:
            stamp = _stamp(os.stat(self._path))
        except OSError:
            stamp = None
        if stamp == self._stamp:
            return
        before, self._stamp = self._stamp, stamp
        was_exposed = bool(self.exposure)
        try:
            self.value = self._read()
        except CannotStart as error:
            if isinstance(error, UnreadableSecret):
                self._stamp = before
            self._failed(
                error.reason,
                reason=error.reason,
                advice=f"{error.advice}; the recipient may stop taking the one before",
            )
        else:
            self._changed(None, option=self._flag, path=str(self._path))
            if self.exposure and not was_exposed:
                log_exposure(self.exposure)

    def _read(self) -> T:
        try:
            with os.fdopen(open_secret(self._flag, self._path), "rb") as file:
                status = os.fstat(file.fileno())
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise unreadable(self._flag, self._path, error) from None
        self._stamp = _stamp(status)
        self.exposure = (
            f"{self._flag}: every user of this machine can read {self._path}; chmod o-rwx {self._path}"
            if self._secret and status.st_mode & stat.S_IROTH
            else ""
        )
        try:
            if len(content) > MAX_BYTES:
                raise ValueError(f"is longer than {MAX_BYTES} bytes; give a file that holds nothing else")
            return self._parse(content.decode(self._encoding))
        except UnicodeDecodeError:
            raise CannotStart(f"{self._flag}: {self._path} is not UTF-8; give a text file") from None
        except ValueError as error:
            raise CannotStart(f"{self._flag}: {self._path} {error}") from None


def log_exposure(line: str) -> None:
    """Log a file that every user of the machine can read; after a semicolon ``line`` says what to do."""
    reason, _, advice = line.partition("; ")
    log.warning("unsafe file permissions", reason=reason, advice=advice)


def open_secret(flag: str, path: Path) -> int:
    """Open a file of the option ``flag`` to read it, without waiting; the caller closes the descriptor.

    Raises CannotStart if it isn't a regular file that can be read: a FIFO or a device would block Courier forever. The
    error doesn't repeat a path that leads to nothing, since it may be the secret itself.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno in _LEADS_NOWHERE:
            raise CannotStart(
                f"{flag}: {error.strerror}; give the path of a file. What was given isn't repeated here, "
                "since it may be the secret itself"
            ) from None
        raise unreadable(flag, path, error) from None
    try:
        mode = os.fstat(file).st_mode
    except OSError as error:
        os.close(file)
        raise unreadable(flag, path, error) from None
    if stat.S_ISREG(mode):
        return file
    os.close(file)
    kind = "a directory" if stat.S_ISDIR(mode) else "a FIFO" if stat.S_ISFIFO(mode) else "a device or the like"
    raise CannotStart(f"{flag}: cannot read {path}: it is {kind}; give a regular file")


def unreadable(flag: str, path: Path, error: OSError) -> UnreadableSecret:
    """Return the error about a file of the option ``flag`` that can't be read now."""
    advice = _BY_ERRNO.get(error.errno or 0, "give a file that can be read")
    return UnreadableSecret(f"{flag}: cannot read {path}: {error.strerror or error}; {advice}")


def is_there(path: Path) -> bool:
    """Return whether there is anything at a path, even a link that leads nowhere."""
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def _stamp(status: os.stat_result) -> _Stamp:
    return _Stamp(status.st_mtime_ns, status.st_ino, status.st_size)
