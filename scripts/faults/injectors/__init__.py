"""The injectors: each function applies its fault to a world, and returns when the fault has ended.

It runs in a thread of its own, waits with ``world.wait``, and tells the world what it did: ``note`` for the timeline,
``hurt`` for what may be delivered twice, ``excuse`` for a span without deliveries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scripts.faults.fault import Fault
from scripts.faults.injectors import (
    acts,
    clocks,
    dedupe,
    disks,
    firehose,
    instances,
    links,
    processes,
    queues,
    recipients,
    sqs,
    torn_tail,
)
from scripts.faults.world import World

Injector = Callable[[World, Fault], None]

INJECTORS: Final[dict[str, Injector]] = {
    **processes.INJECTORS,
    **acts.INJECTORS,
    **disks.INJECTORS,
    **dedupe.INJECTORS,
    **torn_tail.INJECTORS,
    **firehose.INJECTORS,
    **sqs.INJECTORS,
    **recipients.INJECTORS,
    **links.INJECTORS,
    **clocks.INJECTORS,
    **instances.INJECTORS,
    **queues.INJECTORS,
}
"""The injectors by the name in ``Fault.what``."""
