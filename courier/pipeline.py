"""The map: which role runs what, joined by which channel, started and stopped in which order.

    consumer ──work──▶ sender ──acks──▶ auditor        api: reads the scoreboard
        └─────────────────acks────────────▲

Started from the end that settles to the end that receives, so that nothing is received before it can be
settled; drained the other way round, so that whatever is under way still finds everybody after it. The API comes
first and goes last, to tell of both.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
from setproctitle import setproctitle

from courier import __version__, breaker, endpoint
from courier.audit.committer import AuditLog
from courier.audit.files import AuditFiles
from courier.audit.firehose import BRIEF, PATIENCE, FirehoseLog
from courier.audit.firehose_batch import firehose_recorder
from courier.audit.lock import DirectoryLock
from courier.audit.reader import TEXT
from courier.audit.record import Recorder, recorder
from courier.auditor import Auditing, Auditor
from courier.config import Config, service_manager
from courier.consumer import Consumer, Intake
from courier.errors import EXIT_DRAINED, CannotStart
from courier.failure import FailureQueue
from courier.http.exchange import Transport
from courier.http.server import serve
from courier.http.session import Limits, Session
from courier.http.target import parse_target
from courier.policy import Backoff
from courier.preflight import audit_stream, preflight
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.child import Life, Role
from courier.process.notify import Manager
from courier.process.once import Interrupted, in_child
from courier.process.scoreboard import Scoreboard
from courier.process.signals import block_signals
from courier.process.stage import Settings, Stage
from courier.process.supervisor import Supervisor
from courier.request import delivery_head, recipient_tls
from courier.sender import Delivery, Sender
from courier.sqs.client import SqsClient
from courier.sqs.credentials import CredentialSource, chain, local_keys
from courier.sqs.queue import QueueInfo
from courier.sqs.virtual.registry import ACCOUNT
from courier.sqs.virtual.service import VirtualSqs
from courier.tally import FAILURE_QUEUE, call_counter, call_watcher

PREFLIGHT_SECONDS: Final = 60.0
VIRTUAL_ENDPOINT: Final = "http://127.0.0.1:9324"
LOCAL: Final = "local"
"""The region of the embedded queue, which takes any credentials."""

SPARE_SENDERS: Final = 16
SENDER_RESERVE_SECONDS: Final = 1.0
"""What senders leave of the drain timeout to the auditor, for the records and deletes of what ended last."""

log = structlog.get_logger("courier")


def run(config: Config) -> int:
    """Run the pipeline until it is told to stop; gives the exit code.

    Raises ConfigError or CannotStart with the line to show, where the preflight fails.
    """
    block_signals()
    allow_descriptors()
    setproctitle("courier: supervisor")
    log.info("starting", version=__version__, **config.told())
    if config.audit == "none" or config.audit_policy == "best-effort":
        log.warning("messages may be deleted without an audit record", audit=config.audit, policy=config.audit_policy)
    try:
        queues = find_queues(config)
    except Interrupted:
        log.info("stopped before it started")
        return EXIT_DRAINED
    work, acks = Channel.create("work"), Channel.create("acks")
    stages = build(config, queues, work, acks)
    board = Scoreboard.create({stage.role: stage.count + stage.spare for stage in stages})
    settings = Settings(
        drain_order=tuple(stage.role for stage in reversed(stages)),
        hang_timeout=config.hang_timeout_seconds,
        drain_timeout=config.drain_timeout_seconds,
        manager=Manager(*service_manager()),
    )
    return Supervisor(stages, board, settings, totals=lambda: totals(board)).run()


def build(config: Config, queues: Queues, work: Channel, acks: Channel) -> list[Stage]:
    """Give the stages in the order in which they start. The channels that each reads and writes stand beside it."""
    queue, failure_queue = queues
    auditing = Stage(
        "auditor",
        1,
        auditor(config, queue, failure_queue, acks),
        reads=(acks,),
        takes_rotate=True,
        restart_in_drain=True,
    )
    sending = Stage(
        "sender",
        config.senders,
        sender(config, queue, failure_queue, work, acks),
        spare=SPARE_SENDERS,
        reads=(work,),
        writes=(acks,),
        drain_reserve=SENDER_RESERVE_SECONDS,
    )
    receiving = Stage(
        "consumer",
        config.consumers,
        consumer(config, queue, work, acks),
        writes=(work, acks),
        watches=(work, acks),
        drain_reserve=SENDER_RESERVE_SECONDS,
    )
    stages = [auditing, sending, receiving]
    if config.queue_type == "virtual":
        stages.insert(0, Stage("queue", 1, embedded_queue(config, queue)))
    if config.api_address is not None:
        stages.insert(0, Stage("api", 1, api(config, config.api_address, work, acks), watches=(work, acks)))
    return stages


def consumer(config: Config, queue: QueueInfo, work: Channel, acks: Channel) -> Role:
    """Make the role that receives."""
    intake = Intake(
        batch_size=config.batch_size,
        wait_time=config.wait_time_seconds,
        poll_interval=config.poll_interval_seconds,
        visibility=config.visibility_timeout_seconds,
        fifo=queue.fifo,
        rate_limit=config.rate_limit,
    )

    async def receive(life: Life) -> None:
        if config.queue_type == "nop":
            life.ready()
            await life.draining.wait()
            return
        await Consumer(life, work, acks, sqs_client(life, queue, call_counter(life.slot)), intake).run()

    return receive


def sender(config: Config, queue: QueueInfo, failure_queue: QueueInfo | None, work: Channel, acks: Channel) -> Role:
    """Make the role that delivers."""
    delivery = Delivery(
        limits=endpoint_limits(config),
        visibility=config.visibility_timeout_seconds,
        fifo=queue.fifo,
        rules=config.rules,
        backoff=Backoff(config.backoff_base_seconds, config.backoff_cap_seconds, config.retry_delay_seconds),
        recorder=record_maker(config),
        failure_queue=FailureQueue(queue.name, failure_queue.maximum_message_size) if failure_queue else None,
        max_receives=config.max_receives,
    )
    connect = transport(config)

    async def deliver(life: Life) -> None:
        tls = recipient_tls(config)
        head = delivery_head(config, queue.name, tls)
        session = connect(life.loop, tls)
        await Sender(life, (work, acks), session, head, delivery).run()

    return deliver


def endpoint_limits(config: Config) -> endpoint.Limits:
    """Give what the senders together may do to the endpoint."""
    return endpoint.Limits(
        concurrency=config.concurrency,
        rate=config.rate_limit,
        in_flight=config.max_in_flight,
        adaptive=config.adaptive,
        breaker=breaker.Settings(
            config.breaker_threshold, config.breaker_cool_down_seconds, config.breaker_longest_cool_down_seconds
        ),
        reject_share=config.reject_share if config.failure_queue else 0.0,
        reject_window=config.reject_window_seconds,
        senders=config.senders,
    )


def transport(config: Config) -> Callable[[asyncio.AbstractEventLoop, ssl.SSLContext | None], Transport]:
    """Give what makes a sender's transport, in its process."""
    limits = Limits(connect_timeout=config.connect_timeout_seconds, timeout=config.timeout_seconds)
    if config.transport == "native":
        return lambda loop, tls: Session(loop, config.target, limits, tls, config.guard)
    # Imported here, before the fork: requests takes long, and few want it.
    from courier.http.requests_transport import RequestsTransport

    return lambda loop, tls: RequestsTransport(
        loop, config.target, limits, tls, guard=config.guard, threads=config.concurrency
    )


