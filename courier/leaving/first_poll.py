"""The poll of the platform before the start: Courier doesn't start on a machine that is about to end.

A service manager restarts Courier after it has left. Each start would receive a few messages, and cost each a receive.
"""

from __future__ import annotations

import asyncio
from typing import Final

from courier.errors import CannotStart, CourierError
from courier.leaving.opening import Endpoints, WatchSettings, open_source
from courier.leaving.watcher import Source, log_completed
from courier.process.departure import LIFECYCLE, WORDS_OF

SECONDS: Final = 1.5
"""The most seconds of the poll. It happens while the queue is looked up."""


def poll_before_start(endpoints: Endpoints, settings: WatchSettings) -> bytes:
    """Return the kind of the notice because of which the program doesn't start, empty for none.

    No answer is none: the watcher goes on asking. It is for a short-lived child.
    """
    return asyncio.run(_poll(endpoints, settings))


async def _poll(endpoints: Endpoints, settings: WatchSettings) -> bytes:
    source, find_hook = open_source(asyncio.get_running_loop(), endpoints, settings)
    try:
        return await asyncio.wait_for(_reason(source, completes=find_hook is not None), SECONDS)
    except TimeoutError:
        return b""
    finally:
        source.close()


def describe(endpoints: Endpoints, settings: WatchSettings) -> str:
    """Return what the platform says now, for a check before the start. Raise CourierError if it can't be asked.

    The hook's time begins anew if it waits for this instance, which harms nothing.
    """
    return asyncio.run(_describe(endpoints, settings))


async def _describe(endpoints: Endpoints, settings: WatchSettings) -> str:
    loop = asyncio.get_running_loop()
    source, find_hook = open_source(loop, endpoints, settings)
    try:
        found = await source.poll()
        if found.error is not None:
            raise found.error
        parts = [f"{notice.what}: {WORDS_OF[notice.kind]}" for notice in found.notices] or ["no notice"]
        if find_hook is not None:
            hook = await find_hook()
            waits = await loop.run_in_executor(None, hook.extend)
            parts.append(f"hook {settings.hook_name} {'waits' if waits else 'may be completed'}")
    finally:
        source.close()
    return f"{'EC2' if endpoints.ec2 is not None else 'ECS'} answers: {', '.join(parts)}"


def complete_hook(endpoints: Endpoints, settings: WatchSettings) -> bytes:
    """Complete the lifecycle action that a Courier before this one had no time to complete.

    It is for a short-lived child. Raise CannotStart if it failed.
    """
    return asyncio.run(_complete(endpoints, settings))


async def _complete(endpoints: Endpoints, settings: WatchSettings) -> bytes:
    loop = asyncio.get_running_loop()
    source, find_hook = open_source(loop, endpoints, settings)
    assert find_hook is not None
    try:
        hook = await find_hook()
        was_waiting = await loop.run_in_executor(None, hook.complete)
    except CourierError as error:
        raise CannotStart(str(error)) from error
    finally:
        source.close()
    log_completed(was_waiting=was_waiting)
    return b""


async def _reason(source: Source, *, completes: bool) -> bytes:
    """Return the kind of the notice that counts; with ``completes`` that of the hook, if there are several."""
    found = await source.poll()
    kinds = [notice.kind for notice in found.notices if notice.drains]
    if completes and LIFECYCLE in kinds:
        return LIFECYCLE.encode()
    return kinds[0].encode() if kinds else b""
