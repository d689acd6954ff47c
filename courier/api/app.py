"""The routes of the API. They are read-only, but for the acts of the live page where ``--page-control`` allows them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from courier.api.collector import BoardCollector
from courier.api.events import Events, Render
from courier.api.local import LOCAL_ONLY, is_local
from courier.api.observed import Observed
from courier.api.page.document import Document
from courier.api.page_control import PageControl
from courier.api.readiness import unready
from courier.api.status import Status
from courier.api.tap import Taps
from courier.board.pause import pause_status
from courier.process.scoreboard import Slot

OPENMETRICS: Final = "application/openmetrics-text"

Dumps = Callable[[Sequence[Slot]], Awaitable[list[tuple[Slot, int, str]]]]


class Handlers:
    """The handlers of the routes."""

    def __init__(self, observed: Observed, status: Status, answer: Render, dumps: Dumps) -> None:
        """``answer`` returns what GET /status says; see :func:`build_app` for the rest."""
        self._observed = observed
        self._status = status
        self._answer = answer
        self._dumps = dumps
        self._one_dump = asyncio.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(BoardCollector(observed, status.memory))

    async def health(self, _: Request) -> Response:
        """Return 200 while this process lives; a restart of the container can fix nothing else."""
        return JSONResponse({})

    async def ready(self, _: Request) -> Response:
        """Return 200 if the program does its work; else 503 with the reasons and the advice for each."""
        now = time.monotonic()
        pause = pause_status(self._observed.board, now)
        # A paused program is ready: it does what it was told, and a restart would end the pause.
        shown = {"pause": pause} if pause else {}
        if found := unready(self._observed, now):
            reasons, advice = zip(*found, strict=True)
            return JSONResponse({"ready": False, "reasons": reasons, "advice": advice, **shown}, 503)
        return JSONResponse({"ready": True, **shown})

    async def status(self, _: Request) -> Response:
        """Return the status of the whole program."""
        return JSONResponse(self._answer())

    async def samples(self, _: Request) -> Response:
        """Return the samples of the last minutes, for charts."""
        return JSONResponse(self._status.samples())

    async def metrics(self, request: Request) -> Response:
        """Return the metrics in Prometheus's text format, or in OpenMetrics if the client accepts it."""
        # prometheus_client doesn't get the client's header, because it can fail on versions and escapes in it.
        wanted = OPENMETRICS if OPENMETRICS in request.headers.get("accept", "") else ""
        encode, content_type = choose_encoder(wanted)
        return Response(encode(self._registry), headers={"Content-Type": content_type})

    async def stacks(self, request: Request) -> Response:
        """Return the stacks of every process to a client on this machine."""
        if not is_local(request):
            raise HTTPException(403, LOCAL_ONLY)
        if self._one_dump.locked():
            # Waiting requests would stay as tasks even after their clients disconnect.
            raise HTTPException(503, "another request is gathering the stacks; try again in a second")
        board = self._observed.board
        slots = [slot for role in board.roles() for slot in board.slots(role)]
        async with self._one_dump:
            found = await self._dumps(slots)
        return PlainTextResponse(
            "\n".join(f"--- {slot.role} {slot.index}, pid {pid}\n{text}" for slot, pid, text in found)
        )


class Live(NamedTuple):
    """The live page, its events, and its acts; ``None`` where it only reads."""

    document: Document
    events: Events
    control: PageControl | None = None

    async def page(self, _: Request) -> Response:
        """Return the page."""
        return Response(self.document.body, headers=self.document.headers)

    def routes(self) -> list[Route]:
        """Return the routes of the page and of what it reads besides the status."""
        acts = [Route("/control", self.control.act, methods=["POST"])] if self.control else []
        return [Route("/", self.page), Route("/events", self.events.answer), *acts]


def build_app(
    observed: Observed, status: Status, dumps: Dumps, live: Live | None = None, taps: Taps | None = None
) -> Starlette:
    """Return the application. ``dumps`` returns the stacks of the processes in the given slots."""
    handlers = Handlers(observed, status, live.events.status if live else status.answer, dumps)
    routes = [
        Route("/status/health", handlers.health),
        Route("/status/ready", handlers.ready),
        Route("/status", handlers.status),
        Route("/status/samples", handlers.samples),
        Route("/metrics", handlers.metrics),
        Route("/debug/stacks", handlers.stacks),
        *([Route("/tap", taps.answer)] if taps is not None else ()),
        *(live.routes() if live else ()),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: refuse})
    # A path with an extra slash is not found, instead of redirected.
    app.router.redirect_slashes = False
    return app


async def refuse(_: Request, error: Exception) -> Response:
    """Answer 403, 404 and 405 as JSON."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
