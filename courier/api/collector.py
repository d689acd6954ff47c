"""The metrics, read from the scoreboard at each scrape; docs/metrics.md explains each of them.

A slot keeps its counters when its worker is replaced, so counters return to zero only when the whole program restarts.
Every label has a fixed set of values. All series exist from the start, as zeros, because a rate needs two points.
"""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from courier import __version__
from courier.api.observed import Observed
from courier.api.readiness import draining, not_ready
from courier.api.status import SILENT, STATES, state_of
from courier.board.pause import is_paused
from courier.board.shortage import RESOURCES, shortages
from courier.board.tally import ACTIONS, REASONS, RESULTS
from courier.process import scoreboard
from courier.process.scoreboard import EMPTY, SUPERVISOR, WORDS
from courier.process.word_table import Kind

PREFIX: Final = "courier_"

LABELS: Final = {"reason": REASONS, "resource": RESOURCES}
"""The values of each label, in the order of the words that hold its counts."""

CAUSES: Final = (
    ("exit", scoreboard.RESTARTS_EXIT),
    ("signal", scoreboard.RESTARTS_SIGNAL),
    ("hung", scoreboard.RESTARTS_HUNG),
)


class BoardCollector(Collector):
    """The collector of all metrics, for a registry of prometheus_client."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._board = observed.board

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, read from the board now."""
        yield from self._program()
        yield from self._words()
        yield from self._calls()
        yield self._short_senders()
        yield from self._recipient()
        yield from self._channels()
        yield from self._workers()

    def _program(self) -> Iterator[Metric]:
        now, board = time.monotonic(), self._board
        build = _gauge("build_info", "What runs; always 1.", ["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        started = board.supervisor.reals[scoreboard.STARTED]
        yield _one(GaugeMetricFamily, "start_time_seconds", "When the program started, Unix time.", _unix(started, now))
        ready = not not_ready(self._observed, now)
        yield _one(GaugeMetricFamily, "ready", "1 while GET /status/ready says so.", ready)
        yield _one(GaugeMetricFamily, "draining", "1 while the program stops.", draining(board))
        failing = board.gauge(scoreboard.AUDIT_FAILING, now) > 0
        yield _one(GaugeMetricFamily, "audit_failing", "1 while the audit log can't be written.", failing)
        last = max((slot.reals[scoreboard.LAST_RECEIVE] for slot in board.slots("consumer")), default=0.0)
        text = "When SQS last answered a receive, Unix time; 0 before the first."
        yield _one(GaugeMetricFamily, "last_receive_timestamp_seconds", text, _unix(last, now) if last else 0)

    def _recipient(self) -> Iterator[Metric]:
        recipient = self._observed.recipient(time.monotonic())
        text = "The circuit breaker: 0 closed, 1 open, 2 half-open."
        yield _one(GaugeMetricFamily, "breaker_state", text, recipient.state)
        text = "1 while receiving is stopped because the recipient refuses messages."
        yield _one(GaugeMetricFamily, "stopped_by_refusals", text, recipient.refused > 0)
        text = "Seconds left of the pause that the recipient asked for; 0 for none."
        yield _one(GaugeMetricFamily, "paused_seconds", text, recipient.paused)
        text = "1 while a person has paused receiving (courier pause)."
        yield _one(GaugeMetricFamily, "receiving_paused", text, is_paused(self._board))

    def _words(self) -> Iterator[Metric]:
        board, now = self._board, time.monotonic()
        for word in WORDS:
            if Kind.METRIC not in word.kind:
                continue
            if word.bounds:
                histogram = HistogramMetricFamily(PREFIX + word.name, word.help)
                sum_of_seconds = board.total_real(word.place + word.size)
                histogram.add_metric([], _cumulative(word.bounds, board.totals(word.place)), sum_of_seconds)
                yield histogram
            elif word.label:
                counters = _counter(word.name, word.help, [word.label])
                for value, count in zip(LABELS[word.label], board.totals(word.place), strict=False):
                    counters.add_metric([value], count)
                yield counters
            elif Kind.GAUGE in word.kind:
                yield _one(GaugeMetricFamily, word.name, word.help, board.gauge(word.place, now))
            else:
                yield _one(CounterMetricFamily, word.name, word.help, board.total(word.place))

    def _channels(self) -> Iterator[Metric]:
        depth = _gauge("channel_depth", "What waits between two stages: messages (runs), or outcomes.", ["channel"])
        size = _gauge("channel_bytes", "Bytes that wait between two stages.", ["channel"])
        for channel, waiting in self._observed.depths().items():
            depth.add_metric([channel], waiting.waiting)
            size.add_metric([channel], waiting.bytes)
        yield from (depth, size)

    def _calls(self) -> Iterator[Metric]:
        calls = _counter("sqs_calls", "Requests to SQS that ended, failed ones too.", ["action"])
        errors = _counter("sqs_errors", "Requests to SQS that failed.", ["action", "code"])
        counts = self._board.totals(scoreboard.CALLS)
        for action, start in zip(ACTIONS, itertools.count(0, len(RESULTS)), strict=False):
            those = counts[start : start + len(RESULTS)]
            calls.add_metric([action], sum(those))
            for result, count in zip(RESULTS[1:], those[1:], strict=True):
                errors.add_metric([action, result], count)
        yield from (calls, errors)

    def _short_senders(self) -> Metric:
        senders = _gauge("short_senders", "Senders that deliver fewer messages at a time for that.", ["resource"])
        now = shortages(self._board, time.monotonic())
        for resource in RESOURCES:
            senders.add_metric([resource], now.get(resource, 0))
        return senders

    def _workers(self) -> Iterator[Metric]:
        workers = _gauge("workers", "Worker processes by role and state.", ["role", "state"])
        now = time.monotonic()
        restarts = _counter("worker_restarts", "Workers replaced, by cause.", ["role", "cause"])
        for role in self._board.roles():
            if role == SUPERVISOR:
                continue
            states = [state_of(slot, now) for slot in self._board.slots(role)]
            for state in (*STATES[EMPTY + 1 :], SILENT):
                workers.add_metric([role, state], states.count(state))
            for cause, word in CAUSES:
                restarts.add_metric([role, cause], self._board.total(word, role))
        yield from (workers, restarts)


def _one(family: Callable[..., Metric], name: str, text: str, value: float) -> Metric:
    return family(PREFIX + name, text, value=value)


def _counter(name: str, text: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, labels=labels)


def _gauge(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)


def _unix(monotonic: float, now: float) -> float:
    return time.time() - (now - monotonic)


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    names = ["+Inf" if bound == float("inf") else repr(bound) for bound in bounds]
    return list(zip(names, itertools.accumulate(counts), strict=True))
