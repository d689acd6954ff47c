"""The checks before the start: credentials, queues, audit log, recipient.

``courier run`` makes them in a short-lived child; ``courier check`` shows all of them. All calls block.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from courier.api.listener import listen
from courier.audit.archive_place import ArchiveSettings
from courier.audit.directory import AuditDirectory
from courier.audit.lock import DirectoryLock
from courier.audit.sign_key import read_sign_key
from courier.audit.stream import Stream
from courier.config.body import FETCH
from courier.config.config import Config
from courier.config.file_descriptors import fit_concurrency, raise_limit
from courier.config.recipient import origin_of
from courier.errors import CannotStart, CourierError
from courier.http.advice import BY_NAME_FAILURE, name_failure
from courier.http.dial import SocketAddress, split_by_guard
from courier.http.guard import AddressGuard
from courier.http.secret_file import log_exposure
from courier.http.spool import nameless_file
from courier.http.tls import client_context
from courier.http.url import Url
from courier.local.embedded import local_queue
from courier.process.short_lived_child import run_in_child, told_to_stop
from courier.sqs.lookup import resolve_queue
from courier.sqs.queue import QueueInfo
from courier.sqs.role import AssumedRole
from courier.wiring.audit import archive_settings, audit_stream
from courier.wiring.aws import configured_aws
from courier.wiring.leaving import describe_platform, watches
from courier.wiring.page import page_token
from courier.wiring.recipient import authentication, check_header_room, delivery_head, recipient_tls

log = structlog.get_logger("courier")

ARCHIVE: Final = "archive"
"""The name of the check of the archive."""

FEW_RECEIVES: Final = 3
"""Receives below which a redrive policy moves messages even after a restart or a short outage."""


class Check(NamedTuple):
    """The result of one check: in ``detail`` what was found or what is wrong, and in ``advice`` how to fix it.

    ``warnings`` are lines about problems that don't prevent the start.
    """

    name: str
    ok: bool
    detail: str
    advice: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preflight:
    """The results of all checks in their order, and the queues that were found.

    ``queue`` is ``None`` for queue types that need no lookup.
    """

    queue: QueueInfo | None
    checks: tuple[Check, ...]
    failure_queue: QueueInfo | None = None

    @property
    def ok(self) -> bool:
        """Return whether the program can start."""
        return all(check.ok for check in self.checks)


def preflight(config: Config, *, lock_timeout: float = 5.0, connect: bool = False) -> Preflight:
    """Make all checks and return their results; a failed check doesn't raise.

    ``lock_timeout`` is how long to wait for the audit directory, in seconds: after a crash of the supervisor, its
    workers need a moment to end. ``connect`` also opens a connection to the recipient. ``run`` doesn't, because it may
    start while the recipient is down: messages wait in the queue.
    """
    checks: list[Check] = []
    queue = None
    if config.queue_type == "remote" or config.audit == "firehose":
        checks.append(check_credentials(config.region, config.assumed_role if config.queue_type == "remote" else None))
    # Without credentials no call to AWS is possible, and one line about them is enough.
    keys = not checks or checks[0].ok
    failure_queue = None
    if config.queue_type == "remote" and keys:
        queue, check = check_queue(config, config.queue)
        checks.append(check)
        if config.failure_queue:
            failure_queue, check = check_queue(config, config.failure_queue, "--failure-queue")
            if failure_queue is not None and queue is not None and failure_queue.url == queue.url:
                same = f"--failure-queue and --queue are the same queue, {queue.url}"
                check = Check(
                    "failure queue",
                    False,
                    same,
                    "name another failure queue: rejected messages would come back for ever",
                )
            checks.append(check._replace(name="failure queue"))
    if config.audit == "files":
        checks.append(check_audit(config, lock_timeout))
        if settings := archive_settings(config, queue):
            checks.append(check_archive(settings))
    elif config.audit == "firehose" and keys:
        checks.append(check_stream(audit_stream(config, queue)))
    if FETCH in config.body_steps:
        checks.append(check_fetch(config, queue))
    if config.cron is not None:
        checks.append(check_tasks(config))
    if connect:
        # courier run checks this before it creates the first process.
        checks.append(check_descriptors(config))
        if watches(config):
            # A platform that doesn't answer keeps nothing from starting.
            checks.append(check_platform(config))
    checks += check_sending(config, connect=connect)
    return Preflight(queue, tuple(checks), failure_queue)


def check_sending(config: Config, *, connect: bool = False) -> list[Check]:
    """Check what the senders of all routes need; ``connect`` is that of :func:`preflight`."""
    checks = check_senders(config, connect=connect)
    if config.routes is not None:
        for route, each in zip(config.routes.routes, config.of_routes, strict=True):
            checks += [
                check._replace(name=f"{check.name} of {route.name}", detail=f"route {route.name}: {check.detail}")
                for check in check_senders(each, connect=connect, option="--routes")
            ]
    return checks


def check_senders(config: Config, *, connect: bool = False, option: str = "--recipient-url") -> list[Check]:
    """Check what senders need: secrets, headers, and the recipient; ``connect`` is that of :func:`preflight`.

    ``option`` is the one that names the recipient.
    """
    checks = []
    tls, secrets = check_secrets(config)
    if secrets is not None:
        checks.append(secrets)
        connect = connect and secrets.ok
    headers = check_headers(config) if secrets is None or secrets.ok else None
    if headers is not None:
        checks.append(headers)
    checks.append(
        check_recipient(
            config.recipient,
            config.connect_timeout_seconds,
            connect=connect,
            tls=tls,
            guard=config.guard,
            proxy=config.proxy,
            option=option,
        )
    )
    return checks


def raise_failed(checks: Iterable[Check]) -> None:
    """Raise CannotStart with the first failed check, and log what the others warn of."""
    for check in checks:
        if not check.ok:
            raise CannotStart(f"{check.detail}; {check.advice}" if check.advice else check.detail)
        for warning in check.warnings:
            if check.name == ARCHIVE:
                reason, _, advice = warning.partition("; ")
                log.warning("the archive was not checked", reason=reason, advice=advice)
            else:
                log_exposure(warning)


def check_descriptors(config: Config) -> Check:
    """Check the limit of open files against the needs of the senders."""
    limit = raise_limit()
    try:
        _, too_few = fit_concurrency(config, limit)
    except CourierError as error:
        return _failed("open files", str(error))
    return Check("open files", True, too_few or f"the limit of {limit} is enough")


def check_credentials(region: str | None, role: AssumedRole | None = None) -> Check:
    """Check that boto3's chain finds credentials, renew them if they have expired, and assume the role with them."""
    try:
        found = configured_aws(role).find_keys(region)
        found.read()
    except CourierError as error:
        return _failed("credentials", str(error))
    detail = f"found by boto3 ({found.method})"
    return Check("credentials", True, f"{detail}, of {role.arn}" if role is not None else detail)


