"""``courier top``: the running Courier in a terminal, renewed every second."""

from __future__ import annotations

from typing import Any

import click

from courier.cli.status import queue_option, url_option
from courier.config.units import seconds
from courier.terminal.table import SORTS


class _Interval(click.ParamType[Any]):
    name = "seconds, 0.1 to 3600"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(seconds(0.1, 3600).parse(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    "top",
    params=[
        click.Option(
            ["--interval", "-i"],
            type=_Interval(),
            metavar="SECONDS",
            default="1s",
            help="Seconds between two frames.  [default: 1s]",
        ),
        click.Option(
            ["--frames", "-n"], type=click.IntRange(1, 1_000_000), metavar="NUMBER", help="Frames to show, then end."
        ),
        click.Option(["--batch", "-b"], is_flag=True, help="Print frames as plain text, one after another."),
        click.Option(
            ["--sort", "-s"],
            type=click.Choice(list(SORTS), case_sensitive=False),
            default="process",
            help="Column to sort the processes by.  [default: process]",
        ),
        click.Option(["--no-color"], is_flag=True, help="No colours; NO_COLOR does the same."),
        url_option(),
        queue_option(),
    ],
)
def command(
    interval: float, frames: int | None, batch: bool, sort: str, no_color: bool, url: str, queue: str | None
) -> int:
    """Watch the running Courier: state, rates, queue, recipient, processes and last failures.

    Piped or with --batch it prints plain text. Exit codes: 0 ended, 3 the last plain frame had no answer, 130 Ctrl-C.
    """
    # Imported here, because only this command needs rich.
    from courier.terminal.api_client import EXIT_UNREACHABLE
    from courier.terminal.finding import find_api, of_queue
    from courier.terminal.frame import View
    from courier.terminal.screen import is_terminal
    from courier.terminal.top import print_frames, watch

    address, view = of_queue(find_api(url), queue), View(sort=sort)
    if batch or not is_terminal():
        return EXIT_UNREACHABLE if print_frames(address, view, interval, frames) else 0
    return watch(address, view, interval, frames, colours=not no_color)
