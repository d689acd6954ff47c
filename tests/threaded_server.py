"""An HTTP server in a thread of its own, which can be gone for a while."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final

import uvloop

from courier.local.exchange import Handler
from courier.local.server import Server, serve
from scripts.faults.ports import held_port

PATIENCE: Final = 30.0


class ThreadedServer:
    """The server, on a free loopback port; ``url`` is its address, also while it is away."""

    def __init__(self, handler: Handler) -> None:
        self.url = ""
        self._handler = handler
        # Held while it is away, or another server could be given it, and the requests with it.
        self._holder = held_port()
        self._port = int(self._holder.getsockname()[1])
        self._server: Server | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(PATIENCE), "the server did not start"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._server.connections.all()) if self._server is not None else 0

    def go_away(self) -> None:
        """Cut all connections at once, amid whatever is under way on them, and refuse new ones."""
        self._do(self._close(0.0))

    def come_back(self) -> None:
        """Serve again, at the same address."""
        self._do(self._listen())

    def stop(self) -> None:
        """End it for good; harmless where it has ended."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(PATIENCE)
        self._holder.close()

    def _do(self, step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(PATIENCE)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        await self._listen()
        self._started.set()
        await self._stopped.wait()
        await self._close(0.05)

    async def _listen(self) -> None:
        self._server = await serve(self._handler, port=self._port)
        self.url = self._server.url

    async def _close(self, grace: float) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed(grace)
