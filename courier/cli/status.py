"""``courier status``: the state of the running Courier, for people and scripts."""

from __future__ import annotations

from typing import Final

import click
import orjson

from courier.errors import CourierError
from courier.terminal.api_client import get
from courier.terminal.feed import STATUS_PATH, not_courier, status_of
from courier.terminal.finding import DEFAULT_URL, find_api
from courier.terminal.report import Report
from courier.terminal.summary import summary

EXIT_READY: Final = 0
EXIT_NOT_READY: Final = 1
READY_PATH: Final = "/status/ready"


def url_option() -> click.Option:
    """Return the option that says where the API is."""
    return click.Option(
        ["--url", "-u"],
        metavar="URL",
        envvar="COURIER_API",
        default=DEFAULT_URL,
        help=f"Where Courier's API is: a URL, or host:port.  [default: {DEFAULT_URL}]",
    )


def output_option() -> click.Option:
    """Return the option of the output's format."""
    choice = click.Choice(["text", "json"], case_sensitive=False)
    return click.Option(["--output", "-o"], type=choice, default="text", help="Format.  [default: text]")


@click.command(
    "status",
    params=[
        click.Option(["--check"], is_flag=True, help="Say in one line whether Courier is ready: exit code 0 or 1."),
        output_option(),
        url_option(),
    ],
)
def command(check: bool, output: str, url: str) -> int:
    """Show the state of the running Courier: whether it is well, and if not, why and what to do.

    Takes at most 3 seconds. Exit codes: 0 shown, or with --check ready; 1 not reachable, or with --check not ready.
    """
    if check:
        return _check(url, as_json=output == "json")
    address = find_api(url)
    report = status_of(address, get(address, STATUS_PATH))
    click.echo(report.json() if output == "json" else "\n".join(summary(report)))
    return EXIT_READY


def _check(url: str, *, as_json: bool) -> int:
    try:
        reason = _why_not_ready(url)
    except CourierError as error:
        reason = str(error)
    if as_json:
        click.echo(orjson.dumps({"ready": not reason, "reason": reason or None}).decode())
    else:
        click.echo(f"not ready: {reason}" if reason else "ready")
    return EXIT_NOT_READY if reason else EXIT_READY


def _why_not_ready(url: str) -> str:
    """Return the first reason with its advice, empty if Courier is ready; raise CourierError without an answer."""
    address = find_api(url)
    answer = get(address, READY_PATH)
    report = Report.parse(answer.body)
    if report is None or not isinstance(report.value("ready"), bool):
        raise not_courier(address, answer.status)
    if report.value("ready") is True and answer.status == 200:
        return ""
    reasons, advice = report.texts("reasons"), report.texts("advice")
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return "; ".join(filter(None, [f"{reasons[0] if reasons else 'no reason given'}{more}", *advice[:1]]))