def auditor(config: Config, queue: QueueInfo, failure_queue: QueueInfo | None, acks: Channel) -> Role:
    """Make the role that records and settles."""

    async def audit(life: Life) -> None:
        audit_log = await life.loop.run_in_executor(None, open_audit_log, config, queue)
        client = sqs_client(life, queue, call_watcher(life.slot))
        settings = Auditing(
            visibility=config.visibility_timeout_seconds,
            fifo=queue.fifo,
            required=config.audit_policy == "required",
            failure_fifo=failure_queue is not None and failure_queue.fifo,
        )
        watch = call_watcher(life.slot, FAILURE_QUEUE)
        failure_client = sqs_client(life, failure_queue, watch) if failure_queue else None
        role = Auditor(life, acks, audit_log, (client, failure_client), settings)
        life.on_rotate = role.rotate
        await role.run()

    return audit


def record_maker(config: Config) -> Recorder | None:
    """Give what makes the records, in the senders; ``None`` where nothing is recorded."""
    if config.audit == "none":
        return None
    make = firehose_recorder if config.audit == "firehose" else recorder
    return make(config.audit_format, config.audit_body)


def open_audit_log(config: Config, queue: QueueInfo) -> AuditLog | None:
    """Open the audit log; ``None`` where there is none. It blocks. Raises CannotStart."""
    if config.audit == "firehose":
        patience = PATIENCE if config.audit_policy == "required" else BRIEF
        stream = audit_stream(config, queue if config.queue_type == "remote" else None)
        firehose = FirehoseLog(stream, patience=patience)
        firehose.open()
        return firehose
    if config.audit == "files":
        # Never let go of: the kernel does that when the process is gone.
        DirectoryLock(config.audit_path).acquire(config.drain_timeout_seconds)
        suffix = TEXT if config.audit_format == "text" else ".jsonl"
        limits = config.audit_max_bytes, config.audit_max_age_seconds
        files = AuditFiles(config.audit_path, *limits, suffix=suffix)
        files.open()
        return files
    return None


