"""``courier demo``: the real pipeline between a virtual queue and a receiver, and an account of every message."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

import click
import uvloop

from courier.cli.options import option, shared_options
from courier.demo.account import Account, settle_account
from courier.demo.loopback import Queue, ReceiverClient
from courier.demo.programs import DemoFailed, Program, Programs
from courier.demo.progress import Moment, Show, showing
from courier.demo.records import random_record
from courier.errors import EXIT_DRAINED
from courier.units import Whole

BATCH: Final = 10
POLL_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 60.0
"""Without any progress for that long, the demo has failed."""


@click.command(
    "demo",
    params=[
        option("--messages", "messages", Whole(1, 1_000_000), 5000, "Messages to deliver."),
        *shared_options("consumers", "senders"),
    ],
)
def command(messages: int, consumers: int, senders: int) -> int:
    """Deliver some thousand messages with no AWS at all, and count them.

    Starts a virtual queue, a receiver and the real pipeline, each as processes of their own on 127.0.0.1 and
    with a directory for the audit log, all of which is gone at the end. Exit code 0 only where every message was
    delivered, recorded and deleted.
    """
    with tempfile.TemporaryDirectory(prefix="courier-demo-") as directory:
        demo = Demo(Path(directory), messages, (f"--consumers={consumers}", f"--senders={senders}"))
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, showing(messages) as show:
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


class Demo:
    """One run of the demo."""

    def __init__(self, directory: Path, messages: int, options: tuple[str, ...]) -> None:
        self._directory = directory
        self._messages = messages
        self._options = options
        self._audit = directory / "audit"

    async def run(self, show: Show) -> Account:
        """Start everything, wait until the queue is empty, stop everything, and give the account.

        Raises DemoFailed; SIGINT and SIGTERM cancel it.
        """
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        async with Programs(self._directory) as programs:
            virtual = await programs.start("virtual queue", "courier", "virtual", "--port", "0")
            receiver = await programs.start("receiver", "courier.demo.receiver")
            endpoint, recipient = await virtual.listening(), await receiver.listening()
            queue, client = Queue(endpoint), ReceiverClient(recipient)
            try:
                sent = await self._fill(queue, show)
                pipeline = await programs.start("pipeline", "courier", *self._arguments(queue, endpoint, recipient))
                await self._watch(queue, client, pipeline, show)
                code = await pipeline.stop()
                if code != EXIT_DRAINED:
                    raise DemoFailed(f"the pipeline ended with code {code}", pipeline.tail())
                counts = await client.counts()
                return settle_account(
                    sent,
                    await client.ids(),
                    self._audit,
                    left=await queue.left(),
                    requests=counts.requests,
                    seconds=counts.seconds,
                )
            finally:
                queue.close()
                client.close()

    def _arguments(self, queue: Queue, endpoint: str, recipient: str) -> tuple[str, ...]:
        return (
            f"--queue={queue.url}",
            f"--endpoint-url={endpoint}",
            f"--recipient-url={recipient}/",
            f"--audit-path={self._audit}",
            "--api=none",
            *self._options,
        )

    async def _fill(self, queue: Queue, show: Show) -> set[str]:
        await queue.create()
        sent: set[str] = set()
        while len(sent) < self._messages:
            count = min(BATCH, self._messages - len(sent))
            sent.update(await queue.send([random_record() for _ in range(count)]))
            show(Moment(len(sent), 0, 0))
        return sent

    async def _watch(self, queue: Queue, receiver: ReceiverClient, pipeline: Program, show: Show) -> None:
        clock = asyncio.get_running_loop().time
        before, changed_at = Moment(0, 0, 0), clock()
        while True:
            left = await queue.left()
            moment = Moment(self._messages, (await receiver.counts()).distinct, self._messages - left)
            show(moment)
            if left == 0:
                return
            pipeline.check()
            if moment != before:
                before, changed_at = moment, clock()
            elif clock() - changed_at > PATIENCE_SECONDS:
                raise DemoFailed(f"nothing happened for {PATIENCE_SECONDS:g} s", pipeline.tail())
            await asyncio.sleep(POLL_SECONDS)