def check_queue(config: Config, name: str, option: str = "--queue") -> tuple[QueueInfo | None, Check]:
    """Look up a queue and its attributes in SQS, by the name or URL from ``option``."""
    try:
        queue = resolve_queue(configured_aws(config.assumed_role), name, config.region, config.endpoint_url, option)
    except CourierError as error:
        return None, _failed("queue", str(error))
    through = f", through the proxy {queue.proxy.where}" if queue.proxy is not None else ""
    return queue, Check("queue", True, f"{describe(queue)}{through}")


def describe(queue: QueueInfo) -> str:
    """Return one line about a queue, including properties that may surprise its owner."""
    parts = [queue.url, "FIFO" if queue.fifo else "standard", f"visibility timeout {queue.visibility_timeout} s"]
    if queue.max_receive_count is None:
        parts.append("no redrive policy: a message that always fails comes back until its retention ends")
    else:
        parts.append(f"to {queue.dead_letter} after {queue.max_receive_count} receives")
        if queue.max_receive_count < FEW_RECEIVES:
            parts.append(f"which is low: use {FEW_RECEIVES} or more to outlast a restart")
    return ", ".join(parts)


def check_audit(config: Config, lock_timeout: float) -> Check:
    """Check that the audit directory can be locked and takes durable writes, and the key that signs seals."""
    lock = DirectoryLock(config.audit_path)
    directory = AuditDirectory(config.audit_path)
    try:
        if config.audit_sign_key is not None:
            read_sign_key(config.audit_sign_key)
        lock.acquire(lock_timeout)
        directory.check()
        directory.probe()
    except CourierError as error:
        return _failed("audit", str(error))
    finally:
        lock.release()
    where = config.audit_path.absolute()
    warnings = (
        (f"every user of this machine can write to {where}; chmod o-w {where}",) if directory.open_to_all() else ()
    )
    return Check("audit", True, f"{where} takes durable writes and isn't in use", warnings=warnings)


