"""One run of the demo: the real pipeline between a virtual queue and a recipient, and an account of every message."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Final

from courier.errors import EXIT_DRAINED
from courier.local.demo.account import Account, settle_account
from courier.local.demo.clients import QueueClient, RecipientClient
from courier.local.demo.programs import DemoFailed, Program, Programs
from courier.local.demo.progress import DemoProgress, ShowProgress
from courier.local.records import random_record

BATCH: Final = 10

POLL_SECONDS: Final = 0.1

PATIENCE_SECONDS: Final = 60.0
"""Seconds without progress after which the demo has failed."""


class Demo:
    """One run of the demo."""

    def __init__(self, directory: Path, messages: int, options: tuple[str, ...]) -> None:
        self._directory = directory
        self._messages = messages
        self._options = options
        self._audit = directory / "audit"

    async def run(self, show: ShowProgress) -> Account:
        """Start everything, wait until the queue is empty, stop everything, and return the account.

        Raise DemoFailed. SIGINT and SIGTERM cancel the run.
        """
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        async with Programs(self._directory) as programs:
            virtual = await programs.start("virtual queue", "courier", "virtual", "--port", "0")
            recipient = await programs.start("recipient", "courier.local.demo.recipient")
            endpoint, recipient_url = await virtual.listening(), await recipient.listening()
            queue, client = QueueClient(endpoint), RecipientClient(recipient_url)
            try:
                sent = await self._fill(queue, show)
                pipeline = await programs.start("pipeline", "courier", *self._arguments(queue, endpoint, recipient_url))
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

    def _arguments(self, queue: QueueClient, endpoint: str, recipient_url: str) -> tuple[str, ...]:
        return (
            f"--queue={queue.url}",
            f"--endpoint-url={endpoint}",
            f"--recipient-url={recipient_url}/",
            f"--audit-path={self._audit}",
            "--api=none",
            # A long drain is pointless, because the queue ends with the demo.
            "--drain-timeout=5",
            *self._options,
        )

    async def _fill(self, queue: QueueClient, show: ShowProgress) -> set[str]:
        await queue.create()
        sent: set[str] = set()
        while len(sent) < self._messages:
            count = min(BATCH, self._messages - len(sent))
            sent.update(await queue.send([random_record() for _ in range(count)]))
            show(DemoProgress(len(sent), 0, 0))
        return sent

    async def _watch(
        self, queue: QueueClient, recipient: RecipientClient, pipeline: Program, show: ShowProgress
    ) -> None:
        clock = asyncio.get_running_loop().time
        before, changed_at = DemoProgress(0, 0, 0), clock()
        while True:
            left = await queue.left()
            moment = DemoProgress(self._messages, (await recipient.counts()).distinct, self._messages - left)
            show(moment)
            if left == 0:
                return
            pipeline.check()
            if moment != before:
                before, changed_at = moment, clock()
            elif clock() - changed_at > PATIENCE_SECONDS:
                raise DemoFailed(f"nothing happened for {PATIENCE_SECONDS:g} s", pipeline.tail())
            await asyncio.sleep(POLL_SECONDS)
