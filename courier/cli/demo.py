"""``courier demo``: the real pipeline between a virtual queue and a recipient, and an account of every message."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import click
import uvloop

from courier.cli.options import option, shared_options
from courier.config.units import number
from courier.errors import EXIT_DRAINED, require_linux
from courier.local.demo.demo import Demo
from courier.local.demo.programs import DemoFailed
from courier.local.demo.progress import progress_shown


@click.command(
    "demo",
    params=[
        option("--messages", "messages", number(1, 1_000_000), 5000, "Messages to deliver."),
        *shared_options("consumers", "senders"),
    ],
)
def command(messages: int, consumers: int, senders: int) -> int:
    """Deliver a few thousand messages without AWS, and account for each.

    Starts a virtual queue, a recipient and the real pipeline as separate processes on 127.0.0.1, with a temporary
    directory for the audit log. Nothing of it remains. The exit code is 0 only if every message was delivered,
    recorded and deleted.
    """
    require_linux("courier demo")
    with tempfile.TemporaryDirectory(prefix="courier-demo-") as directory:
        demo = Demo(Path(directory), messages, (f"--consumers={consumers}", f"--senders={senders}"))
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, progress_shown(messages) as show:
                account = runner.run(demo.run(show))
        except asyncio.CancelledError:
            raise click.Abort from None
        except DemoFailed as failure:
            if failure.tail:
                print(failure.tail, file=sys.stderr)
            raise
    print(account, flush=True)
    if not account.complete:
        raise DemoFailed("the account doesn't add up: every message must be delivered, audited and deleted")
    return EXIT_DRAINED
