"""The control socket in the file system: made, taken over from a dead predecessor, and removed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LONGEST_PATH: Final = 107
"""Maximum bytes of a socket's path (sun_path)."""

DIRECTORY_MODE: Final = 0o750
_UMASK: Final = 0o117  # a socket is born with 0777: 0660 is left
_BACKLOG: Final = 64
_LOCK_SECONDS: Final = 0.1


class SocketInUse(Exception):
    """Another running Courier has the socket, or is taking it at this moment."""


class Unavailable(Exception):
    """No socket can be made at this path; ``str()`` says why."""


class ControlSocket:
    """A listening Unix socket that doesn't block. It wakes its process by SIGIO when somebody connects."""

    def __init__(self, path: Path) -> None:
        """Make the socket, and the directory if it is missing. Raise SocketInUse or Unavailable."""
        self.path = path
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise Unavailable(f"the path is longer than {LONGEST_PATH} bytes")
        try:
            path.parent.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            with _locked(path.parent):
                self.listener = _bound(path)
                self._identity = _identity(path)
        except OSError as error:
            raise Unavailable(error.strerror or str(error)) from None
        self.listener.setblocking(False)
        wake_by_signal(self.listener)

    def close(self) -> None:
        """Close the socket, and remove its file if it is still this one's."""
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._identity:
                self.path.unlink()
        self.listener.close()


def wake_by_signal(connection: socket.socket) -> None:
    """Let the kernel send SIGIO to this process when the socket becomes readable.

    Where it can't (not every kernel has it for sockets), the supervisor notices at its next turn.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory, so that of two programs that find a dead socket only one replaces it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        give_up_at = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up_at:
                    raise SocketInUse from None
                time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def _bound(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        try:
            _bind(listener, path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_dead(path)
            _bind(listener, path)
        # Under the lock too: until then it refuses connections, and another program would take it for a dead one's.
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _bind(listener: socket.socket, path: Path) -> None:
    # The mode from the start: between bind and chmod anybody could connect.
    before = os.umask(_UMASK)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)


def _remove_dead(path: Path) -> None:
    """Remove the socket of a process that is gone. Raise SocketInUse if one answers, Unavailable if it isn't one."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Unavailable("something that is not a socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            # Somebody listens, and has no time now.
            pass
    raise SocketInUse


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
