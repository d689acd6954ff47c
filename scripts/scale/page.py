"""The tables of docs/sizing.md: plans, prices, limits, the simulation, and the runs beside the model."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from scripts.bench.scenario import table
from scripts.scale import limits, measured, prices
from scripts.scale.instance import Setting
from scripts.scale.measured import RECIPIENT_MS, SLOTS, Run
from scripts.scale.model import Prediction, predict
from scripts.scale.plan import ALL_SLOTS, Need, Plan, plan
from scripts.scale.simulation import Outcome, simulate

PAGE: Final = Path("docs/sizing.md")
_ASKED: Final = re.compile(
    r"(?P<head>^```console\n\$ python -m scripts\.scale (?P<words>.*)\n)(?:.*\n)*?(?=^```)", re.MULTILINE
)
_BLOCK: Final = re.compile(r"<!-- (?P<name>[a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)
RATES: Final = (10, 100, 1_000, 5_000, 20_000, 100_000)
LATENCIES: Final = (0.02, 0.2, 2.0)
SIZE: Final = 2_000
GROWTH: Final = (1, 2, 4, 10, 50, 200)
FIFO_INSTANCES: Final = (1, 2, 4, 8, 16)
TOLERANCE: Final = 0.15
FIGURES: Final = ("rate", "receives", "deletes", "in_flight")
"""The figures of a run that the model predicts."""


FIFO_FIGURES: Final = ("rate", "receives", "deletes")


def setting_of(run: Run) -> Setting:
    """Return the setting of a measured run. Messages come at random: what came in it is what was offered."""
    offered = run.rate if run.offered else 0.0
    calls = run.limit or math.inf
    # So long that chance is no reason for a difference.
    lasting = 20.0 if run.rate > 200 else 80.0
    warm_up = 10.0 if run.groups else 4.0
    where = Setting(run.instances, SLOTS, RECIPIENT_MS / 1000, offered, run.distance, run.groups, calls)
    return where._replace(warm_up=warm_up, seconds=lasting)


def write(ask: Callable[[Sequence[str]], str], page: Path = PAGE) -> None:
    """Put each table between ``<!-- NAME -->`` and ``<!-- end -->`` of the page, and under each question what it gets.

    ``ask`` returns the answer to the words of a question.
    """
    text = rendered(page.read_text(), TABLES)
    page.write_text(_ASKED.sub(lambda match: match["head"] + ask(shlex.split(match["words"])), text))
    print(f"written: {page}")


def rendered(text: str, names: Mapping[str, Callable[[], str]]) -> str:
    """Return the text of a page with these tables made anew."""

    def newest(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- {name} -->\n{names[name]()}\n<!-- end -->" if name in names else match[0]

    return _BLOCK.sub(newest, text)


def plans() -> str:
    """Render the plans for rates and latencies."""
    rows = []
    for rate in RATES:
        for latency in LATENCIES:
            need = Need(rate, latency, SIZE)
            try:
                rows.append([f"{rate:,}", seconds(latency), *_cells(plan(need), need)])
            except ValueError as error:
                rows.append([f"{rate:,}", seconds(latency), f"not with one queue: {error}", *[""] * 6])
    columns = ["messages a second", "recipient takes", "instances", "each: senders × concurrency", "cores in use"]
    return table([*columns, "SQS calls a message", "SQS, $", "EC2, $", "next limit"], rows)


def _cells(found: Plan, need: Need) -> list[str]:
    # A quarter more slots than the rate needs are there, and an option gives more of them.
    first = next(bound for bound in found.bounds if bound.name != ALL_SLOTS)
    return [
        f"{found.instances} × {found.machine.name}",
        f"{found.senders} × {found.concurrency:,}",
        f"{found.cores:.1f}",
        f"{found.calls:.2f}",
        f"{found.bill['SQS']:,.0f}",
        f"{found.bill['EC2']:,.0f}",
        f"{first.name} at {rounded(first.rate):,}",
    ]


def growth() -> str:
    """Render the simulation of more and more instances on a full queue, and on one that gets 200 a second for each."""
    rows = []
    for instances in GROWTH:
        full = simulate(Setting(instances, seconds=2.0))
        steady = simulate(Setting(instances, offered=200.0 * instances, seconds=2.0))
        rows.append(
            [
                str(instances),
                f"{full.rate:,.0f}",
                f"{full.receives + full.deletes:.2f}",
                f"{full.in_flight:,.0f}",
                f"{full.least:.0%} to {full.most:.0%}",
                f"{200 * instances:,}",
                f"{steady.receives + steady.deletes:.2f}",
                f"{steady.in_flight:,.0f}",
            ]
        )
    columns = ["instances", "full queue: msg/s", "calls/msg", "in flight", "share of each", "quiet queue: msg/s"]
    return table([*columns, "calls/msg", "in flight"], rows)


def fifo() -> str:
    """Render the simulation of a FIFO queue without high throughput."""
    rows = []
    for instances in FIFO_INSTANCES:
        full, steady = (
            simulate(Setting(instances, groups=2000, calls=limits.FIFO_CALLS.value, offered=offered, seconds=8.0))
            for offered in (0.0, 1000.0)
        )
        cells = [
            [f"{each.rate:,.0f}", f"{each.receives + each.deletes:.2f}", f"{each.throttled:,.0f}"]
            for each in (full, steady)
        ]
        rows.append([str(instances), *cells[0], *cells[1]])
    columns = ["instances", "full queue: msg/s", "calls/msg", "throttled/s"]
    return table([*columns, "1,000 a second: msg/s", "calls/msg", "throttled/s"], rows)


def runs() -> str:
    """Render the measured runs, and beside each figure the ratio of the model and of the simulation to it."""
    machine, found = measured.recorded()
    rows = []
    for run in found:
        if not run.groups:
            setting = setting_of(run)
            predicted = (predict(setting), simulate(setting))
            cells = [_beside(run, name, *predicted) for name in FIGURES]
            rows.append([str(run.instances), _offered(run), *cells, f"{run.least:.0%}"])
    where = f"{machine['cores']} cores of {machine['processor']}, Linux {machine['kernel']}, Python {machine['python']}"
    head = f"{machine['at'][:10]}, commit {machine['commit']}, {where}.\n\n"
    columns = ["instances", "messages a second", "msg/s", "receives/msg", "deletes/msg", "in flight", "least share"]
    return head + table(columns, rows)


def fifo_runs() -> str:
    """Render the measured runs on a FIFO queue, and beside each figure the ratio of the simulation to it."""
    rows = []
    for run in measured.recorded()[1]:
        if run.groups:
            simulated = simulate(setting_of(run))
            cells = [_beside(run, name, simulated) for name in FIFO_FIGURES]
            rows.append([str(run.instances), _offered(run), *cells, f"{run.throttled:.0f}"])
    return table(["instances", "messages a second", "msg/s", "receives/msg", "deletes/msg", "throttled/s"], rows)


def _offered(run: Run) -> str:
    return f"{run.offered:.0f}" if run.offered else "full queue"


def _beside(run: Run, name: str, *predicted: Prediction | Outcome) -> str:
    value = getattr(run, name)
    shown = f"{value:,.0f}" if value > 10 else f"{value:.3f}"
    return f"{shown} ({', '.join(f'×{getattr(each, name) / value:.2f}' for each in predicted)})"


def price_table() -> str:
    """Render the prices."""
    rows = [[what, dollars, f"<{page}>"] for what, dollars, page in prices.PRICES]
    return f"{prices.REGION}, {prices.AS_OF}.\n\n" + table(["what", "$", "source"], rows)


def limit_table() -> str:
    """Render the limits."""
    known = (limits.IN_FLIGHT, limits.FIFO_CALLS, limits.FIREHOSE_CALLS, limits.FIREHOSE_BYTES)
    rows = [[each.name, f"{each.value:,.0f}", each.beyond, f"<{each.source}>"] for each in known]
    for value in sorted({*limits.HIGH_THROUGHPUT.values()}, reverse=True):
        regions = ", ".join(name for name, number in limits.HIGH_THROUGHPUT.items() if number == value)
        rows.append(
            [f"the same with high throughput in {regions}", f"{value:,}", "ThrottlingException", f"<{limits.QUOTAS}>"]
        )
    elsewhere = f"{limits.HIGH_THROUGHPUT_ELSEWHERE:,}"
    rows.append(["the same with high throughput elsewhere", elsewhere, "ThrottlingException", f"<{limits.QUOTAS}>"])
    return table(["limit", "value", "beyond it", "source"], rows)


def seconds(value: float) -> str:
    """Show a duration."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:g} s"


def rounded(value: float) -> int:
    """Return a figure with two digits that count."""
    if value < 100:
        return round(value)
    digits = math.floor(math.log10(value)) - 1
    return int(round(value, -digits))


QUICK: Final[dict[str, Callable[[], str]]] = {"plans": plans, "prices": price_table, "limits": limit_table}
TABLES: Final[dict[str, Callable[[], str]]] = {
    **QUICK,
    "growth": growth,
    "fifo": fifo,
    "runs": runs,
    "fiforuns": fifo_runs,
}
