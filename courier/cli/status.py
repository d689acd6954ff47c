"""``courier status``: the state of the running Courier, for people and scripts."""

from __future__ import annotations

import os
from http import HTTPStatus
from pathlib import Path
from typing import Final

import click
import orjson
from click.core import ParameterSource

from courier.control_client import Unreachable, ask
from courier.errors import CourierError
from courier.log.printable import one_line
from courier.terminal.api_client import SECONDS, get
from courier.terminal.feed import STATUS_PATH, not_courier, status_of
from courier.terminal.finding import DEFAULT_URL, find_api, find_control, of_queue
from courier.terminal.report import Report
from courier.terminal.summary import pause_text, summary

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


def queue_option() -> click.Option:
    """Return the option that names one of several queues."""
    return click.Option(["--queue"], metavar="NAME", help="One of the [[queue]] tables of the running Courier.")


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
        queue_option(),
        click.Option(
            ["--control", "socket"],
            metavar="PATH",
            envvar="COURIER_CONTROL",
            help="The control socket, which --check asks where there is one and no --url is given.",
        ),
        # systemd sets the variable. An option, because only click and courier.config read the environment.
        click.Option(["--runtime-directory"], envvar="RUNTIME_DIRECTORY", hidden=True),
    ],
)
@click.pass_context
def command(
    ctx: click.Context,
    check: bool,
    output: str,
    url: str,
    queue: str | None,
    socket: str | None,
    runtime_directory: str | None,
) -> int:
    """Show the state of the running Courier: whether it is well, and if not, why and what to do.

    Takes at most 3 seconds. Exit codes: 0 shown, 3 no Courier answers. With --check: 0 ready, 1 not ready or no answer.
    """
    if check:
        given = ctx.get_parameter_source("url") is ParameterSource.COMMANDLINE
        path = None if given else find_control(socket, runtime_directory)
        return _check(url, path, queue, as_json=output == "json")
    address = of_queue(find_api(url), queue)
    report = status_of(address, get(address, STATUS_PATH))
    click.echo(report.json() if output == "json" else "\n".join(summary(report)))
    return EXIT_READY


def _check(url: str, control: Path | None, queue: str | None, *, as_json: bool) -> int:
    try:
        report, is_ready = _ask_api(url, queue) if control is None else _ask_socket(control, url, queue)
        text = _pause(report) if is_ready else _reason(report)
    except (CourierError, Unreachable) as error:
        is_ready, text = False, one_line(str(error))
    if as_json:
        click.echo(orjson.dumps({"ready": is_ready, "reason": None if is_ready else text}).decode())
    else:
        click.echo(f"ready{text}" if is_ready else f"not ready: {text}")
    return EXIT_READY if is_ready else EXIT_NOT_READY


def _ask_api(url: str, queue: str | None) -> tuple[Report, bool]:
    """Return the answer about readiness, and whether Courier is ready; raise CourierError without an answer."""
    address = of_queue(find_api(url), queue)
    answer = get(address, READY_PATH)
    report = Report.parse(answer.body)
    if report is None or not isinstance(report.value("ready"), bool):
        raise not_courier(address, answer.status)
    return report, report.value("ready") is True and answer.status == HTTPStatus.OK


def _ask_socket(control: Path, url: str, queue: str | None) -> tuple[Report, bool]:
    """Ask the control socket; who may not use it asks the API."""
    if control.exists() and not os.access(control, os.W_OK):
        return _ask_api(url, queue)
    report = Report(ask(control, {"act": "status"} if queue is None else {"act": "status", "queue": queue}, SECONDS))
    if queue is not None and report.text("error"):
        raise Unreachable(report.text("error"))
    if report.value("ok") is not True or not report.text("state"):
        raise Unreachable(f"{control}: what answers there is not Courier; give the path that Courier has as --control")
    return report, report.text("state") == "ready"


def _reason(report: Report) -> str:
    reasons, advice = report.texts("reasons"), report.texts("advice")
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return "; ".join(filter(None, [f"{reasons[0] if reasons else 'no reason given'}{more}", *advice[:1]]))


def _pause(report: Report) -> str:
    return f", paused {text}" if (text := pause_text(report)) else ""
