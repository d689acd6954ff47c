"""``python -m scripts.scale --rate 5000 --latency 200ms --size 10KB``: what a queue needs, costs, and meets next."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from courier.cli.output import with_output
from courier.config.units import parse_duration
from courier.errors import CannotStart
from scripts.bench.servers import set_aws_environment
from scripts.scale import limits, page, prices
from scripts.scale.measured import SECONDS, measure
from scripts.scale.model import memory_mib
from scripts.scale.plan import AUDITS, CONSUMERS, FILES, Need, Plan, plan, record_bytes

_UNITS = {"b": 1, "kb": 1000, "kib": 1024, "mb": 1000**2, "mib": 1024**2}
MOST_BYTES = 1024**2
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(words: Sequence[str] | None = None) -> int:
    """Answer, measure, or write the page. Return the exit code: 2 for a question that can't be asked."""
    parser = _Parser(prog="python -m scripts.scale", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("answer", "measure", "document"), default="answer")
    parser.add_argument("--rate", type=_positive, help="messages a second in the busiest minute")
    parser.add_argument("--average", type=_positive, default=0.0, help="messages a second over a month")
    parser.add_argument("--latency", type=_duration, default=0.2, help="time that the recipient takes: 200ms, 2s")
    parser.add_argument("--size", type=_size, default=2000, help="size of a body: 220, 10KB, 1MiB")
    parser.add_argument("--queue", choices=limits.QUEUE_TYPES, default=limits.STANDARD)
    parser.add_argument(
        "--groups", type=_number, default=0, help="message groups of a FIFO queue that are busy at a time"
    )
    parser.add_argument("--audit", choices=AUDITS, default=FILES)
    parser.add_argument("--keep", type=_days, default=7.0, help="how long audit records are kept: 7d")
    parser.add_argument(
        "--region", type=_region, default=prices.REGION, help="for the limits; prices are those of us-east-1"
    )
    parser.add_argument("--plain", action="store_true", help="the recipient has no TLS")
    parser.add_argument("--output", type=Path, default=Path("build/bench"), help="where a measurement has its files")
    parser.add_argument("--seconds", type=_positive, default=SECONDS, help="how long each run is measured")
    given = parser.parse_args(words)
    if given.command == "measure":
        try:
            given.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"--output: cannot write to {given.output}: {error.strerror}; give a directory")
        # Every exit must stop the programs that were started.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        set_aws_environment()
        measure(given.output.absolute(), given.seconds)
        return 0
    if given.command == "document":
        page.write(_asked)
        return 0
    if given.rate is None:
        parser.error("--rate is missing: how many messages a second, as --rate 5000")
    if given.average > given.rate:
        parser.error("--average is more than --rate, which is that of the busiest minute")
    need = Need(
        given.rate,
        given.latency,
        given.size,
        average=given.average,
        queue=given.queue,
        groups=given.groups,
        audit=given.audit,
        keep_days=given.keep,
        tls=not given.plain,
        region=given.region,
    )
    try:
        print(answer(plan(need), need))
    except ValueError as error:
        print(f"not with one queue: {error}", file=sys.stderr)
        return 2
    return 0


def answer(found: Plan, need: Need) -> str:
    """Return a plan in words."""
    slots = found.slots
    memory = math.ceil(memory_mib(CONSUMERS, found.senders, slots, need.size))
    of_them = (
        f"{found.instances} instances of {found.machine.name}, of which {found.instances - 1} carry the whole rate"
    )
    asked = (
        f"{need.rate:,.10g} messages a second of {need.size:,.0f} bytes, {page.seconds(need.latency)} at the recipient"
    )
    lines = [
        f"for {asked}:",
        f"  {of_them}",
        f"  each with --consumers {CONSUMERS} --senders {found.senders} --concurrency {found.concurrency}"
        f" ({slots:,} slots, {memory} MiB)",
        f"  {found.cores:.2f} cores in use, {found.calls:.2f} SQS calls a message",
        f"  a month: {_bill(found)} = ${found.month:,.0f} ({prices.REGION}, {prices.AS_OF}, list prices)",
    ]
    if need.audit == FILES:
        gigabytes = need.mean * 86_400 * record_bytes(need) / 1e9
        lines.append(f"  audit log: {gigabytes:,.1f} GB a day in all, before compression")
    lines.append("limits, the next one first:")
    for bound in found.bounds:
        passed = " before that" if bound.rate < need.rate else ""
        lines.append(f"  {page.rounded(bound.rate):>9,} a second: {bound.name}; {bound.remedy}{passed}")
    return "\n".join(lines)


def _asked(words: Sequence[str]) -> str:
    """Return what a question prints, on whichever stream."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        main(words)
    return shown.getvalue()


def _bill(found: Plan) -> str:
    return " + ".join(f"{name} ${dollars:,.0f}" for name, dollars in found.bill.items())


def _positive(text: str) -> float:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number above 0")
    return value


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} isn't a whole number")
    return int(text)


def _duration(text: str) -> float:
    return _between(text, parse_duration(text), "a time such as 200ms, up to 12h", 43_200)


def _days(text: str) -> float:
    return _between(text, parse_duration(text), "a time such as 7d", math.inf) / 86_400


def _size(text: str) -> float:
    digits = text.rstrip("BbKkIiMm")
    try:
        value = float(digits) * _UNITS[text[len(digits) :].lower() or "b"]
    except (KeyError, ValueError):
        value = None
    return _between(text, value, "a size such as 10KB, up to 1MiB", MOST_BYTES, least=1)


def _region(text: str) -> str:
    if not _REGION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a region such as {prices.REGION}")
    return text


def _between(text: str, value: float | None, what: str, most: float, least: float = 0.0) -> float:
    if value is None or not (0 < value <= most and value >= least):
        raise argparse.ArgumentTypeError(f"{text!r} isn't {what}")
    return value


if __name__ == "__main__":
    try:
        sys.exit(with_output(main))
    except CannotStart as error:
        print(f"python -m scripts.scale: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
