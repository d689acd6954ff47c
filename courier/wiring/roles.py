"""The roles: from a Config to the factory of each role, which the workers call after the fork."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from courier.audit.recorded_ids import RecordedIds
from courier.auditor.auditor import Auditor, AuditorOptions
from courier.auditor.held_receipts import Removal
from courier.board.tally import FAILURE_QUEUE, call_counter, call_watcher
from courier.config.body import FETCH
from courier.config.config import Config
from courier.config.sources import settings
from courier.consumer.consumer import Consumer, ConsumerOptions
from courier.consumer.intake import RouteWork
from courier.log.setup import name_route
from courier.process.channel import Channel
from courier.process.life import Life, Role, RoleFactory
from courier.process.scoreboard import Slot
from courier.sender.options import Redrive, SenderOptions
from courier.sender.rejection import FailureQueue
from courier.sender.sender import Sender
from courier.sqs.queue import QueueInfo
from courier.wiring.audit import audit_events, audit_recorder, open_audit_log, open_dedupe, records_sent
from courier.wiring.aws import key_source, sqs_client
from courier.wiring.batches import answer_rules, batch_options
from courier.wiring.control import control_path, observed
from courier.wiring.depths import depth_watch
from courier.wiring.page import page_control
from courier.wiring.pools import SenderPool
from courier.wiring.preparation import preparation_factory
from courier.wiring.recipient import (
    Connect,
    backoff,
    delivery_head,
    gate_options,
    has_secrets,
    recipient_tls,
    transport_factory,
)
from courier.wiring.traces import traces_factory


def consumer_role(
    config: Config,
    queue: QueueInfo,
    work: Channel,
    acks: Channel,
    recorded: RecordedIds | None = None,
    routes: Sequence[RouteWork] = (),
) -> RoleFactory:
    """Return the factory of consumers, which read the dedupe window ``recorded``."""
    options = ConsumerOptions(
        batch_size=config.batch_size,
        wait_time=config.wait_time_seconds,
        poll_interval=config.poll_interval_seconds,
        visibility=config.visibility_timeout_seconds,
        fifo=queue.fifo,
        rate_limit=config.rate_limit,
        routes=routes,
        most_receives=queue.max_receive_count,
    )
    keys = key_source(queue)
    keeps_system = any(each.is_batched for each in (config, *config.of_routes))

    async def make(life: Life) -> Role:
        if config.queue_type == "nop":
            return Role()
        client = sqs_client(life, queue, keys, call_counter(life.slot), receives=True, keeps_system=keeps_system)
        return Consumer(life, work, acks, client, options, audit_events(config, life.slot), recorded)

    return make


def sender_role(
    config: Config,
    queue: QueueInfo,
    failure_queue: QueueInfo | None,
    work: Channel,
    acks: Channel,
    connect: Connect | None = None,
) -> RoleFactory:
    """Return the factory of senders. ``connect`` makes another transport than that of the configuration."""
    options = sender_options(config, queue, failure_queue)
    connect = connect or transport_factory(config)
    make_traces = traces_factory(config, queue.name)
    prepare = preparation_factory(config, queue.name, region=s3_region(config, queue))
    # Without secrets it is made before the fork: all senders share it.
    common_head = None if has_secrets(config) else delivery_head(config, queue.name)

    async def make(life: Life) -> Role:
        name_route(life.slot.role.partition(":")[2])
        tls = recipient_tls(config)
        head = common_head or delivery_head(config, queue.name, tls)
        session = connect(life.loop, tls)
        traces = make_traces() if make_traces is not None else None
        events = audit_events(config, life.slot)
        preparation = prepare(life.loop, session, head, life.slot) if prepare is not None else None
        return Sender(life, (work, acks), session, head, options, traces, events, preparation)

    return make


def sender_options(config: Config, queue: QueueInfo, failure_queue: QueueInfo | None) -> SenderOptions:
    """Return the options of senders."""
    return SenderOptions(
        limits=gate_options(config),
        visibility=config.visibility_timeout_seconds,
        fifo=queue.fifo,
        rules=answer_rules(config),
        backoff=backoff(config),
        recorder=audit_recorder(config),
        records_sent=records_sent(config),
        failure_queue=_failure_queue(queue, failure_queue) if failure_queue else None,
        max_receives=config.max_receives,
        redrive=Redrive(queue.dead_letter_name, queue.max_receive_count) if queue.max_receive_count else None,
        batches=batch_options(config, queue),
    )


def _failure_queue(source: QueueInfo, queue: QueueInfo) -> FailureQueue:
    return FailureQueue(source.name, queue.maximum_message_size, queue.name)


def auditor_role(
    config: Config,
    queue: QueueInfo,
    failure_queue: QueueInfo | None,
    acks: Channel,
    recorded: RecordedIds | None = None,
) -> RoleFactory:
    """Return the factory of the auditor, which writes the dedupe window ``recorded``."""
    keys = key_source(queue)

    async def make(life: Life) -> Role:
        audit_log = await life.loop.run_in_executor(None, open_audit_log, config, queue, life.slot)
        dedupe = open_dedupe(config, queue, life.slot, audit_log, recorded) if recorded is not None else None
        client = sqs_client(life, queue, keys, call_watcher(life.slot))
        options = AuditorOptions(
            visibility=config.visibility_timeout_seconds,
            fifo=queue.fifo,
            required=config.audit_policy == "required",
            failure_fifo=failure_queue is not None and failure_queue.fifo,
            backoff=backoff(config),
        )
        watch = call_watcher(life.slot, FAILURE_QUEUE)
        failure_client = sqs_client(life, failure_queue, keys, watch) if failure_queue else None
        depths = None
        if config.api_address is not None and config.queue_type != "nop":
            depths = depth_watch(life, queue, client, failure_queue, failure_client)
        events = audit_events(config, life.slot)
        if dedupe is not None:
            audit_log = dedupe
        clients, removal = (client, failure_client), _object_removal(config, queue, life.slot)
        return Auditor(life, acks, audit_log, clients, options, depths, events, dedupe, removal)

    return make


def _object_removal(config: Config, queue: QueueInfo, slot: Slot) -> Removal | None:
    """Return what removes the objects that bodies were fetched from; ``None`` if they stay."""
    if not config.fetch_delete:
        return None
    # Imported here, because few programs fetch.
    from courier.wiring.fetching import object_removal

    return object_removal(config, s3_region(config, queue), slot)


def s3_region(config: Config, queue: QueueInfo) -> str | None:
    """Return the region of the objects that messages point to; ``None`` for that of boto3's configuration."""
    return queue.region if config.queue_type == "remote" else None


