"""The wiring: from a Config to the objects that each role needs.

It reads secrets in the process that uses them. Secrets never come from the command line, and are never logged.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import ssl
from collections.abc import Callable
from pathlib import Path

from courier.audit.files import AuditFiles
from courier.audit.firehose_batch import firehose_recorder
from courier.audit.lock import DirectoryLock
from courier.audit.reader import TEXT
from courier.audit.record import Recorder, recorder
from courier.audit.stream import Stream
from courier.auditor.auditor import Auditor, AuditorOptions
from courier.auditor.log_thread import AuditLog
from courier.board.tally import FAILURE_QUEUE, call_counter, call_watcher
from courier.config.config import Config
from courier.config.loading import WEBHOOK_SECRET_VARIABLE, environment, webhook_secrets
from courier.consumer.consumer import Consumer, ConsumerOptions
from courier.errors import CannotStart
from courier.http.certificates import TlsFiles, watch_certificate_files
from courier.http.exchange import Transport
from courier.http.secret_file import SecretFile
from courier.http.session import Session, SessionLimits
from courier.http.tls import client_context
from courier.local.embedded import LOCAL_REGION
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.life import Life, Role, RoleFactory
from courier.process.scoreboard import Slot
from courier.recipient import breaker, gate
from courier.recipient.policy import Backoff
from courier.request.auth import Authentication, parse_basic, parse_bearer
from courier.request.head import DeliveryHead, HeadStyle
from courier.request.head_budget import least_bytes
from courier.request.signing import Sign, parse_secrets
from courier.sender.options import SenderOptions
from courier.sender.rejection import FailureQueue
from courier.sender.sender import Sender
from courier.sqs.client import SqsClient
from courier.sqs.configuration import AwsConfiguration
from courier.sqs.credentials import LOCAL_KEYS, CredentialSource, local_keys
from courier.sqs.discovery import aws_configuration
from courier.sqs.queue import QueueInfo

KeySource = Callable[[], CredentialSource]
"""Makes the source of the keys of one process."""


def delivery_head(config: Config, queue_name: str, tls: ssl.SSLContext | None = None) -> DeliveryHead:
    """Return the renderer of request heads; raise CannotStart if a file of secrets can't be used.

    ``tls`` is the recipient's context; the certificate is loaded into it again when its files change.
    """
    style = HeadStyle(
        config.headers,
        config.own_headers,
        config.attribute_headers,
        config.content_type,
        config.content_type_attribute,
        config.max_header_bytes - _added_bytes(config),
        config.attribute_allow,
    )
    return DeliveryHead(config.recipient, queue_name, style, authentication(config, tls))


def check_header_room(config: Config, head: DeliveryHead) -> None:
    """Raise CannotStart if the fixed part of every request doesn't fit into --max-header-bytes."""
    needed = least_bytes(head.fixed_bytes()) + _added_bytes(config)
    if needed > config.max_header_bytes:
        raise CannotStart(
            f"--max-header-bytes: {config.max_header_bytes} bytes are too few for the headers of every request; give "
            f"{needed} or more if the recipient accepts that, or shorten the path of --recipient-url, a --header, "
            "or the token"
        )


def _added_bytes(config: Config) -> int:
    """Return the number of bytes that the transport adds to a head for a proxy."""
    if config.transport != "requests":
        return 0
    # Imported here, because requests takes long to import and is rarely used.
    from courier.http.requests.environment import added_for_proxy

    return added_for_proxy(config.recipient)


def authentication(config: Config, tls: ssl.SSLContext | None = None) -> Authentication | None:
    """Return the authentication of requests, ``None`` for none; raise as :func:`delivery_head` does."""
    header = None
    if config.bearer_token_file is not None:
        header = SecretFile("--bearer-token-file", config.bearer_token_file, parse_bearer)
    elif config.basic_auth_file is not None:
        header = SecretFile("--basic-auth-file", config.basic_auth_file, parse_basic)
    files = [SecretFile("--webhook-secret-file", path, parse_secrets) for path in config.webhook_secret_file]
    keys = _keys_of_the_variable()
    certificate = watch_certificate_files(tls, tls_files(config)) if tls is not None else []
    return Authentication(header, files, keys, certificate) if header or files or keys or certificate else None


def has_secrets(config: Config) -> bool:
    """Return whether requests prove who sends, by secrets or by a certificate that belongs to a TLS context."""
    named = (config.bearer_token_file, config.basic_auth_file, config.webhook_secret_file, webhook_secrets())
    return config.recipient.scheme == "https" or any(named)


