"""The least severe level that a process logs."""

from __future__ import annotations

import logging
from typing import Final

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_CHATTY: Final = ("boto3", "botocore", "urllib3", "s3transfer", "asyncio")
"""Libraries that log at info and below what nobody needs."""


def set_level(level: str) -> int:
    """Log lines of ``level`` and above in this process, and return the level's number."""
    number = LEVELS[level]
    follow_level(number)
    return number


def follow_level(number: int) -> None:
    """Log lines of the level with this number and above in this process; 0 leaves it as it is."""
    root = logging.getLogger()
    if number and number != root.level:
        root.setLevel(number)
        for name in _CHATTY:
            logging.getLogger(name).setLevel(max(number, logging.WARNING))
