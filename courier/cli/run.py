"""``courier run``: the pipeline, until a signal stops it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import click
import structlog

from courier.cli import usage_line
from courier.cli.help import GroupedCommand
from courier.cli.options import config_parameters, valid_config
from courier.config.config import Config
from courier.config.consequences import OptionNote
from courier.errors import ConfigError
from courier.log import setup as logging
from courier.process.collection import no_collection

_ARGUMENTS: Final = "courier.arguments"
"""The key of a context's ``meta`` for the arguments of run."""

log = structlog.get_logger("courier")


class _Run(GroupedCommand):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@click.command("run", cls=_Run, params=config_parameters())
@valid_config
def command(config: Config, notes: Sequence[OptionNote]) -> int:
    """Receive, deliver, record and delete messages until SIGTERM or SIGINT.

    The first signal drains: work in progress is finished. A second one stops at once. SIGTTIN adds a sender, and
    SIGTTOU removes one. SIGUSR1 begins a new audit file. On SIGUSR2 every process prints its stacks. SIGHUP reads the
    file of --config again.
    """
    logging.configure(config.log_level, config.log_format)
    logging.catch_the_rest()
    warn_of(notes)
    # Imported here, because it imports everything that a worker needs.
    with no_collection():
        from courier.pipeline import run

    context = click.get_current_context()
    # Without a file there is nothing to read again: neither the arguments nor the environment of a process change.
    has_file = context.default_map is not None
    return run(config, partial(read_again, context.meta[_ARGUMENTS]) if has_file else None)


def warn_of(notes: Sequence[OptionNote]) -> None:
    """Log the settings that have no effect."""
    for note in notes:
        reason, _, advice = note.reason.partition("; ")
        log.warning("this setting has no effect", name=note.name, reason=reason, advice=advice or "remove it")


def read_again(arguments: Sequence[str]) -> Config:
    """Return the configuration that a start with these arguments would have now, with the file as it is now.

    Log the settings without effect. Raise ConfigError with the line to show.
    """
    found: list[Config] = []

    @click.command("run", params=config_parameters())
    @valid_config
    def parse(config: Config, notes: Sequence[OptionNote]) -> int:
        warn_of(notes)
        found.append(config)
        return 0

    try:
        parse.main(list(arguments), prog_name="courier", standalone_mode=False)
    except click.ClickException as error:
        raise ConfigError(usage_line(error)) from None
    return found[0]
