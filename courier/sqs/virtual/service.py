"""The virtual SQS as a whole: HTTP requests of the JSON protocol in, its answers out."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson

from courier.http.server import Request, Response
from courier.sqs.virtual.actions import ACTIONS, UNSUPPORTED, Answer, Call
from courier.sqs.virtual.errors import (
    ACCESS_DENIED,
    INVALID_ACTION,
    SERIALIZATION,
    UNSUPPORTED_OPERATION,
    ServiceError,
)
from courier.sqs.virtual.faults import Faults
from courier.sqs.virtual.polls import Polls
from courier.sqs.virtual.queue import Queue
from courier.sqs.virtual.registry import ACCOUNT, Registry

TARGET_PREFIX: Final = "AmazonSQS."
CONTENT_TYPE: Final = ("Content-Type", "application/x-amz-json-1.0")


def steady_wall_clock() -> Callable[[], float]:
    """Make a clock of Unix seconds that never goes back and goes on in suspend, like a lease of Courier's."""
    offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + offset


class VirtualSqs:
    """Queues in memory, and :meth:`handle` to serve them with :func:`courier.http.server.serve`.

    ``latency`` is waited before each call is looked at, in seconds. ``region`` only stands in ARNs. It belongs to one
    event loop.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        faults: Faults | None = None,
        latency: float = 0.0,
        region: str = "us-east-1",
    ) -> None:
        self.clock: Final = clock or steady_wall_clock()
        self.faults: Final = faults
        self.registry: Final = Registry(region)
        self.closing = False
        self._latency = latency
        self._polls: dict[Queue, Polls] = {}

    def create_queue(self, name: str, attributes: Mapping[str, str] | None = None) -> Queue:
        """Make a queue as CreateQueue does; a name that ends in ``.fifo`` makes a FIFO queue. Raises ServiceError."""
        wanted = dict(attributes or {})
        if name.endswith(".fifo"):
            wanted["FifoQueue"] = "true"
        return self.registry.create(name, wanted, self.clock())

    def path_of(self, name: str) -> str:
        """Return the path of the URL of a queue. Raises ServiceError where there is no such queue."""
        return f"/{ACCOUNT}/{self.registry.find(name).name}"

    def close(self) -> None:
        """End all long polls with an empty answer, so that the server can close."""
        self.closing = True
        for polls in self._polls.values():
            polls.wake_all()

    def polls(self, queue: Queue) -> Polls:
        """Return the long polls of a queue."""
        polls = self._polls.get(queue)
        if polls is None:
            polls = self._polls[queue] = Polls(queue, self.clock)
        return polls

    def changed(self, queue: Queue, now: float) -> None:
        """Take note that a queue may have got a visible message; wakes a long poll if it has."""
        polls = self._polls.get(queue)
        if polls is not None:
            polls.check(now)

    def removed(self, queue: Queue) -> None:
        """Take note that a queue was deleted: its long polls end."""
        polls = self._polls.pop(queue, None)
        if polls is not None:
            polls.wake_all()

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Answer one HTTP request; the answer to a long poll that finds nothing comes later."""
        try:
            action, parameters = _read(request)
        except ServiceError as error:
            return _render_error(error)
        delay = self._latency
        if self.faults is not None:
            delay += self.faults.latency(action)
        if delay > 0:
            return self._handle_later(action, parameters, request, delay)
        answer = self._perform(action, parameters, request)
        return answer if isinstance(answer, Response) else self._finish(answer)

    async def _handle_later(self, action: str, parameters: dict[str, Any], request: Request, delay: float) -> Response:
        await asyncio.sleep(delay)
        answer = self._perform(action, parameters, request)
        return answer if isinstance(answer, Response) else await self._finish(answer)

    def _perform(
        self, action: str, parameters: dict[str, Any], request: Request
    ) -> Response | Awaitable[dict[str, Any]]:
        try:
            if self.faults is not None:
                fault = self.faults.call(action, parameters)
                if fault is not None:
                    raise fault
            call = Call(action, parameters, self.clock(), f"http://{request.headers.get('host', '')}")
            answer: Answer = ACTIONS[action](self, call)
        except ServiceError as error:
            return _render_error(error)
        return _render(answer) if isinstance(answer, dict) else answer

    async def _finish(self, answer: Awaitable[dict[str, Any]]) -> Response:
        try:
            return _render(await answer)
        except ServiceError as error:
            return _render_error(error)


def _read(request: Request) -> tuple[str, dict[str, Any]]:
    """Find out which action is asked for, with which parameters. Raises ServiceError where that can't be told."""
    headers = request.headers
    target = headers.get("x-amz-target", "")
    action = target.removeprefix(TARGET_PREFIX)
    if request.method != "POST" or not target.startswith(TARGET_PREFIX):
        raise ServiceError(INVALID_ACTION, "Only the JSON protocol is spoken here: POST with X-Amz-Target.")
    if "authorization" not in headers:
        raise ServiceError(ACCESS_DENIED, f"Access to the resource http://{headers.get('host', '')}/ is denied.")
    if action not in ACTIONS:
        if action in UNSUPPORTED:
            raise ServiceError(UNSUPPORTED_OPERATION, f"The virtual queue does not know {action}.")
        raise ServiceError(INVALID_ACTION, f"The action {action} is not valid for this web service.")
    try:
        parameters = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError:
        parameters = None
    if not isinstance(parameters, dict):
        raise ServiceError(SERIALIZATION, "The body of the request is not a JSON object.")
    return action, parameters


def _render(answer: dict[str, Any]) -> Response:
    return Response(200, (CONTENT_TYPE, ("x-amzn-RequestId", _request_id())), orjson.dumps(answer))


def _render_error(error: ServiceError) -> Response:
    kind = error.kind
    side = "Sender" if error.sender_fault else "Receiver"
    headers = (
        CONTENT_TYPE,
        ("x-amzn-RequestId", _request_id()),
        ("x-amzn-query-error", f"{kind.code};{side}"),
    )
    return Response(kind.status, headers, orjson.dumps({"__type": kind.shape, "message": error.detail}))


def _request_id() -> str:
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