def check_stream(stream: Stream) -> Check:
    """Check that the Firehose stream is active and takes records directly, as far as the permissions allow."""
    # Imported here, in the process of the preflight, because boto3 is large and few programs write to Firehose.
    from courier.audit.firehose_stream import check_stream_active

    try:
        return Check("audit", True, check_stream_active(stream))
    except CourierError as error:
        return _failed("audit", str(error))


def check_archive(settings: ArchiveSettings) -> Check:
    """Check that the bucket of the archive is there, and warn of what may keep uploads from it: deliveries go on."""
    # Imported here, in the process of the preflight, because boto3 is large.
    from courier.audit import archive_check

    try:
        detail, warning = archive_check.check_archive(settings)
    except CourierError as error:
        return _failed(ARCHIVE, str(error))
    return Check(ARCHIVE, True, detail, warnings=(warning,) if warning else ())


def check_fetch(config: Config, queue: QueueInfo | None) -> Check:
    """Check that a client of S3 can be made. Nothing is asked: which rights there are shows with the first object."""
    # Imported here, in the process of the preflight, because botocore is large.
    from courier.fetch.s3_client import S3Settings, connect_s3

    region = config.region or (queue.region if queue is not None else None)
    try:
        client = connect_s3(S3Settings(region, config.fetch_endpoint_url))
    except CourierError as error:
        return _failed("fetch", str(error))
    try:
        os.close(nameless_file())
    except OSError as error:
        advice = "make it writable, or set TMPDIR to a directory on a disk"
        return Check(
            "fetch", False, f"no temporary file can be made for large bodies: {error.strerror or error}", advice
        )
    where = f"from {', '.join(map(str, config.fetch_bucket))} at {client.meta.endpoint_url}"
    return Check("fetch", True, f"bodies come {where}, large ones through {tempfile.gettempdir()}")


def check_platform(config: Config) -> Check:
    """Ask the platform whether this machine ends, and whether the lifecycle hook may be completed."""
    try:
        return Check("platform", True, describe_platform(config))
    except CourierError as error:
        return _failed("platform", str(error))


