"""``courier check``: the preflight as a report."""

from __future__ import annotations

from collections.abc import Sequence

import click

from courier.cli.help import GroupedCommand
from courier.cli.options import config_parameters
from courier.cli.queues import QueueConfig, valid_configs
from courier.config.config import Config
from courier.config.consequences import OptionNote
from courier.errors import EXIT_CANNOT_START, EXIT_DRAINED, require_linux
from courier.log import setup


@click.command("check", cls=GroupedCommand, params=config_parameters())
@valid_configs
def command(queues: Sequence[QueueConfig]) -> int:
    """Check whether run can start, and say how to fix what is wrong.

    Takes the options of run. With [[queue]] tables in the file of --config, all are checked, or the one that --queue
    names. Exit codes: 0 run can start, 2 wrong usage, 3 run, or one of the queues, cannot start.
    """
    require_linux("courier check")
    setup.configure(queues[0].config.log_level, queues[0].config.log_format)
    codes: list[int] = []
    for name, config, notes in queues:
        if name:
            click.echo(f"{chr(10) * bool(codes)}queue {name}")
        codes.append(_check(config, notes))
    return max(codes)


def _check(config: Config, notes: Sequence[OptionNote]) -> int:
    from courier.preflight import preflight
    from courier.risks import cron_job_of_old

    found = preflight(config, lock_timeout=0.0, connect=True)
    for check in found.checks:
        click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<11}  {check.detail}")
        for warning in check.warnings:
            click.echo(f"      {'':<11}  warning: {warning}")
        if check.advice:
            click.echo(f"      {'':<11}  to fix it: {check.advice}")
    if old_job := cron_job_of_old(config):
        click.echo(f"risk  {old_job}")
    for note in notes:
        click.echo(f"note  {note.name} has no effect: {note.reason}")
    return EXIT_DRAINED if found.ok else EXIT_CANNOT_START
