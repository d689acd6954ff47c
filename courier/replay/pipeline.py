"""The map of a replay: the real pipeline, with the feeder in the place of SQS.

    records ──▶ feeder (a queue in memory) ──▶ consumer ──work──▶ sender × M ──acks──▶ auditor ──▶ the replay's own log

So a replay has the senders' session, policy, breaker and limits, and its records are durable before they count. It is
an ordinary run in all else: the signal to stop drains, and the death of the supervisor ends the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from setproctitle import setproctitle

from courier.board.tally import totals
from courier.config.config import Config
from courier.config.file_descriptors import fit_concurrency, raise_limit
from courier.errors import EXIT_CANNOT_START
from courier.pipeline import SENDER_RESERVE_SECONDS
from courier.preflight import check_audit, check_sending, raise_failed
from courier.process import scoreboard
from courier.process.bells import Bells
from courier.process.channel import Channel
from courier.process.collection import no_collection
from courier.process.life import Life, Role, RoleFactory
from courier.process.scoreboard import Scoreboard
from courier.process.short_lived_child import run_in_child
from courier.process.signals import block_signals
from courier.process.spread import workers_for_cores
from courier.process.stage import Stage, SupervisorOptions
from courier.process.supervisor import Supervisor
from courier.replay.feeder import Feed, open_feeder
from courier.replay.progress import ProgressBar
from courier.replay.selection import Selection
from courier.replay.settings import replay_queues
from courier.replay.verdict import Ending, Verdict
from courier.sqs.queue import QueueInfo
from courier.wiring.roles import auditor_role, consumer_role, import_roles, sender_role

CHECK_SECONDS: Final = 60.0

LOCK_SECONDS: Final = 5.0
"""Seconds in which the workers of a replay that was killed are gone."""

START_SECONDS: Final = 10.0
"""Seconds after which a consumer doesn't wait for the queue any more."""

SERVED: Final = frozenset({scoreboard.READY, scoreboard.DRAINING})


class Channels(NamedTuple):
    """The channels to the senders and to the auditor."""

    work: Channel
    acks: Channel


Sending = Callable[[Config, QueueInfo, QueueInfo, Channels], RoleFactory]
"""Makes the factory of the role that sends."""


def to_recipient(config: Config, queue: QueueInfo, failures: QueueInfo, channels: Channels) -> RoleFactory:
    """Return the factory of the real senders."""
    return sender_role(config, queue, failures, *channels)


@dataclass(frozen=True)
class Replay:
    """A replay to run: what is sent, how many messages that is for the bar, and whether any has a group."""

    selection: Selection
    messages: int
    has_groups: bool
    give_up_seconds: float | None = None
    sending: Sending = to_recipient


def check(config: Config) -> None:
    """Check what the senders and the auditor need, in a child. Raise as :func:`run_in_child` does."""

    def checks() -> bytes:
        raise_failed([check_audit(config, LOCK_SECONDS), *check_sending(config)])
        return b""

    run_in_child(checks, CHECK_SECONDS, "the check before the replay", lambda: import_roles(config))


def run(config: Config, replay: Replay) -> Ending:
    """Send until all is settled, or until a signal; return how it ended. A worker has logged why it cannot start.

    Raise ConfigError or CannotStart if it can't start, and Interrupted after a signal before the start.
    """
    block_signals()
    setproctitle("courier: supervisor of a replay")
    config, _ = fit_concurrency(config, raise_limit())
    with no_collection():
        check(config)
    workers_for_cores()
    channels = Channels(Channel.create("work"), Channel.create("acks"))
    queues = replay_queues(config, fifo=replay.has_groups)
    verdict = Verdict()
    bar = ProgressBar(replay.messages)
    feed = Feed(replay.selection, config.audit_path, *queues, verdict, replay.give_up_seconds, bar.show, bar.close)
    flow = build_stages(config, replay, feed, channels)
    board = Scoreboard.create({stage.role: stage.count + stage.spare for stage in flow[::-1]})
    options = SupervisorOptions(
        drain_order=tuple(stage.role for stage in flow),
        hang_timeout=config.hang_timeout_seconds,
        drain_timeout=config.drain_timeout_seconds,
    )
    code = Supervisor(flow[::-1], board, options, totals=lambda: totals(board)).run()
    return Ending.CANNOT_START if code == EXIT_CANNOT_START else verdict.read()


def after_the_queue(make: RoleFactory) -> RoleFactory:
    """Return a factory that waits until the queue is served, so that no receive fails at the start."""

    async def make_after(life: Life) -> Role:
        deadline = time.monotonic() + START_SECONDS
        while life.board.column(scoreboard.STATE, "queue")[0] not in SERVED:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.01)
        return await make(life)

    return make_after


def build_stages(config: Config, replay: Replay, feed: Feed, channels: Channels) -> list[Stage]:
    """Return the stages in the order of a drain."""
    work, acks = channels
    receiving = Stage(
        "consumer",
        config.consumers,
        after_the_queue(consumer_role(config, feed.queue, work, acks)),
        writes=(work, acks),
        watches=(work, acks),
        drain_reserve=SENDER_RESERVE_SECONDS,
        bells=Bells.create(config.consumers),
    )
    sending = Stage(
        "sender",
        config.senders,
        replay.sending(config, feed.queue, feed.failures, channels),
        reads=(work,),
        writes=(acks,),
        drain_reserve=SENDER_RESERVE_SECONDS,
        bells=Bells.create(config.senders),
    )
    auditing = Stage(
        "auditor", 1, auditor_role(config, feed.queue, feed.failures, acks), reads=(acks,), restart_in_drain=True
    )

    async def feeder(life: Life) -> Role:
        return await open_feeder(life, feed)

    return [receiving, sending, auditing, Stage("queue", 1, feeder)]
