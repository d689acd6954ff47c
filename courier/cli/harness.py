"""``courier harness``: both ends of the pipeline for a trial: a producer of random messages, and a recipient."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import click
import structlog
import uvloop

from courier.cli.options import option, shared_options
from courier.config.checks import check_queue
from courier.config.option import VARIABLE_PREFIX
from courier.config.units import TEXT, number, per_second
from courier.local.harness import Harness, HarnessOptions
from courier.log import setup as logging

_PREFIX: Final = f"{VARIABLE_PREFIX}HARNESS_"

log = structlog.get_logger("courier.harness")


@click.command(
    "harness",
    params=[
        *shared_options("queue", "region", "endpoint_url"),
        click.Option(["--broadcast/--no-broadcast"], default=True, help="Send messages as well as receive them."),
        option("--rate", "rate", per_second(100_000, "RATE"), 2.0, "Messages to send per second.", (f"{_PREFIX}RATE",)),
        option("--host", "host", TEXT, "127.0.0.1", "Address to serve.", (f"{_PREFIX}HOST",)),
        option("--port", "port", number(0, 65535), 8081, "Port to serve; 0 for a free one.", (f"{_PREFIX}PORT",)),
        *shared_options("log_level", "log_format"),
    ],
)
def command(log_level: str, log_format: str, **values: Any) -> int:
    """Send random messages to a queue, and answer their deliveries with 200.

    Logs the bodies that it receives. SIGTERM or SIGINT ends it, and its last line has the totals.
    """
    options = HarnessOptions(**values)
    if options.broadcast:
        check_queue(options.queue, options.endpoint_url)
    logging.configure(log_level, log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Harness(options).run())
    return 0
