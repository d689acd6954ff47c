"""The API of several queues: that of each below /queues/NAME, and the sum of all at the root.

The page, the events and the taps are each queue's own; the root has an overview that links to them.
"""

from __future__ import annotations

import html
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from courier import __version__
from courier.api.app import OPENMETRICS, refuse
from courier.api.collector import BoardCollector
from courier.api.observed import Observed
from courier.api.page.document import hash_of
from courier.api.readiness import Unready, unready
from courier.api.server import Served
from courier.board.pause import pause_status
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard

NO_QUEUE: Final = Unready(
    "no queue runs", "start them again with `courier reload`, or end the program with `courier drain`"
)
"""What is said when the last queue has been drained."""

LABEL: Final = "queue"
"""The label of every series: the name of the queue's table."""

KIND: Final = "kind"
"""What the label ``queue`` of ``courier_dead_letters`` becomes: which kind of queue holds them."""

SHOWN: Final = ("state", "reasons", "advice", "pause", "leaving", "totals", "rates", "queue", "in_flight", "breaker")
"""What /status at the root shows of each queue; /queues/NAME/status has the rest."""

REFRESH_SECONDS: Final = 5

_STYLE: Final = (
    "body{font:15px system-ui,sans-serif;margin:2em;color-scheme:light dark}table{border-collapse:collapse}"
    "td,th{padding:.3em 1em;text-align:right;border-bottom:1px solid #8884}td:first-child,th:first-child,"
    "td:nth-child(2),th:nth-child(2),td:last-child,th:last-child{text-align:left}"
)
_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src '{hash_of(_STYLE)}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class QueueApi(NamedTuple):
    """One of several queues: the ``name`` of its table, what is observed of it, and what is served."""

    name: str
    observed: Observed
    served: Served