def api_role(
    config: Config,
    queues: tuple[QueueInfo, QueueInfo | None],
    address: tuple[str, int],
    pools: Sequence[SenderPool],
    acks: Channel,
) -> RoleFactory:
    """Return the factory of the API. ``queues`` are the source queue, and the failure queue if there is one."""
    # Imported here, before the fork: --api none needs none of it.
    from courier.api.about import About
    from courier.api.page.document import document
    from courier.api.server import Page, Where, open_api

    where, shown = Where(*address, config.api_host), config.summary()
    text = document() if config.page == "auto" else None
    (queue, failure_queue), socket = queues, control_path(config)
    about = About(
        queue=queue.name if config.queue_type != "nop" else "",
        dead_letter_queue=queue.dead_letter_name,
        failure_queue=failure_queue.name if failure_queue else "",
        configuration=[setting._asdict() for setting in settings(config, config.sources)],
        control=str(socket) if socket else None,
        page_control=config.page_control is not None,
    )

    async def make(life: Life) -> Role:
        page = Page(text, page_control(config)) if text else None
        return await open_api(life, observed(life.board, pools, acks), shown, where, page, about)

    return make


def scheduler_role(config: Config, queue: QueueInfo) -> RoleFactory:
    """Return the factory of the scheduler of periodic tasks. Raise CannotStart if its file can't be used."""
    # Imported here, before the fork, because few programs have periodic tasks.
    from courier.scheduler.scheduler import Scheduler

    tasks, keys = config.tasks, key_source(queue)

    async def make(life: Life) -> Role:
        client = sqs_client(life, queue, keys, call_watcher(life.slot))
        return Scheduler(life, client, tasks, fifo=queue.fifo)

    return make


def queue_role(config: Config, queue: QueueInfo) -> RoleFactory:
    """Return the factory of the queue's own role for ``--queue-type virtual``."""

    async def make(_: Life) -> Role:
        # Imported here, in the queue's process, because no other process needs a queue in memory, or its web server.
        from courier.local.queue_role import open_queue

        return await open_queue(config, queue)

    return make


def import_roles(config: Config) -> None:
    """Import what the roles will import, while the program has to wait anyway.

    An import in a process that was forked copies most of the pages that it shared, which is 5 MB.
    """
    # Python imports it to resolve the first name.
    importlib.import_module("encodings.idna")
    if config.api_address is not None:
        importlib.import_module("courier.api.server")
    if FETCH in config.body_steps:
        importlib.import_module("courier.wiring.fetching")
    if config.traces:
        importlib.import_module("courier.sender.spans")
    if any(each.is_batched for each in (config, *config.of_routes)):
        importlib.import_module("courier.sender.batches")
