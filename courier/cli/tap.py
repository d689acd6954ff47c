"""``courier tap``: the attempts of a running Courier as they end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

import click

from courier.cli.status import output_option, queue_option, url_option
from courier.log.printable import escaped, one_line
from courier.log.stderr import write_last_line
from courier.terminal.api_client import MOST_HEAD_BYTES, QUEUES_PATH, Address, Exchange, Unreachable
from courier.terminal.feed import not_courier
from courier.terminal.finding import find_api, of_queue
from courier.terminal.report import Report
from courier.terminal.texts import DASH, seconds

EXIT_REFUSED: Final = 1
SILENCE_SECONDS: Final = 10.0
"""Seconds without a line after which Courier hangs: it says something every second."""

SHARE_EVERY_SECONDS: Final = 10.0
MOST_LINE_BYTES: Final = MOST_HEAD_BYTES


@click.command(
    "tap",
    params=[
        click.Option(["--failures"], is_flag=True, help="Show only attempts that failed."),
        click.Option(["--number", "-n"], type=click.IntRange(1, 1_000_000_000), help="Attempts to show, then end."),
        output_option(),
        url_option(),
        queue_option(),
    ],
)
def command(failures: bool, number: int | None, output: str, url: str, queue: str | None) -> int:
    """Follow attempts to deliver: when each ended, its status, its time, its message, and what became of that.

    Under load it shows a part: at most 50 successes and 50 failures a second for each sender. Exit codes: 0 ended,
    1 refused, 3 no Courier answers, 130 Ctrl-C.
    """
    address = of_queue(find_api(url), queue)
    shown = 0
    with Exchange(address, "/tap?failures=1" if failures else "/tap") as exchange:
        if exchange.status != HTTPStatus.OK:
            return _refused(address, exchange)
        for attempt in _attempts(exchange, failures=failures):
            click.echo(escaped(attempt.line) if output == "json" else _text(attempt.report))
            shown += 1
            if shown == number:
                return 0
    write_last_line("courier tap: Courier has ended")
    return 0


class _Line:
    """An attempt as it came: the ``line`` of JSON, and what it says."""

    def __init__(self, line: str, report: Report) -> None:
        self.line = line
        self.report = report


def _attempts(exchange: Exchange, *, failures: bool) -> Iterator[_Line]:
    """Yield the attempts until Courier ends; raise Unreachable if it falls silent or says what it never would."""
    unread, said = b"", -SHARE_EVERY_SECONDS
    while True:
        exchange.extend(SILENCE_SECONDS)
        piece = exchange.read()
        if not piece:
            return
        *lines, unread = (unread + piece).split(b"\n")
        if len(unread) > MOST_LINE_BYTES:
            raise exchange.fault("what it sends is no line of JSON")
        for line in lines:
            report = Report.parse(line)
            if report is None:
                raise exchange.fault("what it sends is no line of JSON")
            if report.value("attempts") is None:
                yield _Line(line.decode("utf-8", "replace"), report)
            elif (share := _share(report, failures=failures)) and time.monotonic() - said > SHARE_EVERY_SECONDS:
                said = time.monotonic()
                write_last_line(f"courier tap: {share}")


def _share(report: Report, *, failures: bool) -> str:
    """Return which part of the attempts of the last second is shown, empty if all are."""
    noun = "failures" if failures else "attempts"
    of, shown = report.count(noun), report.count("failures_shown" if failures else "shown")
    return f"showing {100 * shown / of:.2g} % of {of:,} {noun} a second" if shown < of else ""


def _text(attempt: Report) -> str:
    when = attempt.text("time").partition("T")[2] or DASH
    again = f"try {attempt.text('attempt')}  " if attempt.count("attempt") > 1 else ""
    facts = (
        when,
        f"{attempt.text('status') or DASH:>3}",
        f"{seconds(attempt.number('seconds')):>7}",
        attempt.text("message_id"),
        again + attempt.text("outcome"),
    )
    return "  ".join(facts)


def _refused(address: Address, exchange: Exchange) -> int:
    """Say why there is no tap; raise Unreachable if it isn't Courier that says so."""
    body = b""
    while len(body) < MOST_LINE_BYTES and (piece := exchange.read()):
        body += piece
    reason = report.text("error") if (report := Report.parse(body[:MOST_LINE_BYTES])) else ""
    if exchange.status == HTTPStatus.NOT_FOUND and QUEUES_PATH in address.path:
        raise not_courier(address, exchange.status)
    if not reason or exchange.status == HTTPStatus.NOT_FOUND:
        what = f"there is no /tap (status {exchange.status})"
        raise Unreachable(f"{address.url}: {what}; give the address of Courier's --api with --url")
    write_last_line(f"courier: error: {one_line(reason)}")
    return EXIT_REFUSED
