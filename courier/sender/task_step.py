"""The step that delivers a periodic task as aws-sqsd does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from courier.http.head import header_value
from courier.request.content import Content, Made, Step
from courier.request.head_layout import attribute_value
from courier.request.tasks import BODY, PATH_ATTRIBUTE, TASK_ATTRIBUTE, TIME_ATTRIBUTE, iso_time

_HEADERS: Final[tuple[tuple[bytes, str, Callable[[str], str]], ...]] = (
    (b"X-Aws-Sqsd-Taskname", TASK_ATTRIBUTE, str),
    (b"X-Aws-Sqsd-Scheduled-At", TIME_ATTRIBUTE, iso_time),
    (b"X-Aws-Sqsd-Path", PATH_ATTRIBUTE, str),
)
"""The headers that aws-sqsd adds: the name, the attribute, and what becomes of its text."""


def task_step(own: Collection[str], *, describes: bool) -> Step:
    """Return the step. A task has an empty body: what stands in the queue is there because SQS takes no empty one.

    With ``describes`` a message also gets the headers of aws-sqsd, but no ``own`` one of the operator.
    """
    taken = frozenset(name.lower().encode("ascii") for name in own)
    headers = {each[1]: each for each in _HEADERS if describes and each[0].lower() not in taken}

    def describe_task(content: Content, done: Callable[[Made], None]) -> Made:
        message = content.message
        if not message.attributes:
            return content
        lines, dropped = content.headers, content.dropped
        for attribute, _, text in message.attributes:
            if attribute in headers:
                name, _, form = headers[attribute]
                if value := header_value(form(text)):
                    lines += b"%b: %b\r\n" % (name, value)
                else:
                    dropped += 1
        if message.body == BODY and attribute_value(message, TIME_ATTRIBUTE) is not None:
            message = message._replace(body=b"")
        return content._replace(message=message, headers=lines, dropped=dropped)

    return describe_task
