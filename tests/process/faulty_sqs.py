"""A virtual SQS in a thread of the test's own process, which shows faults while it is told to."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter

import uvloop

from courier.http.server import Server, serve
from courier.sqs.virtual.errors import INTERNAL_FAILURE, Kind, ServiceError
from courier.sqs.virtual.faults import Faults
from courier.sqs.virtual.parameters import Parameters
from courier.sqs.virtual.service import VirtualSqs

THROTTLED = Kind("com.amazonaws.sqs#RequestThrottled", "RequestThrottled")
FAILURE = INTERNAL_FAILURE
UNKNOWN_KEY = Kind("com.amazon.coral.service#UnrecognizedClientException", "InvalidClientTokenId", 403)
DENIED = Kind("com.amazon.coral.service#AccessDeniedException", "AccessDenied", 403)


class Switches(Faults):
    """Faults by action, switched on and off from any thread; ``shown`` counts by action how often one was shown."""

    def __init__(self, seed: int = 1) -> None:
        self.calls: dict[str, Kind] = {}
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


class FaultySqs:
    """The server: ``faults`` are its switches, ``endpoint`` its address, also after it was away."""

    def __init__(self) -> None:
        self.faults = Switches()
        self.endpoint = ""
        self._port = 0
        self._server: Server | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10), "the queue did not start"

    def go_away(self) -> None:
        """Cut all connections and refuse new ones; what the queues hold stays."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)

    def come_back(self) -> None:
        """Serve again, at the same address."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._sqs = VirtualSqs(faults=self.faults)
        await self._listen()
        self._started.set()
        await self._stopped.wait()
        self._sqs.close()
        await self._close()

    async def _listen(self) -> None:
        self._server = await serve(self._sqs.handle, port=self._port)
        self._port = self._server.port
        self.endpoint = self._server.url

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed(0.05)
