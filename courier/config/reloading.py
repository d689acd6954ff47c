"""The reload: which options a running program takes on, and which need a restart.

What a sender does with a message of its own can change while others still do it the old way. What several processes
share can't: two queues behind one channel, two audit logs behind one auditor, two visibility timeouts in one lease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Final

from courier.config.config import OPTIONS, Config
from courier.config.fetch import FetchConfig
from courier.config.formats import FormatsConfig
from courier.config.limits import LimitsConfig
from courier.config.recipient import RecipientConfig
from courier.config.security import SecurityConfig
from courier.config.sns import SnsConfig
from courier.errors import ConfigError

_PARTS: Final = (RecipientConfig, FetchConfig, SnsConfig, FormatsConfig, LimitsConfig, SecurityConfig)

RELOADABLE: Final = frozenset(
    {
        *(each.name for part in _PARTS for each in fields(part)),
        *("senders", "consumers", "concurrency", "log_level", "traces", "traces_sample"),
    }
) - {"failure_queue", "fetch_delete", "cron"}
"""The fields of Config that a reload changes. Any other option needs a restart.

The failure queue does, because the auditor sends to it, and the preflight has looked it up; so does the removal of
objects, which is the auditor's too; and so do periodic tasks, which have a process of their own.
"""

OF_CONSUMERS: Final = frozenset({"rate_limit", "format", "routes"})
"""The reloadable fields that consumers use, besides the number of processes."""


def changed(old: Config, new: Config) -> list[str]:
    """Return the names of the fields that differ, in the order of the help."""
    return [name for name in OPTIONS if getattr(old, name) != getattr(new, name)]


def refuse_what_needs_a_restart(old: Config, new: Config, most: dict[str, int]) -> None:
    """Raise ConfigError if the change from ``old`` to ``new`` needs a restart; the line names the options.

    ``most`` is the greatest number of processes, by field, that the running program has room for.
    """
    flags = [OPTIONS[name].flag for name in changed(old, new) if name not in RELOADABLE]
    if flags:
        raise ConfigError(f"{_listed(flags)} {'needs' if len(flags) == 1 else 'need'} a restart")
    for name, limit in most.items():
        if getattr(new, name) > limit:
            flag = OPTIONS[name].flag
            raise ConfigError(f"{flag} {getattr(new, name)} needs a restart: without one, {limit} is the most")


def refuse_other_routes(old: Config, new: Config, most: Mapping[str, int]) -> None:
    """Raise ConfigError if there are other routes, or more senders of one than ``most`` by role has room for.

    A route's channel and slots are made at the start. What else a route says may change.
    """
    before, after = ([route.name for route in each.routes.routes] if each.routes else [] for each in (old, new))
    if before != after:
        raise ConfigError(
            f"--routes needs a restart: the routes were {', '.join(before) or 'none'}, and are "
            f"{', '.join(after) or 'none'} now; a reload changes only what the same routes say, in the same order"
        )
    for name, config in zip(after, new.of_routes, strict=True):
        limit = most[f"sender:{name}"]
        if config.senders > limit:
            raise ConfigError(
                f"--routes: {config.senders} senders of route {name} need a restart: without one, {limit} is the most"
            )


def _listed(flags: Sequence[str]) -> str:
    return flags[0] if len(flags) == 1 else f"{', '.join(flags[:-1])} and {flags[-1]}"