def recipient_tls(config: Config) -> ssl.SSLContext | None:
    """Return the TLS context for the recipient, ``None`` without https; raise CannotStart if a file can't be used."""
    if config.recipient.scheme != "https":
        return None
    return client_context(tls_files(config))


def tls_files(config: Config) -> TlsFiles:
    """Return the files for TLS; raise CannotStart if a variable names one that can't be read."""
    return TlsFiles(config.ca_file or _bundle_of_requests(config), config.client_cert, config.client_key)


def _bundle_of_requests(config: Config) -> Path | None:
    if config.transport != "requests":
        return None
    # Imported here, and before the fork in courier.pipeline, because requests takes long to import and is rarely used.
    from courier.http.requests.environment import ca_bundle_for

    bundle = ca_bundle_for(config.recipient)
    if bundle is not None and not os.access(bundle, os.R_OK):
        raise CannotStart(f"REQUESTS_CA_BUNDLE: cannot read {bundle}; give a file of certificates in PEM, or unset it")
    return None if bundle is None else Path(bundle)


def _keys_of_the_variable() -> tuple[Sign, ...]:
    text = webhook_secrets()
    try:
        return parse_secrets(text) if text else ()
    except ValueError as error:
        raise CannotStart(f"{WEBHOOK_SECRET_VARIABLE}: {error}") from None


def audit_stream(config: Config, queue: QueueInfo | None) -> Stream:
    """Return the Firehose stream, by default in the region of the queue."""
    region = None if queue is None else queue.region
    return Stream(config.firehose_stream, config.region, config.firehose_endpoint_url, fallback_region=region)


def consumer_role(config: Config, queue: QueueInfo, work: Channel, acks: Channel) -> RoleFactory:
    """Return the factory of consumers."""
    options = ConsumerOptions(
        batch_size=config.batch_size,
        wait_time=config.wait_time_seconds,
        poll_interval=config.poll_interval_seconds,
        visibility=config.visibility_timeout_seconds,
        fifo=queue.fifo,
        rate_limit=config.rate_limit,
    )
    keys = key_source(queue)

    async def make(life: Life) -> Role:
        if config.queue_type == "nop":
            return Role()
        client = sqs_client(life, queue, keys, call_counter(life.slot), receives=True)
        return Consumer(life, work, acks, client, options)

    return make


def sender_role(
    config: Config, queue: QueueInfo, failure_queue: QueueInfo | None, work: Channel, acks: Channel
) -> RoleFactory:
    """Return the factory of senders."""
    options = SenderOptions(
        limits=gate_options(config),
        visibility=config.visibility_timeout_seconds,
        fifo=queue.fifo,
        rules=config.rules,
        backoff=backoff(config),
        recorder=audit_recorder(config),
        failure_queue=FailureQueue(queue.name, failure_queue.maximum_message_size) if failure_queue else None,
        max_receives=config.max_receives,
    )
    connect = transport_factory(config)
    # Without secrets it is made before the fork: all senders share it.
    common_head = None if has_secrets(config) else delivery_head(config, queue.name)

    async def make(life: Life) -> Role:
        tls = recipient_tls(config)
        head = common_head or delivery_head(config, queue.name, tls)
        session = connect(life.loop, tls)
        return Sender(life, (work, acks), session, head, options)

    return make


def backoff(config: Config) -> Backoff:
    """Return the back-off of retries."""
    return Backoff(config.backoff_base_seconds, config.backoff_cap_seconds, config.retry_delay_seconds)


def gate_options(config: Config) -> gate.GateOptions:
    """Return the options of the gate, which all senders share."""
    return gate.GateOptions(
        concurrency=config.concurrency,
        rate=config.rate_limit,
        in_flight=config.max_in_flight,
        adaptive=config.adaptive,
        breaker=breaker.BreakerOptions(
            config.breaker_threshold, config.breaker_cool_down_seconds, config.breaker_longest_cool_down_seconds
        ),
        reject_share=config.reject_share,
        reject_window=config.reject_window_seconds,
        senders=config.senders,
    )


def transport_factory(config: Config) -> Callable[[asyncio.AbstractEventLoop, ssl.SSLContext | None], Transport]:
    """Return the factory of the transport, called in each sender's process."""
    limits = SessionLimits(connect_timeout=config.connect_timeout_seconds, timeout=config.timeout_seconds)
    if config.transport == "native":
        return lambda loop, tls: Session(loop, config.recipient, limits, tls, config.guard)
    # Imported here, before the fork, because requests takes long to import and is rarely used.
    from courier.http.requests.transport import RequestsTransport

    return lambda loop, tls: RequestsTransport(
        loop, config.recipient, limits, tls, guard=config.guard, threads=config.concurrency
    )


