"""``courier run``: the pipeline, until a signal stops it."""

from __future__ import annotations

from collections.abc import Sequence

import click
import structlog

from courier.cli.help import GroupedCommand
from courier.cli.options import config_parameters, valid_config
from courier.config.config import Config
from courier.config.consequences import OptionNote
from courier.log import setup as logging
from courier.process.collection import no_collection

log = structlog.get_logger("courier")


@click.command("run", cls=GroupedCommand, params=config_parameters())
@valid_config
def command(config: Config, notes: Sequence[OptionNote]) -> int:
    """Receive, deliver, record and delete messages until SIGTERM or SIGINT.

    The first signal drains: work in progress is finished. A second one stops at once. SIGTTIN adds a sender, and
    SIGTTOU removes one. SIGUSR1 begins a new audit file. On SIGUSR2 every process prints its stacks.
    """
    logging.configure(config.log_level, config.log_format)
    logging.catch_the_rest()
    for note in notes:
        reason, _, advice = note.reason.partition("; ")
        log.warning("this setting has no effect", name=note.name, reason=reason, advice=advice or "remove it")
    # Imported here, because it imports everything that a worker needs.
    with no_collection():
        from courier.pipeline import run

    return run(config)