class LabelledCollector(Collector):
    """The metrics of all queues, each series with the name of its queue."""

    def __init__(self, queues: Sequence[QueueApi]) -> None:
        self._collectors = {each.name: BoardCollector(each.observed, each.served.status.memory) for each in queues}

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, with the series of all queues."""
        merged: dict[str, Metric] = {}
        for name, collector in self._collectors.items():
            for metric in collector.collect():
                family = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                family.samples += [_labelled(sample, name) for sample in metric.samples]
        yield from merged.values()


def _labelled(sample: Sample, name: str) -> Sample:
    labels = {KIND if label == LABEL else label: value for label, value in sample.labels.items()}
    return sample._replace(labels={LABEL: name, **labels})


class Root:
    """The handlers of the root, which sum up the queues."""

    def __init__(self, board: Scoreboard, queues: Sequence[QueueApi]) -> None:
        """``board`` is that of the first process."""
        self._board = board
        self._queues = queues
        self._host = socket.gethostname()
        self._registry = CollectorRegistry()
        self._registry.register(LabelledCollector(queues))

    async def health(self, _: Request) -> Response:
        """Return 200 while this process lives."""
        return JSONResponse({})

    async def ready(self, _: Request) -> Response:
        """Return 200 if all queues do their work; else 503 with the reasons of each."""
        now = time.monotonic()
        found = {each.name: unready(each.observed, now) for each in self._queues}
        shown = {
            name: {"ready": not those, "reasons": [each.reason for each in those]} for name, those in found.items()
        }
        reasons = _named(found) if found else [NO_QUEUE]
        body = {"ready": not reasons, "reasons": [each.reason for each in reasons]}
        body |= {"advice": [each.advice for each in reasons], "queues": shown}
        return JSONResponse(body, 503 if reasons else 200)

    async def status(self, _: Request) -> Response:
        """Return the status of the program, and what matters most of each queue."""
        return JSONResponse(self.answer())

    def answer(self) -> dict[str, Any]:
        """Return the status; see :meth:`status`."""
        now, unix_now = time.monotonic(), time.time()
        found = {each.name: each.served.events.status() for each in self._queues}
        reasons = _named({each.name: unready(each.observed, now) for each in self._queues}) if found else [NO_QUEUE]
        uptime = now - self._board.supervisor.reals[scoreboard.STARTED]
        is_draining = self._board.supervisor.words[scoreboard.STATE] == scoreboard.DRAINING
        return {
            "version": __version__,
            "host": self._host,
            "state": "draining" if is_draining else "ready" if not reasons else _worst(found.values()),
            "reasons": [each.reason for each in reasons],
            "advice": [each.advice for each in reasons],
            "now": round(unix_now, 3),
            "started_at": round(unix_now - uptime, 3),
            "uptime_seconds": round(uptime, 3),
            "pause": None,
            "totals": _sum(each["totals"] for each in found.values()),
            "rates": {
                window: _sum(each["rates"][window] for each in found.values())
                for window in next(iter(found.values()), {"rates": {}})["rates"]
            },
            "queues": {
                name: {key: each.get(key) for key in SHOWN} | {"pause": pause_status(queue.observed.board, now)}
                for (name, each), queue in zip(found.items(), self._queues, strict=True)
            },
        }

    async def metrics(self, request: Request) -> Response:
        """Return the metrics of all queues."""
        wanted = OPENMETRICS if OPENMETRICS in request.headers.get("accept", "") else ""
        encode, content_type = choose_encoder(wanted)
        return Response(encode(self._registry), headers={"Content-Type": content_type})

    async def page(self, _: Request) -> Response:
        """Return the overview, which is made here and needs no script."""
        status = self.answer()
        rows = [_row(name, each) for name, each in status["queues"].items()]
        title = f"Courier on {status['host']}: {status['state']}"
        titles = ("queue", "state", "waiting", "in flight", "delivered/s", "delivered", "breaker", "why")
        head = "".join(f"<th>{each}</th>" for each in titles)
        return HTMLResponse(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" '
            f'content="{REFRESH_SECONDS}"><meta name="viewport" content="width=device-width">'
            f"<title>{html.escape(title)}</title><style>{_STYLE}</style><h1>{html.escape(title)}</h1>"
            f"<table><tr>{head}</tr>{''.join(rows)}</table>"
            '<p><a href="status">status</a> · <a href="metrics">metrics</a> · '
            '<a href="status/ready">status/ready</a></p></html>',
            headers=_HEADERS,
        )


def build_root(board: Scoreboard, queues: Sequence[QueueApi], *, has_page: bool) -> Starlette:
    """Return the application of all queues."""
    root = Root(board, queues)
    routes: list[BaseRoute] = [
        Route("/status/health", root.health),
        Route("/status/ready", root.ready),
        Route("/status", root.status),
        Route("/metrics", root.metrics),
        *([Route("/", root.page)] if has_page else ()),
    ]
    for each in queues:
        # The page asks for what stands beside it, so its address must end with a slash.
        routes.append(Route(f"/queues/{each.name}", _to_page(each.name)))
        routes.append(Mount(f"/queues/{each.name}", each.served.app))
    app = Starlette(routes=routes, exception_handlers={HTTPException: refuse})
    app.router.redirect_slashes = False
    return app


def _to_page(name: str) -> Any:
    async def redirect(_: Request) -> Response:
        return RedirectResponse(f"{name}/", 308)

    return redirect


def _named(found: Mapping[str, Sequence[Unready]]) -> list[Unready]:
    """Return the reasons of all queues, each with the name of its queue."""
    return [Unready(f"queue {name}: {each.reason}", each.advice) for name, reasons in found.items() for each in reasons]


def _worst(found: Iterable[Mapping[str, Any]]) -> str:
    states = [each["state"] for each in found]
    return next((word for word in ("not ready", "starting", "draining") if word in states), "not ready")


def _sum(counts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return {name: round(value, 2) for name, value in total.items()}


def _row(name: str, each: Mapping[str, Any]) -> str:
    waiting = each["queue"]["waiting"]
    is_paused = "" if not each["pause"] else ", paused"
    cells = (
        f'<a href="queues/{name}/">{name}</a>',
        f"{html.escape(each['state'])}{is_paused}",
        "–" if waiting is None else f"{waiting:,}",
        f"{each['in_flight']:,}",
        f"{each['rates']['10s']['delivered']:,.1f}",
        f"{each['totals']['delivered']:,}",
        html.escape(each["breaker"]["state"]),
        html.escape("; ".join(each["reasons"])),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
