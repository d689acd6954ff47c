"""The virtual SQS as a whole: HTTP requests of the JSON protocol in, answers out."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson

from courier.lease import boottime
from courier.local.exchange import Request, Response, ServerLimits
from courier.local.virtual.account import ACCOUNT, HOME_REGION
from courier.local.virtual.actions import ACTIONS, ActionAnswer, Call
from courier.local.virtual.errors import (
    ACCESS_DENIED,
    INVALID_ACTION,
    SERIALIZATION,
    ServiceError,
)
from courier.local.virtual.faults import Faults
from courier.local.virtual.moving import MoveTasks
from courier.local.virtual.polls import Polls
from courier.local.virtual.queue import VirtualQueue
from courier.local.virtual.registry import Registry
from courier.local.virtual.settings import MAX_MESSAGE_BYTES
from courier.local.virtual.waits import Waits

TARGET_PREFIX: Final = "AmazonSQS."
CREDENTIAL: Final = "Credential="
TRACE_HEADER: Final = "x-amzn-trace-id"
LIMITS: Final = ServerLimits(max_body=6 * MAX_MESSAGE_BYTES + 1024**2, max_connections=4096)
"""The limits on its clients. JSON may use up to six bytes for one (``\\u0041``), and base64 fewer. The size of a batch
counts bodies and attributes. The rest is for names, ids and trace headers, which don't count."""

CONTENT_TYPE: Final = ("Content-Type", "application/x-amz-json-1.0")


def steady_wall_clock() -> Callable[[], float]:
    """Return a clock of Unix seconds that never goes back and continues during suspend, like the clock of leases."""
    offset = time.time() - boottime()
    return lambda: boottime() + offset


class VirtualSqs:
    """Queues in memory, served by passing :meth:`handle` to :func:`courier.local.server.serve`.

    ``latency`` is seconds to wait before each call is processed. ``enforce_waits`` refuses a second purge of a queue
    and the name of a deleted one for a minute. An instance belongs to one event loop.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        faults: Faults | None = None,
        latency: float = 0.0,
        enforce_waits: bool = False,
    ) -> None:
        self.clock: Final = clock or steady_wall_clock()
        self.faults: Final = faults
        self.registry: Final = Registry()
        self.moves: Final = MoveTasks()
        self.waits: Final = Waits() if enforce_waits else None
        self.closing = False
        self._latency = latency
        self._polls: dict[VirtualQueue, Polls] = {}

    def create_queue(self, name: str, attributes: Mapping[str, str] | None = None) -> VirtualQueue:
        """Create a queue that clients of all regions find; a name that ends in ``.fifo`` makes a FIFO queue.

        Raise ServiceError like CreateQueue.
        """
        wanted = dict(attributes or {})
        if name.endswith(".fifo"):
            wanted["FifoQueue"] = "true"
        return self.registry.create(name, wanted, self.clock())

    def path_of(self, name: str) -> str:
        """Return the path of a queue's URL. Raise ServiceError if there is no such queue."""
        return f"/{ACCOUNT}/{self.registry.find(name).name}"

    def close(self) -> None:
        """End all long polls with an empty answer, so that the server can close."""
        self.closing = True
        for polls in self._polls.values():
            polls.wake_all()

    def polls(self, queue: VirtualQueue) -> Polls:
        """Return the long polls of a queue."""
        polls = self._polls.get(queue)
        if polls is None:
            polls = self._polls[queue] = Polls(queue, self.clock)
        return polls

    def changed(self, queue: VirtualQueue, now: float) -> None:
        """Wake a long poll of a queue if it has a new visible message."""
        polls = self._polls.get(queue)
        if polls is not None:
            polls.check(now)

    def removed(self, queue: VirtualQueue) -> None:
        """End the long polls of a deleted queue, and forget its move tasks."""
        self.moves.forget(queue)
        polls = self._polls.pop(queue, None)
        if polls is not None:
            polls.wake_all()

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Answer one HTTP request. The answer to a long poll that finds nothing comes later."""
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
            headers = request.headers
            base_url = f"http://{headers.get('host', '')}"
            call = Call(action, parameters, self.clock(), base_url, _region(headers), headers.get(TRACE_HEADER, ""))
            answer: ActionAnswer = ACTIONS[action](self, call)
        except ServiceError as error:
            return _render_error(error)
        return _render(answer) if isinstance(answer, dict) else answer

    async def _finish(self, answer: Awaitable[dict[str, Any]]) -> Response:
        try:
            return _render(await answer)
        except ServiceError as error:
            return _render_error(error)


def _read(request: Request) -> tuple[str, dict[str, Any]]:
    """Return the requested action and its parameters. Raise ServiceError if the request is invalid."""
    headers = request.headers
    target = headers.get("x-amz-target", "")
    action = target.removeprefix(TARGET_PREFIX)
    if request.method != "POST" or not target.startswith(TARGET_PREFIX):
        raise ServiceError(INVALID_ACTION, "Only the JSON protocol is spoken here: POST with X-Amz-Target.")
    if "authorization" not in headers:
        raise ServiceError(ACCESS_DENIED, f"Access to the resource http://{headers.get('host', '')}/ is denied.")
    if action not in ACTIONS:
        raise ServiceError(INVALID_ACTION, f"The action {action} is not valid for this web service.")
    try:
        parameters = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError:
        parameters = None
    if not isinstance(parameters, dict):
        raise ServiceError(SERIALIZATION, "The body of the request is not a JSON object.")
    return action, parameters


def _region(headers: Mapping[str, str]) -> str:
    """Return the region for which a request is signed; the scope is ``key/date/region/service/aws4_request``."""
    scope = headers["authorization"].partition(CREDENTIAL)[2].split("/", 3)
    return scope[2] if len(scope) > 3 else HOME_REGION


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
