"""The reply to a call: its fields, or its error."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import orjson

from courier.errors import SqsError
from courier.http.answer import PROXY_REFUSED, Answer, Failure
from courier.http.proxy import Proxy
from courier.http.secret_mask import Mask
from courier.sqs.errors import no_answer, refused, unreadable
from courier.sqs.signer import Keys

PROXY_AUTHENTICATION: Final = 407


class SuccessReply(NamedTuple):
    """The fields of a reply, the answer that they were read from, and the keys and the proxy of the call."""

    fields: dict[str, Any]
    answer: Answer
    keys: Keys
    proxy: Proxy | None = None

    def unreadable(self, action: str) -> SqsError:
        """Return the error for fields that aren't those of the action."""
        return unreadable(action, masked(self.answer, self.keys, self.proxy))


class ErrorReply(NamedTuple):
    """The error of a call; ``answer`` is ``None`` if none came, and without the secrets of the keys."""

    error: SqsError
    answer: Answer | None


def masked(answer: Answer, keys: Keys, proxy: Proxy | None = None) -> Answer:
    """Return an answer without the secrets that its call was made with, for an error that shows it.

    SQS repeats the session token if the signature is wrong, and other servers and proxies may repeat anything.
    """
    mask = Mask((keys.secret_key, keys.token, *(proxy.secrets if proxy is not None else ())))
    headers = [(name, mask(value)) for name, value in answer.headers]
    return answer._replace(headers=headers, body=mask(answer.body))


def read_reply(
    action: str, where: str, answer: Answer | Failure, keys: Keys, proxy: Proxy | None = None
) -> SuccessReply | ErrorReply:
    """Return the reply in an answer; ``where`` names the queue and the region for the line of an error.

    A success is status 200 and one whole JSON object. Everything else is an error, which shows no secret of ``keys``,
    those that the call was signed with, and of the ``proxy`` that it went through.
    """
    if isinstance(answer, Failure):
        return ErrorReply(no_answer(action, answer), None)
    if answer.status == PROXY_AUTHENTICATION and proxy is not None:
        # Only a proxy answers so, to a request that it was to forward.
        detail = f"the proxy {proxy.where} answered with 407 Proxy Authentication Required"
        return ErrorReply(no_answer(action, Failure(PROXY_REFUSED, detail, answer.duration)), None)
    if answer.status != 200:
        answer = masked(answer, keys, proxy)
        return ErrorReply(refused(action, where, answer), answer)
    if not answer.truncated:
        try:
            fields = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            fields = _salvaged(answer.body)
        if isinstance(fields, dict):
            return SuccessReply(fields, answer, keys, proxy)
    answer = masked(answer, keys, proxy)
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
