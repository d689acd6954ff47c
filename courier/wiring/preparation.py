"""The preparation of requests: from a Config to what opens, fetches, decodes, addresses and formats each message.

``courier try`` uses the same function with a transport that only shows, so it shows what would be sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from courier.config.config import Config
from courier.http.exchange import Transport
from courier.request.content import Step
from courier.request.head import DeliveryHead
from courier.sender.preparation import Preparation

MakePreparation: TypeAlias = Callable[[asyncio.AbstractEventLoop, Transport, DeliveryHead], Preparation]


def preparation_factory(config: Config, queue_name: str) -> MakePreparation | None:
    """Return what makes a sender's preparation, in the sender's process; ``None`` if messages are sent as they are."""
    steps = _steps(config)
    if not steps:
        return None
    # Imported here and below, before the fork, because few programs prepare what they send.
    from courier.sender.prepared import Prepared

    return lambda loop, session, head: Prepared(loop, session, head, steps)


def _steps(config: Config) -> list[Step]:
    """Return the steps from a message to what is sent, in their order."""
    steps: list[Step] = []
    if config.path_attribute:
        from courier.request.paths import AllowedPaths
        from courier.sender.path_step import path_step

        steps.append(path_step(config.path_attribute, AllowedPaths(config.path_allow)))
    return steps
