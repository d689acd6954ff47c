"""``courier check``: the preflight as a report."""

from __future__ import annotations

import click

from courier.cli.options import config_parameters, valid_config
from courier.config import Config
from courier.errors import EXIT_CANNOT_START, EXIT_DRAINED


@click.command("check", params=config_parameters())
@valid_config
def command(config: Config) -> int:
    """Say whether run could start, line by line, and how to mend what is wrong.

    Takes the options of run. Exit codes: 0 it could, 2 wrong usage, 3 something stands in the way.
    """
    from courier.preflight import preflight

    found = preflight(config, lock_timeout=0.0, connect=True)
    for check in found.checks:
        click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<11}  {check.detail}")
        if check.mend:
            click.echo(f"      {'':<11}  to mend it: {check.mend}")
    return EXIT_DRAINED if found.ok else EXIT_CANNOT_START
