"""The endpoints. Reading, all of them: nothing that is asked of them changes how the program runs."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from courier.api.collector import BoardCollector
from courier.api.observed import Observed
from courier.api.readiness import not_ready
from courier.api.status import Status
from courier.process.scoreboard import Slot

FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers of a request that a proxy passed on: whoever made it sits elsewhere than its connection says."""

OPENMETRICS: Final = "application/openmetrics-text"

Dumps = Callable[[Sequence[Slot]], Awaitable[list[tuple[Slot, int, str]]]]


class Endpoints:
    """Answers the requests."""

    def __init__(self, observed: Observed, status: Status, dumps: Dumps) -> None:
        self._observed = observed
        self._status = status
        self._dumps = dumps
        self._one_dump = asyncio.Lock()
        self._registry = CollectorRegistry()
        self._registry.register(BoardCollector(observed))

    async def health(self, _: Request) -> Response:
        """Say that this process lives, which is all that a restart of the container could mend."""
        return JSONResponse({})

    async def ready(self, _: Request) -> Response:
        """Say whether the program does its work, with 503 and the reasons where it doesn't."""
        reasons = not_ready(self._observed, time.monotonic())
        if reasons:
            return JSONResponse({"ready": False, "reasons": reasons}, 503)
        return JSONResponse({"ready": True})

    async def status(self, _: Request) -> Response:
        """Show the whole program."""
        return JSONResponse(self._status.answer())

    async def metrics(self, request: Request) -> Response:
        """Give the metrics in the text format of Prometheus, or in OpenMetrics where that is asked for."""
        # The header itself stays here: what it may say of versions and escapes can fail to be read.
        wanted = OPENMETRICS if OPENMETRICS in request.headers.get("accept", "") else ""
        encode, content_type = choose_encoder(wanted)
        return Response(encode(self._registry), headers={"Content-Type": content_type})

    async def stacks(self, request: Request) -> Response:
        """Give the stacks of every process, to somebody on this machine."""
        if not is_local(request):
            raise HTTPException(403, "only for clients on this machine")
        board = self._observed.board
        slots = [slot for role in board.roles() for slot in board.slots(role)]
        async with self._one_dump:
            found = await self._dumps(slots)
        return PlainTextResponse(
            "\n".join(f"--- {slot.role} {slot.index}, pid {pid}\n{text}" for slot, pid, text in found)
        )


def build_app(observed: Observed, status: Status, dumps: Dumps) -> Starlette:
    """Make the application; ``dumps`` gives the stacks of the processes in some slots."""
    endpoints = Endpoints(observed, status, dumps)
    routes = [
        Route("/status/health", endpoints.health),
        Route("/status/ready", endpoints.ready),
        Route("/status", endpoints.status),
        Route("/metrics", endpoints.metrics),
        Route("/debug/stacks", endpoints.stacks),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: refuse})
    # A path with a slash too many is none of these.
    app.router.redirect_slashes = False
    return app


async def refuse(_: Request, error: Exception) -> Response:
    """Answer 403, 404 and 405 as JSON."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def is_local(request: Request) -> bool:
    """Say whether a request comes from this machine: over loopback, and passed on by nobody."""
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
