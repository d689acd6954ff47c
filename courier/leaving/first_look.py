"""The look before the start: a program doesn't begin on a machine that ends.

What restarts Courier after it has left would otherwise have it receive a few messages each time, which costs each a
receive.
"""

from __future__ import annotations

import asyncio
from typing import Final

from courier.errors import CannotStart, CourierError
from courier.leaving.opening import Places, Wishes, open_source
from courier.leaving.watcher import Source, log_completed

SECONDS: Final = 1.5
"""The most seconds of the look. It happens while the queue is looked up."""


def look_first(places: Places, wishes: Wishes) -> bytes:
    """Return the kind of the notice because of which the program doesn't start, empty for none.

    No answer is none: the watcher goes on asking. It is for a short-lived child.
    """
    return asyncio.run(_look(places, wishes))


async def _look(places: Places, wishes: Wishes) -> bytes:
    source, _ = open_source(asyncio.get_running_loop(), places, wishes)
    try:
        return await asyncio.wait_for(_reason(source), SECONDS)
    except TimeoutError:
        return b""
    finally:
        source.close()


def complete_hook(places: Places, wishes: Wishes) -> bytes:
    """Complete the lifecycle action that a Courier before this one had no time to complete.

    It is for a short-lived child. Raise CannotStart if it failed.
    """
    return asyncio.run(_complete(places, wishes))


async def _complete(places: Places, wishes: Wishes) -> bytes:
    loop = asyncio.get_running_loop()
    source, find_hook = open_source(loop, places, wishes)
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


async def _reason(source: Source) -> bytes:
    found = await source.look()
    for notice in found.notices:
        if notice.drains:
            return notice.kind.encode()
    return b""
