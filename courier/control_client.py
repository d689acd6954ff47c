"""The client of the control socket: one request, one answer, within a deadline. It blocks, and is for commands."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any, Final

from courier.process.control_protocol import LONGEST_ANSWER, LONGEST_REQUEST, Fields, missing_bytes, packed, unpacked

DEADLINE_SECONDS: Final = 5.0
"""Seconds for the whole exchange. The supervisor answers at once, or within a second on a kernel without SIGIO."""

AGAIN_SECONDS: Final = 0.02

SERVICE_SOCKET: Final = Path("/run/courier/control.sock")
"""Where the service of deploy/systemd has its socket."""


class Unreachable(Exception):
    """No Courier answers; ``str()`` is one line that says why, and what to do."""


def find_socket(given: Path | None, runtime_directory: Path | None) -> Path:
    """Return the path of the socket: the one that was given, that of the runtime directory, or the service's.

    Raise Unreachable if there is none.
    """
    if given is not None:
        return given
    if runtime_directory is not None:
        return runtime_directory / SERVICE_SOCKET.name
    if not SERVICE_SOCKET.exists():
        raise Unreachable(
            f"there is no control socket at {SERVICE_SOCKET}; give the path that Courier has as --control"
        )
    return SERVICE_SOCKET


def ask(path: Path, request: Fields, deadline_seconds: float = DEADLINE_SECONDS) -> dict[str, Any]:
    """Send a request, such as ``{"act": "resume"}``, and return the answer; raise Unreachable if none comes.

    Raise ValueError if the request is too long.
    """
    sent = packed(request)
    missing_bytes(sent, LONGEST_REQUEST)
    give_up_at = time.monotonic() + deadline_seconds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            _connect(connection, path, give_up_at)
            return _exchange(connection, sent, give_up_at)
    except TimeoutError:
        line = f"Courier at {path} gave no answer within {deadline_seconds:g} seconds; is it stopped, or has it no CPU?"
        raise Unreachable(line) from None
    except (ConnectionRefusedError, FileNotFoundError):
        line = f"no Courier listens at {path}; is it running, and with this --control?"
        raise Unreachable(line) from None
    except PermissionError:
        line = f"permission denied at {path}; act as the user that Courier runs as, as one of its group, or as root"
        raise Unreachable(line) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unreachable(f"no answer from {path}: {reason}; is that Courier's control socket?") from None


def _connect(connection: socket.socket, path: Path, give_up_at: float) -> None:
    while True:
        connection.settimeout(_left(give_up_at))
        try:
            connection.connect(str(path))
            return
        except BlockingIOError:
            # Many others wait to be accepted.
            time.sleep(AGAIN_SECONDS)


def _exchange(connection: socket.socket, sent: bytes, give_up_at: float) -> dict[str, Any]:
    connection.settimeout(_left(give_up_at))
    connection.sendall(sent)
    received = bytearray()
    while missing := missing_bytes(received, LONGEST_ANSWER):
        connection.settimeout(_left(give_up_at))
        chunk = connection.recv(missing)
        if not chunk:
            raise ConnectionResetError(0, "the connection was closed")
        received += chunk
    return unpacked(received)


def _left(give_up_at: float) -> float:
    left = give_up_at - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
