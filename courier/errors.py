"""The errors of Courier, and the exit codes of the program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from courier.platforms import not_linux

EXIT_DRAINED: Final = 0
EXIT_USAGE: Final = 2
EXIT_CANNOT_START: Final = 3
EXIT_UNFINISHED: Final = 4


class CourierError(Exception):
    """An error that ends a step or the program. ``str(error)`` is one line about it.

    The line says what is wrong and, after the first semicolon, what to do about it.
    """

    exit_code: ClassVar[int] = EXIT_CANNOT_START

    @property
    def reason(self) -> str:
        """What is wrong."""
        return str(self).partition("; ")[0]

    @property
    def advice(self) -> str:
        """What to do about it."""
        return str(self).partition("; ")[2]


class ConfigError(CourierError):
    """An error in an option, a variable or a key of the file. The line names it and says what would be right."""

    exit_code = EXIT_USAGE


class CannotStart(CourierError):
    """An outside condition that keeps the program from starting. The line names it and says how to fix it."""

    exit_code = EXIT_CANNOT_START


def require_linux(what: str) -> None:
    """Raise CannotStart if this system isn't Linux, which ``what`` needs."""
    if line := not_linux(what):
        raise CannotStart(line)


class ChannelError(CourierError):
    """A failed channel, or a packet in a shape that no sender makes. It is a bug, and fatal for the process."""


class PacketTooLargeError(ChannelError):
    """A packet that is too large for any channel. The channel still works for others."""


class AuditError(CourierError):
    """A failure to make audit records durable. The messages of these records must not be deleted.

    ``failed`` are the indexes of the lines that aren't durable, if the log accepts lines one by one. ``None`` means
    that the call failed as a whole and none is durable. ``code`` is the same for all failures with one cause.
    """

    def __init__(self, line: str, failed: Sequence[int] | None = None, *, code: str = "") -> None:
        super().__init__(line)
        self.failed = failed
        self.code = code


class SqsError(CourierError):
    """A call to SQS that failed as a whole.

    ``action`` is the name of the call, ``code`` the error code from SQS (or ``network``). ``retriable`` is true if the
    same call may succeed later without a change. ``status`` is the HTTP status of the answer, 0 if there was none; then
    ``cause`` says why the connection failed.
    """

    def __init__(
        self, action: str, code: str, detail: str, *, retriable: bool, status: int = 0, cause: str = ""
    ) -> None:
        super().__init__(f"SQS {action} failed: {code}: {detail}")
        self.action = action
        self.code = code
        self.detail = detail
        self.retriable = retriable
        self.status = status
        self.cause = cause
