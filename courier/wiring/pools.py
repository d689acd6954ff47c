"""The pools of senders: that of ``--recipient-url``, and one for each route with a channel of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from courier.board.senders import SENDER
from courier.config.config import Config
from courier.config.file_descriptors import fit_concurrency, raise_limit
from courier.config.processes import SPARE_OF_ROUTE, SPARE_SENDERS
from courier.consumer.intake import RouteWork
from courier.consumer.routing import Match
from courier.process.channel import Channel


class SenderPool(NamedTuple):
    """The senders of one role, their configuration, and the channel that they read from."""

    role: str
    config: Config
    work: Channel

    @property
    def spare(self) -> int:
        """How many senders can be added to those of the start."""
        return SPARE_SENDERS if self.role == SENDER else SPARE_OF_ROUTE


def sender_pools(config: Config) -> list[SenderPool]:
    """Make the channels of all pools, and return the pools; the first one is that of ``--recipient-url``."""
    return [
        SenderPool(role, each, Channel.create("work" if role == SENDER else role.replace(SENDER, "work", 1)))
        for role, each in _by_role(config).items()
    ]


def reconfigured(pools: Sequence[SenderPool], config: Config) -> list[SenderPool]:
    """Return the pools with a new configuration, which has the same routes."""
    by_role = _by_role(config)
    return [pool._replace(config=by_role[pool.role]) for pool in pools]


def route_works(pools: Sequence[SenderPool], config: Config) -> list[RouteWork]:
    """Return what consumers know of the routes."""
    if config.routes is None:
        return []
    return [
        RouteWork(pool.role, Match(route.attribute, route.pattern), pool.work, pool.config.rate_limit)
        for route, pool in zip(config.routes.routes, reconfigured(pools, config)[1:], strict=True)
    ]


def _by_role(config: Config) -> dict[str, Config]:
    found = {SENDER: config}
    if config.routes is not None:
        limit = raise_limit()
        for route, each in zip(config.routes.routes, config.of_routes, strict=True):
            found[f"{SENDER}:{route.name}"] = fit_concurrency(each, limit)[0]
    return found
