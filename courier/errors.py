"""The tree of errors, and the exit codes that the program promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

EXIT_DRAINED: Final = 0
EXIT_USAGE: Final = 2
EXIT_CANNOT_START: Final = 3
EXIT_UNFINISHED: Final = 4


class CourierError(Exception):
    """Something that ends a step or the program, told in one line: ``str(error)`` is that line."""

    exit_code: ClassVar[int] = EXIT_CANNOT_START


class ConfigError(CourierError):
    """An option, a variable or a key of the file is wrong; the line names it and says what would be right."""

    exit_code = EXIT_USAGE


class CannotStart(CourierError):
    """Something outside stands in the way of starting; the line names it and says how to mend it."""

    exit_code = EXIT_CANNOT_START


class ChannelError(CourierError):
    """A packet came out of a channel in a shape that no sender makes: a bug, and fatal for the process."""


class AuditError(CourierError):
    """The audit log could not make records durable; nothing that they cover may be deleted.

    ``failed`` holds the indexes of the lines that aren't durable, from a log that takes them one by one; ``None`` means
    that the call failed as a whole, and none of them is.
    """

    def __init__(self, line: str, failed: Sequence[int] | None = None) -> None:
        super().__init__(line)
        self.failed = failed


class SqsError(CourierError):
    """A call to SQS failed as a whole.

    ``action`` is the call's name, ``code`` the error code of SQS (or ``network``), ``retriable`` says
    whether the same call may succeed later without anybody changing anything.
    """

    def __init__(self, action: str, code: str, detail: str, *, retriable: bool) -> None:
        super().__init__(f"SQS {action} failed: {code}: {detail}")
        self.action = action
        self.code = code
        self.detail = detail
        self.retriable = retriable
