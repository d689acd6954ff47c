"""Logging: structlog through the standard library, as logfmt or JSON, one line an event, on stderr.

It goes through ``logging`` so that what libraries log comes out in the same shape. Nothing here holds a thread
or a queue, so that a forked child logs like its parent: the handler's lock is made new in the child by the
standard library, and a line is one write.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import orjson
import structlog

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_CHATTY: Final = ("boto3", "botocore", "urllib3", "s3transfer", "asyncio")
_FIRST_KEYS: Final = ("timestamp", "level", "pid", "logger", "event")


def configure(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Send log lines of ``level`` and above to ``stream`` (stderr where not given), as ``logfmt`` or ``json``.

    Call it once in each program, before the fork; calling it again replaces what was set.
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
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(log_format)],
    )
    handler = _Stderr(stream if stream is not None else sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))
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


class _Stderr(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the standard library's name)
        """Drop a line that can't be written: a full disk behind stderr may not stop a delivery or a delete."""


def _add_time_and_pid(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event["pid"] = os.getpid()
    return event


def _renderer(log_format: str) -> Any:
    if log_format == "json":
        return structlog.processors.JSONRenderer(serializer=_to_json)
    return structlog.processors.LogfmtRenderer(key_order=_FIRST_KEYS, bool_as_flag=False)


def _to_json(event: dict[str, Any], **_: Any) -> str:
    ordered = {key: event[key] for key in _FIRST_KEYS if key in event} | event
    return orjson.dumps(ordered, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
