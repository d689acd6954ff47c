"""The message of a periodic task, as aws-sqsd and Courier's scheduler enqueue it, and what its request has of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

PATH_ATTRIBUTE: Final = "beanstalk.sqsd.path"
TASK_ATTRIBUTE: Final = "beanstalk.sqsd.task_name"
TIME_ATTRIBUTE: Final = "beanstalk.sqsd.scheduled_time"

BODY: Final = b"elasticbeanstalk scheduled job"
"""The body of such a message. SQS takes no empty one; aws-sqsd delivers an empty one."""

_INSTANT: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2})(?: ?UTC|Z| ?\+00:?00)")


def instant(minute: int) -> str:
    """Return a minute since 1970 as the attribute has it: 2014-10-21 11:01:00 UTC."""
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso_time(text: str) -> str:
    """Return the time of the attribute as the header has it: 2014-10-21T11:01:00Z; empty if the text is none."""
    match = _INSTANT.fullmatch(text)
    return f"{match[1]}T{match[2]}Z" if match is not None else ""
