"""The limit of open files: how many descriptors the options need, and how many deliveries fit."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from courier.config.body import DECODE, FETCH
from courier.config.config import Config
from courier.config.processes import SPARE_CONSUMERS, SPARE_OF_ROUTE, SPARE_SENDERS
from courier.errors import ConfigError

OWN: Final = 20
"""Descriptors of a worker besides connections and bells: standard streams, channels, lifelines, event loop, stacks."""

SPARE: Final = 12
"""Short-lived descriptors of a worker: large bodies, the resolver, files of secrets, closing connections."""

PER_DELIVERY: Final = {"native": 1, "requests": 2}
"""Descriptors of a delivery by transport. With requests, the loop needs a second one to end the connection."""

PER_FETCH: Final = 2
"""Descriptors that a message needs besides with --body fetch: the connection to S3, and the file of a large body."""

PER_DECODE: Final = 1
"""The same with --body decode alone: the file of a large body."""

SUPERVISOR: Final = 15
"""Descriptors of the supervisor besides those for its workers and bells, and for the clients of its control socket."""

OTHERS: Final = 2
"""Workers that are neither consumers nor senders: the auditor and the API."""

PER_WORKER: Final = 2
"""Descriptors of the supervisor for each worker: the lifeline and the file of stacks."""

PER_ROUTE: Final = 2 + SPARE_OF_ROUTE
"""Descriptors of the supervisor for each route: the ends of its channel, and the bells of its spare senders."""

LIMIT: Final = "limit of open files"
"""The source of a concurrency that was lowered."""

_UNLIMITED: Final = 1 << 30
_REMEDY: Final = "raise the limit (LimitNOFILE in systemd, ulimit -n, a container's nofile)"


class DescriptorBudget(NamedTuple):
    """The limit of open files, the number that a sender needs, and the deliveries that fit into a sender."""

    limit: int
    needed: int
    deliveries: int


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard limit, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Refused if the hard limit exceeds what the kernel allows; then the soft limit stays.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if soft == resource.RLIM_INFINITY else soft


def bells(config: Config) -> int:
    """Return the number of bells, by which senders wake each other: each sender has all of them."""
    return config.senders + SPARE_SENDERS


def per_delivery(config: Config) -> int:
    """Return the descriptors that a delivery needs."""
    steps = config.body_steps
    per_message = PER_FETCH if FETCH in steps else PER_DECODE if DECODE in steps else 0
    # Each message of a batch may have a file of its own.
    return PER_DELIVERY[config.transport] + per_message * (config.batch_size if config.is_batched else 1)


def descriptor_budget(config: Config, limit: int) -> DescriptorBudget:
    """Compare the descriptors that a sender needs with ``limit``."""
    each, besides = per_delivery(config), OWN + SPARE + bells(config)
    wanted = min(config.concurrency, config.max_in_flight or config.concurrency)
    deliveries = max(0, (limit - besides) // each)
    return DescriptorBudget(limit, besides + each * wanted, min(wanted, deliveries))


def fit_concurrency(config: Config, limit: int) -> tuple[Config, str]:
    """Return the configuration with the concurrency lowered to what ``limit`` allows, and a line that says so.

    The line is empty if all deliveries fit. Raise ConfigError if not even one fits, or if the limit is too low for the
    supervisor of that many workers.
    """
    found = descriptor_budget(config, limit)
    if not found.deliveries:
        least = OWN + SPARE + bells(config) + per_delivery(config)
        raise ConfigError(
            f"--concurrency, --senders: a sender needs {least} open files for its first delivery, and the limit is "
            f"{limit}; {_REMEDY}"
        )
    workers = config.consumers + config.senders + OTHERS
    supervisor = SUPERVISOR + PER_WORKER * workers + bells(config) + config.consumers + SPARE_CONSUMERS
    supervisor += sum(PER_ROUTE + (PER_WORKER + 1) * each.senders for each in config.of_routes)
    if supervisor > limit:
        raise ConfigError(
            f"--senders {config.senders} and --consumers {config.consumers} need {supervisor} open files in the "
            f"supervisor, and the limit is {limit}; {_REMEDY}, or lower --senders or --consumers"
        )
    if found.needed <= limit:
        return config, ""
    line = (
        f"--concurrency {config.concurrency} needs {found.needed} open files in each of the {config.senders} senders, "
        f"and the limit is {limit}: each delivers {found.deliveries} messages at a time; {_REMEDY}, or lower "
        "--concurrency and raise --senders"
    )
    sources = {**config.sources, "concurrency": LIMIT}
    return replace(config, concurrency=found.deliveries, sources=sources), line
