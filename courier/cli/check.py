"""``courier check``: the preflight as a report."""

from __future__ import annotations

from collections.abc import Sequence

import click

from courier.cli.help import GroupedCommand
from courier.cli.options import config_parameters, valid_config
from courier.config.config import Config
from courier.config.consequences import OptionNote
from courier.errors import EXIT_CANNOT_START, EXIT_DRAINED
from courier.log import setup


@click.command("check", cls=GroupedCommand, params=config_parameters())
@valid_config
def command(config: Config, notes: Sequence[OptionNote]) -> int:
    """Check whether run can start, and say how to fix what is wrong.

    Takes the options of run. Exit codes: 0 run can start, 2 wrong usage, 3 run cannot start.
    """
    from courier.preflight import preflight
    from courier.risks import cron_job_of_old

    setup.configure(config.log_level, config.log_format)
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
