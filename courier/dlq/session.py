"""A session with SQS for a command: its clients, in one event loop, and the signals that end it.

The first SIGINT or SIGTERM asks the command to finish what is under way. The second ends it as soon as its audit log is
closed, and the third at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import uvloop

from courier.config.loading import environment
from courier.sqs.client import SqsClient
from courier.sqs.credentials import CredentialSource
from courier.sqs.discovery import aws_configuration
from courier.sqs.lookup import resolve_queue
from courier.sqs.queue import QueueInfo
from courier.sqs.role import AssumedRole

STOPS: Final = (signal.SIGINT, signal.SIGTERM)

EXIT_KILLED: Final = 130
"""The exit code after a third signal: a shell's for a program that Ctrl-C ended."""

T = TypeVar("T")


class Session:
    """The clients of a command. ``stopped`` is set by the first signal."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stopped = asyncio.Event()
        self._on_stop: Callable[[], None] = lambda: None
        self._loop = loop
        self._closables: list[SqsClient | CredentialSource] = []

    def client(self, queue: QueueInfo) -> SqsClient:
        """Return a client of a queue. The session closes it."""
        credentials = CredentialSource(aws_configuration(environment(), queue.role).find_keys, queue.region)
        client = SqsClient(self._loop, queue, credentials, receives=True, keeps_system=True)
        self._closables += (client, credentials)
        return client

    def close(self) -> None:
        """Close all clients."""
        for each in self._closables:
            each.close()

    def when_stopped(self, act: Callable[[], None]) -> None:
        """Call ``act`` at the first signal, instead of what was to be called before; at once if it has come already."""
        self._on_stop = act
        if self.stopped.is_set():
            act()

    def stop(self) -> None:
        """Ask the command to finish what is under way."""
        self.stopped.set()
        self._on_stop()


def find_queue(
    queue: str, region: str | None, endpoint_url: str | None, option: str, role: AssumedRole | None = None
) -> QueueInfo:
    """Look up a queue by its name or URL; ``option`` is what named it. Calls assume the ``role``. Raise CannotStart."""
    return resolve_queue(aws_configuration(environment(), role), queue, region, endpoint_url, option)


def run_session(act: Callable[[Session], Awaitable[T]]) -> T:
    """Run ``act`` with a new session in a loop of its own, and return its result. Raise KeyboardInterrupt if it was
    interrupted twice, and what ``act`` raises."""

    async def run() -> T:
        loop = asyncio.get_running_loop()
        session = Session(loop)
        task = asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            if not session.stopped.is_set():
                session.stop()
            elif not task.cancelling():
                task.cancel()
            else:
                # Not by another cancellation: a thread that still writes would find a loop that is closed under it.
                os._exit(EXIT_KILLED)

        for number in STOPS:
            loop.add_signal_handler(number, interrupt)
        try:
            return await act(session)
        finally:
            session.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(run())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
