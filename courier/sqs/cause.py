"""The cause of an error of boto3: the error of the system behind it, since boto3 only says that it cannot connect."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import NamedTuple

from courier.http.advice import name_failure
from courier.http.answer import CONNECT_TIMEOUT
from courier.http.dial import connect_reason, error_text


class Cause(NamedTuple):
    """One of the reasons of :mod:`courier.http.answer`, and the words of the system."""

    reason: str
    text: str


def find_cause(error: BaseException) -> Cause | None:
    """Return the cause of an error of boto3; ``None`` if no error of the system is behind it."""
    for each in _chain(error):
        if isinstance(each, socket.gaierror):
            return Cause(name_failure(each), error_text(each))
        if isinstance(each, TimeoutError):
            return Cause(CONNECT_TIMEOUT, "no connection in time")
        if isinstance(each, OSError) and each.errno is not None:
            return Cause(connect_reason(each), error_text(each))
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those behind it. botocore keeps the next one in ``kwargs``, urllib3 in ``reason``."""
    seen: set[int] = set()
    following: object = error
    while isinstance(following, BaseException) and id(following) not in seen:
        seen.add(id(following))
        yield following
        behind = (getattr(following, "kwargs", None) or {}).get("error")
        following = behind or getattr(following, "reason", None) or following.__cause__ or following.__context__
