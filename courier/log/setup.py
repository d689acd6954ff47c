"""The setup of logging: structlog through the standard library, as logfmt or JSON, one line an event, on stderr.

Events go through ``logging``, so the lines of libraries, warnings and uncaught errors have the same shape. Logging uses
no thread and no queue, so a forked child logs like its parent: the standard library renews the handler's lock in the
child, and each line is a single write that never blocks.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TextIO

from courier.log.blocked_imports import without
from courier.log.level import set_level
from courier.log.printable import json_line, logfmt_line
from courier.log.recurring import RecurringLine
from courier.log.stderr import output

with without("rich"):
    # rich draws tracebacks for terminals; Courier writes log lines.
    import structlog

FORMATS: Final = ("logfmt", "json")
_OURS: Final = ("courier", "root", "py")
"""The loggers of Courier's lines and of warnings; all other loggers belong to libraries."""

FOREIGN_AT_ONCE: Final = 5
"""Maximum lines within a minute with the same text from a library; further ones are counted."""

_FIRST_KEYS: Final = ("timestamp", "level", "pid", "logger", "event")
_RENDERERS: Final = {"logfmt": logfmt_line, "json": json_line}

_log = structlog.get_logger("courier")

_route = ""
"""The route that this process delivers for; empty for none."""

_queue = ""
"""The ``[[queue]]`` table that this process belongs to; empty for none."""

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def configure(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Send log lines of ``level`` and above to ``stream`` (default: stderr), as ``logfmt`` or ``json``.

    Call it once, before the fork. A second call replaces the setup.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _add_time_and_pid,
        structlog.processors.format_exc_info,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _Renderer(log_format)],
    )
    if stream is None and sys.stderr is not sys.__stderr__:
        stream = sys.stderr
    handler = _Lines(log_format, stream)
    handler.setFormatter(formatter)
    logging.getLogger().handlers[:] = [handler]
    set_level(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def name_route(route: str) -> None:
    """Name the route in each log line of this process, which delivers for that route alone."""
    global _route
    _route = route


def name_queue(name: str) -> None:
    """Name the ``[[queue]]`` table in each log line of this process and its children, which belong to it."""
    global _queue
    _queue = name


def refusal(line: str, exit_code: int) -> None:
    """Log why the program can't start, as its last line."""
    _log.error(line, exit_code=exit_code)


def catch_the_rest() -> None:
    """Log what Python would print to stderr by itself: warnings and uncaught errors."""
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


class _Lines(logging.Handler):
    """Writes each record as a line, to the given stream or to standard error."""

    def __init__(self, log_format: str, stream: TextIO | None) -> None:
        super().__init__()
        self._format = log_format
        self._stream = stream
        self._lost = 0
        self._foreign = RecurringLine(self, "write", "", at_once=FOREIGN_AT_ONCE)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record. It raises nothing, because a failing log line must not stop a delivery or a delete."""
        if record.name.partition(".")[0] in _OURS:
            self._write(record)
        else:
            # A library may log any line any number of times, so each text counts as one reason.
            self._foreign((record.name, record.levelno, str(record.msg)), record=record)

    def write(self, _event: str, *, times: int, record: logging.LogRecord) -> None:
        """Write a library's record with the number of its occurrences."""
        if times > 1:
            record.times = times
        self._write(record)

    def _write(self, record: logging.LogRecord) -> None:
        line = self._line(record)
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.write(f"{line}\n")
                self._stream.flush()
        elif not output().write(f"{line}\n".encode()):
            self._lost += 1
        elif self._lost:
            lost, self._lost = self._lost, 0
            _log.warning(
                "log lines dropped: stderr accepted none for a while",
                lines=lost,
                reason="the program that reads stderr was too slow, or a disk was full",
                advice="check the program that collects the log, or raise --log-level",
            )

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:
            # The arguments of a library's line don't fit its text, or the code of a value raises.
            event: dict[str, Any] = {"level": record.levelname.lower(), "logger": record.name, "event": record.msg}
            _add_time_and_pid(None, "", event)
            event["unformatted"] = type(error).__name__
            return str(_Renderer(self._format)(None, "", event))


class _Renderer:
    def __init__(self, log_format: str) -> None:
        self._render = _RENDERERS[log_format]

    def __call__(self, _logger: object, _method: str, event: structlog.typing.EventDict) -> str:
        return self._render({key: event[key] for key in _FIRST_KEYS if key in event} | dict(event))


def _add_time_and_pid(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event["pid"] = os.getpid()
    if _queue:
        if "queue" in event:
            event["sqs_queue"] = event["queue"]
        event["queue"] = _queue
    if _route:
        event["route"] = _route
    return event


def _uncaught(kind: type[BaseException], error: BaseException | None, stack: TracebackType | None) -> None:
    info = (kind, error if error is not None else kind(), stack)
    _log.error("uncaught error", advice="please report it, with the traceback", exc_info=info)


def _unraisable(args: UnraisableHookArgs) -> None:
    _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
