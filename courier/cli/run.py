"""``courier run``: the pipeline, until a signal stops it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import click
import structlog

from courier.cli import usage_line
from courier.cli.help import GroupedCommand
from courier.cli.options import config_parameters, read_config
from courier.cli.queues import QueueConfig, read_each, read_one, valid_configs
from courier.config.config import Config
from courier.config.consequences import OptionNote
from courier.errors import ConfigError, require_linux
from courier.log import setup as logging
from courier.process.collection import no_collection

_ARGUMENTS: Final = "courier.arguments"
"""The key of a context's ``meta`` for the arguments of run."""

T = TypeVar("T")

log = structlog.get_logger("courier")


class _Run(GroupedCommand):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@click.command("run", cls=_Run, params=config_parameters())
@valid_configs
def command(queues: Sequence[QueueConfig]) -> int:
    """Receive, deliver, record and delete messages until SIGTERM or SIGINT.

    The first signal drains: work in progress is finished. A second one stops at once. SIGTTIN adds a sender, and
    SIGTTOU removes one. SIGUSR1 begins a new audit file. On SIGUSR2 every process prints its stacks. SIGHUP reads the
    file of --config again.
    """
    require_linux("courier run")
    name, config, notes = queues[0]
    logging.configure(config.log_level, config.log_format)
    logging.catch_the_rest()
    if name:
        return _run_queues(queues)
    warn_of(notes)
    # Imported here, because it imports everything that a worker needs.
    with no_collection():
        from courier.pipeline import run

    context = click.get_current_context()
    # Without a file there is nothing to read again: neither the arguments nor the environment of a process change.
    has_file = context.default_map is not None
    return run(config, partial(read_again, context.meta[_ARGUMENTS]) if has_file else None)


def _run_queues(queues: Sequence[QueueConfig]) -> int:
    for name, _, notes in queues:
        warn_of(notes, queue=name)
    # Imported here, because it imports everything that a worker needs.
    with no_collection():
        from courier.queues.program import run_queues

    arguments: Sequence[str] = click.get_current_context().meta[_ARGUMENTS]
    return run_queues(
        {name: config for name, config, _ in queues},
        partial(read_queue_again, arguments),
        partial(read_queues_again, arguments),
    )


def warn_of(notes: Sequence[OptionNote], **of: str) -> None:
    """Log the settings that have no effect; ``of`` are further fields of the lines."""
    for note in notes:
        reason, _, advice = note.reason.partition("; ")
        log.warning("this setting has no effect", name=note.name, reason=reason, advice=advice or "remove it", **of)


def read_again(arguments: Sequence[str]) -> Config:
    """Return the configuration that a start with these arguments would have now, with the file as it is now.

    Log the settings without effect. Raise ConfigError with the line to show.
    """
    return _parsed(arguments, lambda values: _warned(read_config(values)))


def read_queue_again(arguments: Sequence[str], name: str) -> Config:
    """Return the configuration of one table as :func:`read_again` does."""
    return _parsed(arguments, lambda values: _warned(read_one(values, name)))


def read_queues_again(arguments: Sequence[str], running: Mapping[str, Config]) -> Mapping[str, Config | str]:
    """Return the configuration of each table, or why it has none; see :func:`courier.cli.queues.read_each`."""
    return _parsed(arguments, lambda values: read_each(values, running))


def _warned(read: tuple[Config, Sequence[OptionNote]]) -> Config:
    config, notes = read
    warn_of(notes)
    return config


def _parsed(arguments: Sequence[str], read: Callable[[dict[str, Any]], T]) -> T:
    """Return what ``read`` makes of the values that these arguments give now. Raise ConfigError."""
    found: list[T] = []

    @click.command("run", params=config_parameters())
    def parse(**values: Any) -> int:
        found.append(read(values))
        return 0

    try:
        parse.main(list(arguments), prog_name="courier", standalone_mode=False)
    except click.ClickException as error:
        raise ConfigError(usage_line(error)) from None
    return found[0]
