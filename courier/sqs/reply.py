"""The reply to a call: its fields, or its error."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import orjson

from courier.errors import SqsError
from courier.http.answer import Answer, Failure
from courier.sqs.errors import no_answer, refused, unreadable


class SuccessReply(NamedTuple):
    """The fields of a reply, and the answer that they were read from."""

    fields: dict[str, Any]
    answer: Answer


class ErrorReply(NamedTuple):
    """The error of a call; ``answer`` is ``None`` if none came."""

    error: SqsError
    answer: Answer | None


def read_reply(action: str, where: str, answer: Answer | Failure) -> SuccessReply | ErrorReply:
    """Return the reply in an answer; ``where`` names the queue and the region for the line of an error.

    A success is status 200 and one whole JSON object. Everything else is an error.
    """
    if isinstance(answer, Failure):
        return ErrorReply(no_answer(action, answer), None)
    if answer.status != 200:
        return ErrorReply(refused(action, where, answer), answer)
    if not answer.truncated:
        try:
            fields = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            fields = _salvaged(answer.body)
        if isinstance(fields, dict):
            return SuccessReply(fields, answer)
    return ErrorReply(unreadable(action, answer), answer)


def _salvaged(body: bytes) -> object:
    """Return the fields of an answer that isn't strict JSON, so that one message doesn't make the others unreadable.

    SQS accepts no such message, but other servers may: lone surrogates, bytes that aren't UTF-8, control characters,
    endless numbers. A message that isn't all text loses its body. ``None`` if the answer is no JSON at all.
    """
    try:
        fields = json.loads(body.decode("utf-8", "surrogateescape"), strict=False, parse_int=float)
    except (ValueError, RecursionError):
        return None
    messages = fields.get("Messages") if isinstance(fields, dict) else None
    for message in messages if isinstance(messages, list) else ():
        try:
            orjson.dumps(message)
        except TypeError:
            if isinstance(message, dict):
                message["Body"] = None
    return fields


def server_time(answer: Answer) -> float | None:
    """Return the time of an answer by the server's clock, in Unix seconds; ``None`` if the answer has no date."""
    date = answer.header(b"date")
    try:
        return parsedate_to_datetime(date.decode("ascii")).timestamp() if date else None
    except ValueError:
        return None
