"""``courier run``: the pipeline, until it is told to stop."""

from __future__ import annotations

import click

from courier import log
from courier.cli.options import config_parameters, valid_config
from courier.config import Config


@click.command("run", params=config_parameters())
@valid_config
def command(config: Config) -> int:
    """Receive, deliver, record, delete; SIGTERM or SIGINT drains and ends it.

    A second signal stops at once. SIGTTIN and SIGTTOU: one sender more or fewer. SIGUSR1: begin a new audit
    file. SIGUSR2: every process prints its stacks.
    """
    log.configure(config.log_level, config.log_format)
    # Imported here: it brings everything that a worker needs.
    from courier.pipeline import run

    return run(config)
