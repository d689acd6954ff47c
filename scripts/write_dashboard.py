"""Write deploy/grafana/courier.json, the Grafana dashboard, from the metrics that Courier has: ``make docs``.

The first rows answer an operator's questions and are written below. The last row has a panel for each metric that no
other panel shows, so that a new one can't be forgotten.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from prometheus_client.core import Metric

from courier.api.collector import BoardCollector
from courier.api.observed import Observed
from courier.process.scoreboard import Scoreboard

PAGE: Final = Path(__file__).parents[1] / "deploy" / "grafana" / "courier.json"
ROLES: Final = ("consumer", "sender", "auditor", "api")
UID: Final = "courier-overview"
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
CHOSEN: Final = 'job=~"$job", instance=~"$instance", queue=~"$queue"'
"""The matchers that every query has. A program without [[queue]] tables has no label ``queue``: then it is empty."""

COLUMNS: Final = 24
HEIGHT: Final = 8
"""Width of a row and height of a panel, in Grafana's grid."""

SECONDS: Final = "s"
BYTES: Final = "bytes"
PER_SECOND: Final = "ops"
COUNT: Final = "short"


class Query(NamedTuple):
    """A query of a panel, and the legend of its series."""

    expression: str
    legend: str


class Panel(NamedTuple):
    """A panel: title, what it tells and what to do about it, unit, queries, and width in columns."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    width: int = 8
    kind: str = "timeseries"


class Row(NamedTuple):
    """A row of panels; one that ``is_closed`` is folded at first."""

    title: str
    panels: Sequence[Panel]
    is_closed: bool = False


def gauge(name: str, legend: str, by: str = "") -> Query:
    """Return the query of a gauge, summed over the instances; ``by`` keeps a label."""
    return Query(f"sum{f' by ({by})' if by else ''} (courier_{name}{{{CHOSEN}}})", legend)


def rate(name: str, legend: str, by: str = "") -> Query:
    """Return the query of a counter: how much it grows a second."""
    grows = f"rate(courier_{name}_total{{{CHOSEN}}}[$__rate_interval])"
    return Query(f"sum{f' by ({by})' if by else ''} ({grows})", legend)


def quantiles(name: str) -> list[Query]:
    """Return the queries of a histogram: half, nine of ten and 99 of 100 are at most that."""
    buckets = f"sum by (le) (rate(courier_{name}_bucket{{{CHOSEN}}}[$__rate_interval]))"
    return [Query(f"histogram_quantile({part}, {buckets})", f"p{part * 100:g}") for part in (0.5, 0.9, 0.99)]


ROWS: Final = (
    Row(
        "Is it well?",
        (
            Panel(
                "Ready",
                "1 for each instance that does its work. With 0, GET /status/ready says why, and what to do.",
                COUNT,
                [Query(f"courier_ready{{{CHOSEN}}}", "{{instance}} {{queue}}")],
                6,
                "stat",
            ),
            Panel(
                "Circuit breaker",
                "0 closed, 1 open, 2 half-open. While it is open nothing is received, and messages wait in the queue.",
                COUNT,
                [Query(f"max by (instance, queue) (courier_breaker_state{{{CHOSEN}}})", "{{instance}} {{queue}}")],
                6,
                "stat",
            ),
            Panel(
                "Stopped by refusals",
                "1 while the recipient refuses messages and receiving has stopped: a person must act.",
                COUNT,
                [
                    gauge("stopped_by_refusals", "stopped by refusals"),
                    gauge("audit_failing", "audit log failing"),
                    gauge("archive_full", "archive full"),
                    gauge("draining", "draining"),
                    gauge("receiving_paused", "paused by a person"),
                ],
                6,
                "stat",
            ),
            Panel(
                "Running since",
                "When each instance started, and what runs.",
                "dateTimeAsIso",
                [
                    Query(f"courier_start_time_seconds{{{CHOSEN}}} * 1000", "{{instance}} {{queue}}"),
                ],
                6,
                "stat",
            ),
        ),
    ),
    Row(
        "What becomes of the messages",
        (
            Panel(
                "Messages a second",
                "Received, delivered, recorded and deleted run side by side. A line that falls behind shows the stage "
                "that is slow.",
                PER_SECOND,
                [rate(name, name) for name in ("received", "delivered", "recorded", "deleted")],
                12,
            ),
            Panel(
                "Failed deliveries",
                "Deliveries that are retried, by reason. docs/metrics.md explains each reason.",
                PER_SECOND,
                [rate("retried", "{{reason}}", "reason")],
                6,
            ),
            Panel(
                "Rejected and refused",
                "Messages that a retry would not help, by reason, and messages that the recipient refused.",
                PER_SECOND,
                [rate("rejected", "{{reason}}", "reason"), rate("refused", "refused")],
                6,
            ),
        ),
    ),
    Row(
        "How long it takes",
        (
            Panel(
                "Time of an attempt",
                "From the request to its outcome, failed attempts too.",
                SECONDS,
                quantiles("delivery_seconds"),
            ),
            Panel(
                "Age at delivery",
                "From when a message was sent to SQS until the recipient took it. It grows when messages wait.",
                SECONDS,
                quantiles("end_to_end_seconds"),
            ),
            Panel(
                "Time to make records durable",
                "One fdatasync or PutRecordBatch for a group of records. A slow disk shows here first.",
                SECONDS,
                quantiles("audit_sync_seconds"),
            ),
        ),
    ),
    Row(
        "The archive of the audit log",
        (
            Panel(
                "Audit files that wait for the archive",
                "They are on this machine alone. The log says why uploads fail.",
                COUNT,
                [gauge("archive_waiting_segments", "waiting"), gauge("archive_failing", "failing")],
            ),
            Panel(
                "Bytes that wait for the archive",
                "At --audit-keep-bytes, intake pauses.",
                BYTES,
                [gauge("archive_waiting_bytes", "waiting")],
            ),
            Panel(
                "Age of what waits for the archive",
                "Since the oldest of these files ended.",
                SECONDS,
                [Query(f"max by (instance) (courier_archive_oldest_seconds{{{CHOSEN}}})", "{{instance}}")],
            ),
            Panel(
                "Uploads to the archive",
                "Files that it confirmed, and failures.",
                PER_SECOND,
                [rate("archived_segments", "archived"), rate("archive_failures", "failed")],
            ),
        ),
    ),
    Row(
        "What is under way",
        (
            Panel(
                "Deliveries in flight",
                "Messages that senders hold, and how many they may hold. At the limit, the recipient is what is slow.",
                COUNT,
                [gauge("in_flight", "in flight"), gauge("limit", "limit"), gauge("kept", "kept after a failure")],
            ),
            Panel(
                "Between the stages",
                "What waits for a sender (work) or for the auditor (acks), and receipts that the auditor holds.",
                COUNT,
                [gauge("channel_depth", "{{channel}}", "channel"), gauge("held", "held"), gauge("asked", "asked for")],
            ),
            Panel(
                "Bytes between the stages",
                "They bound the memory of a burst.",
                BYTES,
                [gauge("channel_bytes", "{{channel}}", "channel"), gauge("held_bytes", "held")],
            ),
        ),
    ),
    Row(
        "SQS and the processes",
        (
            Panel(
                "Calls to SQS",
                "Requests that ended, by action.",
                PER_SECOND,
                [rate("sqs_calls", "{{action}}", "action")],
            ),
            Panel(
                "Failed calls to SQS",
                "By action and result. The log says what to do about each.",
                PER_SECOND,
                [rate("sqs_errors", "{{action}} {{code}}", "action, code")],
            ),
            Panel(
                "Workers",
                "Processes by role and state. A silent one is stopped or starved of CPU.",
                COUNT,
                [gauge("workers", "{{role}} {{state}}", "role, state")],
            ),
            Panel(
                "Workers replaced",
                "By role and cause. The line 'worker died' in the log says why.",
                PER_SECOND,
                [rate("worker_restarts", "{{role}} {{cause}}", "role, cause")],
            ),
            Panel(
                "Shortages of this machine",
                "Deliveries that waited for descriptors, ports or memory, and senders that deliver fewer for that.",
                COUNT,
                [
                    rate("shortages", "{{resource}}", "resource"),
                    gauge("short_senders", "senders short of {{resource}}", "resource"),
                ],
            ),
            Panel(
                "Lost, late or doubled",
                "All of these are 0 on a good day. docs/metrics.md says what each means.",
                PER_SECOND,
                [
                    rate(name, name.replace("_", " "))
                    for name in ("records_lost", "lapsed", "stale", "expired", "cut", "unsettled", "audit_failures")
                ],
            ),
        ),
    ),
)


class Unread:
    """An empty channel, as :class:`courier.process.scoreboard.Unread` has it."""

    def unread_bytes(self) -> int:
        """Return that nothing waits."""
        return 0


def families() -> list[Metric]:
    """Return every metric of Courier, as a scrape of a program without traffic shows it."""
    board = Scoreboard.create(dict.fromkeys(ROLES, 1))
    return list(BoardCollector(Observed(board, Unread(), Unread())).collect())


def rest(rows: Sequence[Row], metrics: Sequence[Metric]) -> Iterator[Panel]:
    """Yield a panel for each metric that no row shows."""
    shown = " ".join(query.expression for row in rows for panel in row.panels for query in panel.queries)
    for metric in metrics:
        name = metric.name.removeprefix("courier_")
        names = {"counter": f"{metric.name}_total{{", "histogram": f"{metric.name}_bucket{{"}
        if names.get(metric.type, f"{metric.name}{{") in shown:
            continue
        labels = ", ".join(sorted({label for sample in metric.samples for label in sample.labels} - {"le"}))
        legend = " ".join(f"{{{{{label}}}}}" for label in labels.split(", ")) if labels else name.replace("_", " ")
        unit = BYTES if "bytes" in name else SECONDS if "seconds" in name else COUNT
        if metric.type == "counter":
            yield Panel(_title(name), metric.documentation, PER_SECOND, [rate(name, legend, labels)], 6)
        elif metric.type == "histogram":
            yield Panel(_title(name), metric.documentation, unit, quantiles(name), 6)
        else:
            yield Panel(_title(name), metric.documentation, unit, [gauge(name, legend, labels)], 6)


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    rows = [*ROWS, Row("Everything else", list(rest(ROWS, families())), is_closed=True)]
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        head = _row(row, len(panels) + 1, y)
        panels.append(head)
        members = list(_members(row.panels, y + 1, first=1000 * len(panels)))
        y = max(member["gridPos"]["y"] for member in members) + HEIGHT
        if row.is_closed:
            head["panels"] = members
        else:
            panels += members
    return {
        "uid": UID,
        "title": "Courier",
        "description": "SQS messages on their way to an HTTP recipient. Written by make docs; copy it to change it.",
        "tags": ["courier", "sqs"],
        "editable": False,
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_datasource(), _variable("job", "courier_build_info"), _instances(), _queues()]},
        "panels": panels,
    }


def _members(panels: Sequence[Panel], y: int, first: int) -> Iterator[dict[str, Any]]:
    x = 0
    for number, panel in enumerate(panels, first):
        if x + panel.width > COLUMNS:
            x, y = 0, y + HEIGHT
        yield _panel(panel, number, x, y)
        x += panel.width


def _row(row: Row, number: int, y: int) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
    return {
        "id": number,
        "type": "row",
        "title": row.title,
        "collapsed": row.is_closed,
        "gridPos": place,
        "panels": [],
    }


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}} if panel.kind == "timeseries" else {},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": DATASOURCE,
                "expr": query.expression,
                "legendFormat": query.legend,
            }
            for place, query in enumerate(panel.queries)
        ],
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(name: str, metric: str) -> dict[str, Any]:
    query = f"label_values({metric}, {name})"
    return {
        "name": name,
        "label": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": query,
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
    }


def _instances() -> dict[str, Any]:
    return _variable("instance", 'courier_build_info{job=~"$job"}')


def _queues() -> dict[str, Any]:
    """Return the variable of the [[queue]] tables; all of them include a program that has none."""
    chosen = {"selected": True, "text": ["All"], "value": ["$__all"]}
    variable = _variable("queue", 'courier_build_info{job=~"$job", instance=~"$instance"}')
    return variable | {"allValue": ".*", "current": chosen}


def text() -> str:
    """Return the content of the file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    path.write_text(text())
