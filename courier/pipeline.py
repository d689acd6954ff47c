"""The map: which role runs what, joined by which channel, started and stopped in which order.

    SQS ──▶ consumer × N ──work──▶ sender × M ──acks──▶ auditor ──▶ audit log, then failure queue, then SQS
                 └──────────────acks─────────────────────▲
    api: reads the scoreboard        queue: in memory, with --queue-type virtual
    scheduler ──▶ SQS: puts periodic tasks into the queue, with --cron

With --routes each route has a work channel and a pool of senders of its own beside these: sender:NAME.

The supervisor forks every worker. The stages start from the last to the first, so that nothing is received before it
can be settled. They drain from the first to the last, so that work in progress still finds the stages after it.
:func:`courier.process.child.run_role` shows the life of a worker from its start to its end.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import structlog
from setproctitle import setproctitle

from courier import __version__
from courier.audit.recorded_ids import RecordedIds
from courier.board.queue_names import QueueNames, write_names
from courier.board.senders import SENDER
from courier.board.tally import totals
from courier.config.config import Config
from courier.config.file_descriptors import fit_concurrency, raise_limit
from courier.config.loading import service_manager
from courier.config.processes import SPARE_CONSUMERS, SPARE_OF_ROUTE, SPARE_SENDERS
from courier.errors import EXIT_DRAINED
from courier.log.level import set_level
from courier.preflight import Queues, find_queues
from courier.process.bells import Bells
from courier.process.channel import Channel
from courier.process.collection import no_collection
from courier.process.departure import WATCHER, Departure
from courier.process.life import RoleFactory
from courier.process.notify import NO_MANAGER, Manager
from courier.process.orders import IN_FORCE, Orders
from courier.process.scoreboard import LOG_LEVEL, PROBE_ASKED, RELOADS, Scoreboard
from courier.process.short_lived_child import Interrupted, told_to_stop
from courier.process.signals import block_signals
from courier.process.spread import workers_for_cores
from courier.process.stage import Stage, SupervisorOptions
from courier.process.supervisor import Supervisor
from courier.reload import rereading
from courier.risks import warn_of_risks
from courier.wiring.aws import configured_aws
from courier.wiring.control import control_options
from courier.wiring.leaving import leave_unstarted, poll_before_start, watcher_stage, watches
from courier.wiring.pools import SenderPool, reconfigured, route_works, sender_pools
from courier.wiring.roles import (
    api_role,
    auditor_role,
    consumer_role,
    import_roles,
    queue_role,
    scheduler_role,
    sender_role,
)
from courier.wiring.settings import settings_in_force

SENDER_RESERVE_SECONDS: Final = 1.0
"""Seconds of the drain timeout that consumers and senders leave to the auditor, for the last records and deletes."""

log = structlog.get_logger("courier")


class OfQueue(NamedTuple):
    """What the pipeline of one queue gets from the first process of a program of several; see :mod:`courier.queues`.

    ``board`` has the slots of :func:`slots`. ``shown`` is the configuration that the API shows as that of the start.
    ``on_turn`` is called with the time, in each turn of the supervisor and before it, and gets the channels' contents.
    """

    name: str
    board: Scoreboard
    orders: Orders
    shown: Config
    on_turn: Callable[[float, Mapping[str, Channel]], None]


def run(config: Config, read_again: Callable[[], Config] | None = None, of: OfQueue | None = None) -> int:
    """Run the pipeline until a signal to stop, and return the exit code.

    ``read_again`` returns the configuration as it is now, for a reload; without it there is none. With ``of``, this is
    one queue of several: it has neither an API nor a control socket, and takes orders instead of signals. Raise
    ConfigError or CannotStart with the line to show, if the preflight fails.
    """
    block_signals()
    setproctitle(f"courier: {of.name}" if of else "courier: supervisor")
    config, too_few = fit_concurrency(config, raise_limit())
    log.info("starting", version=__version__, **config.summary())
    warn_of_risks(config, too_few)
    try:
        with no_collection():
            if config.queue_type == "remote":
                # Before the first fork, so that the preflight and the workers share what it imports.
                configured_aws(config.assumed_role)
            queues, departure = find_queues_unless_leaving(config, of)
    except Interrupted:
        log.info("stopped before it started")
        return EXIT_DRAINED
    if departure is not None:
        return leave_unstarted(config, departure)
    # Before the fork, so that no worker reads the same files.
    workers_for_cores()
    pools, acks = sender_pools(config), Channel.create("acks")
    recorded = RecordedIds.create(config.dedupe_window) if config.recognises_duplicates else None
    flow = build_stages(config, queues, pools, acks, recorded, serves=of is None)
    if of is None:
        board = Scoreboard.create({stage.role: stage.count + stage.spare for stage in flow})
    else:
        board = of.board
        flow = [_fit(stage, board) for stage in flow]
    stages = flow[::-1]
    show_settings = settings_in_force(board, of.shown if of else config)
    if of is not None:
        board.supervisor.words[LOG_LEVEL] = set_level(config.log_level)
        show_settings(config)
        names = queues.queue.name if config.queue_type != "nop" else "", queues.queue.dead_letter_name
        write_names(board, QueueNames(*names, queues.failure_queue.name if queues.failure_queue else ""))

    def adopt(new: Config) -> None:
        if of is not None:
            of.orders.tell(IN_FORCE, pickle.dumps(new))
        board.supervisor.words[LOG_LEVEL] = set_level(new.log_level)
        show_settings(new)
        board.supervisor.words[RELOADS] += 1
        # Whatever the recipient didn't take before, it may take now: the cool-down of an open breaker would only wait.
        board.supervisor.reals[PROBE_ASKED] = time.monotonic()

    def factories(new: Config) -> Mapping[str, RoleFactory]:
        consumers = consumer_role(new, queues.queue, pools[0].work, acks, recorded, route_works(pools, new))
        return {
            **{pool.role: sender_role(pool.config, *queues, pool.work, acks) for pool in reconfigured(pools, new)},
            "consumer": consumers,
        }

    most = {stage.role: stage.count + stage.spare for stage in stages}
    options = SupervisorOptions(
        drain_order=tuple(stage.role for stage in flow),
        hang_timeout=config.hang_timeout_seconds,
        drain_timeout=config.drain_timeout_seconds,
        manager=Manager(*service_manager()) if of is None else NO_MANAGER,
        control=control_options(config, board, pools, acks, of_queue=of is not None),
        rereading=rereading(config, read_again, factories, most, adopt) if read_again else None,
    )
    if of is not None:
        channels = {channel.name: channel for channel in (*(pool.work for pool in pools), acks)}
        on_turn = of.on_turn
        options = replace(options, orders=of.orders, on_turn=lambda now: on_turn(now, channels), title=f"{of.name} ")
    return Supervisor(stages, board, options, totals=lambda: totals(board)).run()


def find_queues_unless_leaving(config: Config, of: OfQueue | None = None) -> tuple[Queues, Departure | None]:
    """Return the queues, and the reason not to start if the platform ends this machine or task.

    For one queue of several, the first process looks for such reasons.
    """

    def find() -> Queues:
        return find_queues(config, lambda: import_roles(config), _is_stopped(of), serves=of is None)

    return poll_before_start(config, find) if watches(config) and of is None else (find(), None)


def build_stages(
    config: Config,
    queues: Queues,
    pools: Sequence[SenderPool],
    acks: Channel,
    recorded: RecordedIds | None = None,
    *,
    serves: bool = True,
) -> list[Stage]:
    """Return the stages in the order in which a message meets them, which is the order of a drain.

    There is a stage of senders for each of the ``pools``. They drain at the same time.
    ``recorded`` is the dedupe window, which the auditor writes and the consumers read. ``serves`` is whether this
    program opens the API, and watches for the end of the machine.
    """
    queue, failure_queue = queues
    works = tuple(pool.work for pool in pools)
    receiving = Stage(
        "consumer",
        config.consumers,
        consumer_role(config, queue, works[0], acks, recorded, route_works(pools, config)),
        spare=SPARE_CONSUMERS,
        writes=(*works, acks),
        watches=(*works, acks),
        drain_reserve=SENDER_RESERVE_SECONDS,
        bells=Bells.create(config.consumers + SPARE_CONSUMERS),
    )
    sending = [
        Stage(
            pool.role,
            pool.config.senders,
            sender_role(pool.config, queue, failure_queue, pool.work, acks),
            spare=pool.spare,
            takes_scale_signals=pool is pools[0],
            reads=(pool.work,),
            writes=(acks,),
            drain_reserve=SENDER_RESERVE_SECONDS,
            bells=Bells.create(pool.config.senders + pool.spare),
            drains_along=pool is not pools[0],
        )
        for pool in pools
    ]
    auditing = Stage(
        "auditor",
        1,
        auditor_role(config, queue, failure_queue, acks, recorded),
        reads=(acks,),
        takes_rotate=True,
        restart_in_drain=True,
    )
    flow = [receiving, *sending, auditing]
    if config.cron is not None:
        # First, because it sends to the queue.
        flow.insert(0, Stage("scheduler", 1, scheduler_role(config, queue)))
    if config.queue_type == "virtual":
        flow.append(Stage("queue", 1, queue_role(config, queue)))
    if serves and config.api_address is not None:
        flow.append(Stage("api", 1, api_role(config, queues, config.api_address, pools, acks), watches=(*works, acks)))
    if serves and watches(config):
        # Last, because it tells Auto Scaling that the others are gone.
        flow.append(watcher_stage(config))
    return flow


def slots(config: Config) -> dict[str, int]:
    """Return how many slots of each role the board of a pipeline needs, in the order of its stages."""
    found = {"consumer": config.consumers + SPARE_CONSUMERS, SENDER: config.senders + SPARE_SENDERS}
    if config.routes is not None:
        for route, each in zip(config.routes.routes, config.of_routes, strict=True):
            found[f"{SENDER}:{route.name}"] = each.senders + SPARE_OF_ROUTE
    found["auditor"] = 1
    if config.cron is not None:
        found = {"scheduler": 1, **found}
    if config.queue_type == "virtual":
        found["queue"] = 1
    if config.api_address is not None:
        found["api"] = 1
    if watches(config):
        found[WATCHER] = 1
    return found


def _fit(stage: Stage, board: Scoreboard) -> Stage:
    """Return a stage with as many spare workers as its board has slots: a reload may have changed their number."""
    return replace(stage, spare=len(board.slots(stage.role)) - stage.count) if stage.spare else stage


def _is_stopped(of: OfQueue | None) -> Callable[[], bool]:
    if of is None:
        return told_to_stop

    def is_stopped() -> bool:
        of.on_turn(time.monotonic(), {})
        return of.orders.wants_stop()

    return is_stopped
