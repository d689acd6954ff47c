"""The metrics of routes: what each pool of senders does. Without routes there is one, of ``--recipient-url``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from courier.api.cumulative import cumulative
from courier.api.observed import Observed
from courier.api.routes import COUNTS, GAUGES, hidden, pools
from courier.process import scoreboard
from courier.process.scoreboard import LATENCY_BOUNDS

PREFIX: Final = "courier_route_"

HELP: Final = {
    "delivered": "Messages that the recipient of the route accepted.",
    "retried": "Failed deliveries of the route that are retried.",
    "rejected": "Rejected messages of the route.",
    "limit": "Deliveries that the senders of the route may have in flight now.",
    "in_flight": "Messages (on a FIFO queue: runs) that the senders of the route hold.",
    "kept": "Messages of the route that failed and are tried again from memory, outside of outages.",
}


def route_metrics(observed: Observed) -> Iterator[Metric]:
    """Yield the metrics of all routes, read from the board now."""
    now, board = time.monotonic(), observed.board
    state = GaugeMetricFamily(
        f"{PREFIX}breaker_state", "The route's circuit breaker: 0 closed, 1 open, 2 half-open.", labels=["route"]
    )
    counters = {name: CounterMetricFamily(PREFIX + name, HELP[name], labels=["route"]) for name in COUNTS}
    gauges = {name: GaugeMetricFamily(PREFIX + name, HELP[name], labels=["route"]) for name in GAUGES}
    text = "Messages hidden for a while because the route had no room."
    hiding = CounterMetricFamily(f"{PREFIX}hidden", text, labels=["route"])
    text = "Time of an attempt to deliver to the recipient of the route, failed ones too."
    latency = HistogramMetricFamily(f"{PREFIX}delivery_seconds", text, labels=["route"])
    for pool in pools(board):
        state.add_metric([pool.name], observed.recipient(now, pool.role).state)
        for name, counter in counters.items():
            counter.add_metric([pool.name], board.total(COUNTS[name], pool.role))
        for name, gauge in gauges.items():
            gauge.add_metric([pool.name], board.gauge(GAUGES[name], now, pool.role))
        hiding.add_metric([pool.name], hidden(board, pool))
        buckets = cumulative(LATENCY_BOUNDS, board.totals(scoreboard.LATENCY, pool.role))
        latency.add_metric([pool.name], buckets, sum(board.real_column(scoreboard.LATENCY_SUM, pool.role)))
    yield from (state, *counters.values(), hiding, *gauges.values(), latency)
