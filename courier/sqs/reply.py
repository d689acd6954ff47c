"""What came back from one call, read: its fields, or the error that it amounts to."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import orjson

from courier.errors import SqsError
from courier.http.answer import Answer, Failure
from courier.sqs.errors import no_answer, refused, unreadable


class Success(NamedTuple):
    """The fields that SQS answered with, and the answer that they were read from."""

    fields: dict[str, Any]
    answer: Answer


class Refusal(NamedTuple):
    """The error that came back; ``answer`` is ``None`` where nothing came."""

    error: SqsError
    answer: Answer | None


def read_reply(action: str, where: str, answer: Answer | Failure) -> Success | Refusal:
    """Read what came back; ``where`` names the queue and the region for the error's line.

    A success is status 200 and one JSON object, whole: anything else that claims to be one is an error.
    """
    if isinstance(answer, Failure):
        return Refusal(no_answer(action, answer), None)
    if answer.status != 200:
        return Refusal(refused(action, where, answer), answer)
    if not answer.truncated:
        try:
            fields = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            fields = None
        if isinstance(fields, dict):
            return Success(fields, answer)
    return Refusal(unreadable(action, answer), answer)


def server_time(answer: Answer) -> float | None:
    """Give the time at which the server answered, by its own clock, in Unix seconds; ``None`` where it doesn't say."""
    date = answer.header(b"date")
    try:
        return parsedate_to_datetime(date.decode("ascii")).timestamp() if date else None
    except ValueError:
        return None
