"""The client of a metadata endpoint: short requests over one kept connection, and what is wrong in one line."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from courier.errors import CourierError
from courier.http.answer import CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, TIMEOUT, Answer, Failure
from courier.http.head import HeadTemplate, header_name, header_value
from courier.http.limits import SessionLimits
from courier.http.session import Session
from courier.http.url import Url
from courier.leaving.notice import Notice

LIMITS: Final = SessionLimits(connect_timeout=1.0, timeout=2.0, idle_timeout=30.0, answer_cap=65_536)
"""The endpoint is on this machine, or next to it: what doesn't answer in two seconds won't."""

SILENT: Final = frozenset({CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, TIMEOUT})
"""Failures without any answer."""


class Unavailable(CourierError):
    """No usable answer of a metadata endpoint; the line says why, and what to do about it."""


class Poll(NamedTuple):
    """What a poll of the metadata found: the notices in force, and why some of it couldn't be read."""

    notices: Sequence[Notice]
    error: Unavailable | None


class Endpoint:
    """A metadata endpoint. It belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: Url, name: str) -> None:
        """``name`` is for errors. Paths are added to that of the ``url``."""
        self.url = url
        self.name = name
        self._session = Session(loop, url, LIMITS)

    async def ask(
        self, method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> Answer | Failure:
        """Send a request and return what comes. Raise ValueError for a header that can't be sent."""
        extra = [(header_name(name), header_value(value)) for name, value in headers]
        if not all(name and value for name, value in extra):
            raise ValueError("a header isn't printable ASCII on one line")
        target = dataclasses.replace(self.url, path=self.url.path.rstrip("/") + path)
        known = [(name, value) for name, value in extra if name and value]
        head = HeadTemplate(method, target).render(len(body), known)
        return await self._session.request(head, body)

    def failed(self, failure: Failure, advice: str) -> Unavailable:
        """Return the error for a request without an answer."""
        return Unavailable(f"{self.name} at {self.url.host_header} gives no answer: {failure.reason}; {advice}")

    def refused(self, path: str, status: int, advice: str) -> Unavailable:
        """Return the error for a status that isn't expected."""
        return Unavailable(f"{self.name} at {self.url.host_header} answers {_status(status)} for {path}; {advice}")

    def unreadable(self, path: str, why: str) -> Unavailable:
        """Return the error for an answer that can't be read."""
        return Unavailable(
            f"{self.name} at {self.url.host_header} gives an unreadable answer for {path}: {why}; find out what "
            "answers there, often a proxy or an emulator"
        )

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