def check_tasks(config: Config) -> Check:
    """Read the periodic tasks, and say which one is due next."""
    # Imported here, because few programs have periodic tasks.
    from courier.request.tasks import instant

    try:
        tasks = config.tasks
    except CourierError as error:
        return _failed("tasks", str(error))
    now = int(time.time() // 60)
    due = min(((task.schedule.next_after(now), task.name) for task in tasks), default=None)
    following = f", next {due[1]} at {instant(due[0])}" if due is not None else ""
    return Check("tasks", True, f"{len(tasks)} in {config.cron}{following}")


def check_secrets(config: Config) -> tuple[ssl.SSLContext | None, Check | None]:
    """Read the files of secrets and certificates; return the recipient's TLS context, and a check if there are any."""
    try:
        tls = recipient_tls(config)
        proof = authentication(config, tls)
        token = page_token(config)
    except CourierError as error:
        return None, _failed("secrets", str(error))
    kinds = proof.kinds if proof else ()
    warnings = proof.exposures if proof else ()
    kinds += ("client certificate",) * (config.client_cert is not None) + ("own CA",) * (config.ca_file is not None)
    if token is not None:
        kinds += ("token of the live page",)
        warnings += (token.exposure,) if token.exposure else ()
    return tls, Check("secrets", True, f"usable: {', '.join(kinds)}", warnings=warnings) if kinds else None


def check_headers(config: Config) -> Check | None:
    """Return a failed check if the fixed headers exceed --max-header-bytes; ``None`` if they fit."""
    try:
        check_header_room(config, delivery_head(config, config.queue.rpartition("/")[2]))
    except CourierError as error:
        return _failed("headers", str(error))
    return None


def check_recipient(
    url: Url,
    timeout: float,
    *,
    connect: bool,
    tls: ssl.SSLContext | None = None,
    guard: AddressGuard | None = None,
    proxy: tuple[str, int] | None = None,
    option: str = "--recipient-url",
) -> Check:
    """Resolve the recipient's name and, with ``connect``, open a connection to it within ``timeout`` seconds.

    ``tls`` is the context for an https recipient; without it, the system's certificates are trusted. Only addresses
    that ``guard`` permits count. If there is a ``proxy``, check that instead, because only the proxy may know the name.
    ``option`` is the one that names the recipient.
    """
    host, port = proxy or (url.host, url.port)
    where, of = (f"the proxy {host}:{port}", "the proxy") if proxy else (origin_of(url), option)
    try:
        found = [SocketAddress(*info) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "not a valid host name"
        advice = BY_NAME_FAILURE[name_failure(error)]
        return Check("recipient", False, f"cannot resolve {host} of {of}: {reason}", advice)
    permitted, denials = split_by_guard(found, guard)
    if not permitted:
        advice = "correct the name or DNS, or add the network with --allow-cidr if connections to it are allowed"
        return Check("recipient", False, f"--deny-private forbids {where}: {', '.join(denials)}", advice)
    if not connect:
        return Check("recipient", True, f"{where} resolves to {permitted[0].sockaddr[0]}")
    try:
        with _connection(permitted, timeout) as connection:
            if url.scheme == "https" and proxy is None:
                with (tls or client_context()).wrap_socket(connection, server_hostname=url.host.rstrip(".")):
                    pass
    except OSError as error:
        return Check(
            "recipient",
            False,
            f"{where}{'' if proxy else f' of {option}'} accepts no connection: {_reason(error)}",
            f"start {'it' if proxy else 'the recipient'}, or correct {'its' if proxy else 'the'} URL; "
            "until then messages wait in the queue",
        )
    return Check("recipient", True, f"{where} accepts connections")


def _connection(addresses: Sequence[SocketAddress], timeout: float) -> socket.socket:
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection(address.sockaddr[:2], timeout)
    # By address, not by name, so that the connection goes to a checked address.
    return socket.create_connection(addresses[-1].sockaddr[:2], timeout)


def _failed(name: str, line: str) -> Check:
    detail, _, advice = line.partition("; ")
    return Check(name, False, detail, advice)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate isn't trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer within the connect timeout"
    return error.strerror or str(error)


PREFLIGHT_SECONDS: Final = 60.0


class Queues(NamedTuple):
    """The source queue, and the failure queue if there is one."""

    queue: QueueInfo
    failure_queue: QueueInfo | None


def find_queues(
    config: Config,
    meanwhile: Callable[[], None] = lambda: None,
    is_stopped: Callable[[], bool] = told_to_stop,
    *,
    serves: bool = True,
) -> Queues:
    """Make all checks in a child process that leaves nothing behind; return the queues.

    The caller runs ``meanwhile`` before it waits for them. ``serves`` is whether this program opens the API. See
    :func:`courier.process.short_lived_child.run_in_child` for ``is_stopped``. Raise CannotStart with the first failed
    check.
    """

    def check() -> bytes:
        found = preflight(config, lock_timeout=config.drain_timeout_seconds)
        raise_failed(found.checks)
        if serves and config.api_address is not None:
            # If the port turned out to be in use later, the messages received until then would lose a receive each.
            listen(config.api_address).close()
        both = found.queue or local_queue(config), found.failure_queue
        return b"\n".join(queue.to_json() for queue in both if queue is not None)

    timeout = PREFLIGHT_SECONDS + config.drain_timeout_seconds
    found_queues = run_in_child(check, timeout, "the preflight", meanwhile, is_stopped).split(b"\n")
    queues = [QueueInfo.from_json(line) for line in found_queues]
    return Queues(queues[0], queues[1] if len(queues) > 1 else None)
