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

from courier.board.tally import call_counter, totals
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
from courier.replay.queue_transport import QueueHead, QueueTransport
from courier.replay.selection import Selection
from courier.replay.settings import replay_queues
from courier.replay.verdict import Ending, Verdict
from courier.sender.sender import Sender
from courier.sqs.lookup import resolve_queue
from courier.sqs.queue import QueueInfo
from courier.wiring.aws import configured_aws, key_source, sqs_client
from courier.wiring.roles import auditor_role, consumer_role, import_roles, sender_options, sender_role

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


def into_queue(target: QueueInfo, run_id: str) -> Sending:
    """Return what makes the factory of senders to a queue."""
    keys = key_source(target)

    def sending(config: Config, queue: QueueInfo, failures: QueueInfo, channels: Channels) -> RoleFactory:
        options, head = sender_options(config, queue, failures), QueueHead(target)

        async def make(life: Life) -> Role:
            client = sqs_client(life, target, keys, call_counter(life.slot))
            transport = QueueTransport(life.loop, client, run_id, fifo=target.fifo)
            return Sender(life, channels, transport, head, options)

        return make

    return sending


@dataclass(frozen=True)
class Replay:
    """A replay to run: its id, what is sent, how many messages that is for the bar, and whether any has a group.

    With ``queue``, its name or URL, they are sent there and not to the recipient.
    """

    run_id: str
    selection: Selection
    messages: int
    has_groups: bool
    give_up_seconds: float | None = None
    queue: str = ""


def check(config: Config, replay: Replay) -> Sending:
    """Check what the senders and the auditor need, in a child; return how to send.

    Raise as :func:`run_in_child` does.
    """

    def checks() -> bytes:
        raise_failed([check_audit(config, LOCK_SECONDS), *([] if replay.queue else check_sending(config))])
        if not replay.queue:
            return b""
        aws = configured_aws(config.assumed_role)
        return resolve_queue(aws, replay.queue, config.region, config.endpoint_url, "--to-queue").to_json()

    target = run_in_child(checks, CHECK_SECONDS, "the check before the replay", lambda: import_roles(config))
    return into_queue(QueueInfo.from_json(target), replay.run_id) if target else to_recipient


def run(config: Config, replay: Replay) -> Ending:
    """Send until all is settled, or until a signal; return how it ended. A worker has logged why it cannot start.

    Raise ConfigError or CannotStart if it can't start, and Interrupted after a signal before the start.
    """
    block_signals()
    setproctitle("courier: supervisor of a replay")
    config, _ = fit_concurrency(config, raise_limit())
    with no_collection():
        if replay.queue:
            # Before the first fork, so that all share what it imports.
            configured_aws(config.assumed_role)
        sending = check(config, replay)
    workers_for_cores()
    channels = Channels(Channel.create("work"), Channel.create("acks"))
    queues = replay_queues(config, fifo=replay.has_groups)
    verdict = Verdict()
    bar = ProgressBar(replay.messages)
    feed = Feed(replay.selection, config.audit_path, *queues, verdict, replay.give_up_seconds, bar.show, bar.close)
    flow = build_stages(config, sending, feed, channels)
    board = Scoreboard.create({stage.role: stage.count + stage.spare for stage in flow[::-1]})
    options = SupervisorOptions(
        drain_order=tuple(stage.role for stage in flow),
        hang_timeout=config.hang_timeout_seconds,
        drain_timeout=config.drain_timeout_seconds,
    )
    code = Supervisor(flow[::-1], board, options, totals=lambda: totals(board)).run()
    bar.restore()
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


def build_stages(config: Config, sending: Sending, feed: Feed, channels: Channels) -> list[Stage]:
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
    delivering = Stage(
        "sender",
        config.senders,
        sending(config, feed.queue, feed.failures, channels),
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

    return [receiving, delivering, auditing, Stage("queue", 1, feeder)]