def api(config: Config, address: tuple[str, int], work: Channel, acks: Channel) -> Role:
    """Make the role that serves status and metrics."""
    # Imported here, before the fork: a third as much again as all else, and not wanted with --api none.
    from courier.api.observed import Observed
    from courier.api.server import serve_api

    async def tell(life: Life) -> None:
        await serve_api(life, Observed(life.board, work, acks, config.hang_timeout_seconds), config.told(), address)

    return tell


def embedded_queue(config: Config, queue: QueueInfo) -> Role:
    """Make the role that is the queue itself, in memory, for ``--queue-type virtual``."""

    async def hold(life: Life) -> None:
        log.warning("the queue is held in memory and gone when it stops; not for production", url=queue.url)
        sqs = VirtualSqs()
        sqs.create_queue(queue.name, {"VisibilityTimeout": str(config.visibility_timeout_seconds)})
        host, port = queue.endpoint.host, queue.endpoint.port
        try:
            server = await serve(sqs.handle, host, port)
        except OSError as error:
            raise CannotStart(f"--endpoint-url: cannot serve the queue on {host}:{port}: {error.strerror}") from None
        life.ready()
        await life.draining.wait()
        sqs.close()
        server.close()
        await server.wait_closed(1.0)

    return hold


def allow_descriptors() -> None:
    """Raise the limit of open files to what the system allows: large bodies travel in descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Queues(NamedTuple):
    """The queue, and that for rejected messages where there is one."""

    queue: QueueInfo
    failure_queue: QueueInfo | None


def find_queues(config: Config) -> Queues:
    """Check everything that the program stands on, in a child that leaves nothing behind; give the queues."""

    def check() -> bytes:
        found = preflight(config, lock_timeout=config.drain_timeout_seconds)
        for result in found.checks:
            if not result.ok:
                raise CannotStart(f"{result.detail}; {result.mend}" if result.mend else result.detail)
        if config.api_address is not None:
            from courier.api.server import listen

            # Found taken later, it would cost the messages that are received meanwhile a receive each.
            listen(config.api_address).close()
        found_queues = [found.queue or local_queue(config), found.failure_queue]
        return b"\n".join(queue.to_json() for queue in found_queues if queue is not None)

    timeout = PREFLIGHT_SECONDS + config.drain_timeout_seconds
    queues = [QueueInfo.from_json(line) for line in in_child(check, timeout, "the preflight").split(b"\n")]
    return Queues(queues[0], queues[1] if len(queues) > 1 else None)


def local_queue(config: Config) -> QueueInfo:
    """Give what is known beforehand of the embedded queue, or of none."""
    name = config.queue or "courier"
    endpoint = parse_target(config.endpoint_url or VIRTUAL_ENDPOINT)
    return QueueInfo(
        url=f"http://{endpoint.host_header}/{ACCOUNT}/{name}",
        name=name,
        region=LOCAL,
        endpoint=endpoint,
        fifo=name.endswith(".fifo"),
        visibility_timeout=config.visibility_timeout_seconds,
    )


def sqs_client(life: Life, queue: QueueInfo, on_call: Callable[[str, str | None], None]) -> SqsClient:
    """Make this process's client of the queue, with credentials of its own."""
    find = local_keys if queue.region == LOCAL else chain
    return SqsClient(life.loop, queue, CredentialSource(queue.region, find=find), on_call=on_call)


def totals(board: Scoreboard) -> dict[str, int]:
    """Give what the program did since it started, for its last line."""
    words = {
        "received": scoreboard.RECEIVED,
        "delivered": scoreboard.DELIVERED,
        "retried": scoreboard.RETRIED,
        "rejected": scoreboard.REJECTED,
        "released": scoreboard.RELEASED,
        "recorded": scoreboard.RECORDED,
        "deleted": scoreboard.DELETED,
        "lapsed": scoreboard.LAPSED,
        "cut": scoreboard.CUT,
        "unsettled": scoreboard.UNSETTLED,
    }
    return {name: board.total(word) for name, word in words.items()}