def auditor_role(config: Config, queue: QueueInfo, failure_queue: QueueInfo | None, acks: Channel) -> RoleFactory:
    """Return the factory of the auditor."""
    keys = key_source(queue)

    async def make(life: Life) -> Role:
        audit_log = await life.loop.run_in_executor(None, open_audit_log, config, queue, life.slot)
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
        return Auditor(life, acks, audit_log, (client, failure_client), options)

    return make


def audit_recorder(config: Config) -> Recorder | None:
    """Return the senders' recorder of audit records; ``None`` with ``--audit none``."""
    if config.audit == "none":
        return None
    make = firehose_recorder if config.audit == "firehose" else recorder
    return make(config.audit_format, config.audit_body)


def open_audit_log(config: Config, queue: QueueInfo, slot: Slot) -> AuditLog | None:
    """Open and return the audit log; ``None`` with ``--audit none``. It blocks.

    Damaged lines are counted in the slot. Raise CannotStart if the log can't be opened.
    """
    if config.audit == "firehose":
        # Imported here, in the auditor's process, because boto3 is large and no other process needs its clients.
        from courier.audit.firehose import BRIEF, PATIENCE, FirehoseLog

        patience = PATIENCE if config.audit_policy == "required" else BRIEF
        stream = audit_stream(config, queue if config.queue_type == "remote" else None)
        firehose = FirehoseLog(stream, patience=patience)
        firehose.open()
        return firehose
    if config.audit == "files":
        # Never released: the kernel does that at the end of the process.
        lock = DirectoryLock(config.audit_path)
        lock.acquire(config.drain_timeout_seconds)
        suffix = TEXT if config.audit_format == "text" else ".jsonl"
        limits = config.audit_max_bytes, config.audit_max_age_seconds
        files = AuditFiles(config.audit_path, *limits, suffix=suffix, lock=lock)
        files.open_at_once(lambda: count_damage(slot))
        return files
    return None


def count_damage(slot: Slot) -> None:
    """Count a damaged line of the audit log; only the recovery's thread writes this word."""
    slot.words[scoreboard.AUDIT_DAMAGED] += 1


def import_roles(config: Config) -> None:
    """Import what the roles will import, while the program has to wait anyway.

    An import in a process that was forked copies most of the pages that it shared, which is 5 MB.
    """
    # Python imports it to resolve the first name.
    importlib.import_module("encodings.idna")
    if config.api_address is not None:
        importlib.import_module("courier.api.server")


def api_role(config: Config, address: tuple[str, int], work: Channel, acks: Channel) -> RoleFactory:
    """Return the factory of the API."""
    # Imported here, before the fork: --api none needs none of it.
    from courier.api.observed import Observed
    from courier.api.server import Where, open_api

    where, settings = Where(*address, config.api_host), config.summary()

    async def make(life: Life) -> Role:
        return await open_api(life, Observed(life.board, work, acks), settings, where)

    return make


def queue_role(config: Config, queue: QueueInfo) -> RoleFactory:
    """Return the factory of the queue's own role for ``--queue-type virtual``."""

    async def make(_: Life) -> Role:
        # Imported here, in the queue's process, because no other process needs a queue in memory, or its web server.
        from courier.local.queue_role import open_queue

        return await open_queue(config, queue)

    return make


def key_source(queue: QueueInfo) -> KeySource:
    """Return what makes the source of the keys that sign the calls for a queue."""
    if queue.region == LOCAL_REGION:
        return lambda: CredentialSource(local_keys, queue.region, at_hand=LOCAL_KEYS)
    aws = configured_aws()
    return lambda: CredentialSource(aws.find_keys, queue.region, at_hand=aws.keys_at_hand)


def configured_aws() -> AwsConfiguration:
    """Return the configuration of AWS. Call it before the fork if the program uses AWS."""
    return aws_configuration(environment())


def sqs_client(
    life: Life, queue: QueueInfo, keys: KeySource, on_call: Callable[[str, str | None], None], *, receives: bool = False
) -> SqsClient:
    """Return a client of the queue for this process, with separate credentials."""
    return SqsClient(life.loop, queue, keys(), receives=receives, on_call=on_call)
