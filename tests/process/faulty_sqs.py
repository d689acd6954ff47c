"""A virtual SQS in the test's own process, which shows faults while it is told to."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Awaitable

from courier.local.exchange import Request, Response
from courier.local.virtual.errors import INTERNAL_FAILURE, ErrorKind, ServiceError
from courier.local.virtual.faults import Faults
from courier.local.virtual.parameters import Parameters
from courier.local.virtual.service import VirtualSqs
from tests.threaded_server import ThreadedServer

THROTTLED = ErrorKind("com.amazonaws.sqs#RequestThrottled", "RequestThrottled")
FAILURE = INTERNAL_FAILURE
UNKNOWN_KEY = ErrorKind("com.amazon.coral.service#UnrecognizedClientException", "InvalidClientTokenId", 403)
DENIED = ErrorKind("com.amazon.coral.service#AccessDeniedException", "AccessDenied", 403)


class Switches(Faults):
    """Faults by action, switched on and off from any thread; ``shown`` counts by action how often one was shown."""

    def __init__(self, seed: int = 1) -> None:
        self.calls: dict[str, ErrorKind] = {}
        self.entries: dict[str, float] = {}
        self.shown: Counter[str] = Counter()
        self._chance = random.Random(seed)

    def call(self, action: str, parameters: Parameters) -> ServiceError | None:
        kind = self.calls.get(action)
        if kind is None:
            return None
        self.shown[action] += 1
        return ServiceError(kind, "as the test wants it", sender_fault=kind.status < 500)

    def entry(self, action: str, entry: Parameters) -> ServiceError | None:
        if self._chance.random() >= self.entries.get(action, 0.0):
            return None
        self.shown[action] += 1
        return ServiceError(FAILURE, "as the test wants it", sender_fault=False)


class FaultySqs(ThreadedServer):
    """The server: ``faults`` are its switches, ``endpoint`` its address. What the queues hold stays while it's away.

    ``runs`` counts by their length the runs that it gave: the messages of one group in one receive, on a FIFO queue.
    Bodies that contain ``corrupt`` come with a wrong MD5.
    """

    def __init__(self, faults: Switches | None = None) -> None:
        self.faults = faults or Switches()
        self.runs: Counter[int] = Counter()
        self.corrupt = ""
        self._sqs = VirtualSqs(faults=self.faults)
        super().__init__(self._answer)

    @property
    def endpoint(self) -> str:
        return self.url

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._sqs.close)
        super().stop()

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        answer = self._sqs.handle(request)
        if request.headers.get("x-amz-target") != "AmazonSQS.ReceiveMessage":
            return answer
        if isinstance(answer, Response):
            return self._given(answer)
        return self._count_runs_later(answer)

    async def _count_runs_later(self, coming: Awaitable[Response]) -> Response:
        return self._given(await coming)

    def _given(self, answer: Response) -> Response:
        messages = json.loads(answer.body).get("Messages", [])
        groups = Counter(message.get("Attributes", {}).get("MessageGroupId", "") for message in messages)
        self.runs.update(groups.values())
        if not self.corrupt:
            return answer
        for message in messages:
            if self.corrupt in message["Body"]:
                message["MD5OfBody"] = "0" * 32
        return answer._replace(body=json.dumps({"Messages": messages}).encode())
