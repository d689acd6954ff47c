"""What the program stands on, looked at before it starts: credentials, queue, audit log, recipient.

``run`` asks it in a short-lived child, ``courier check`` shows all of it. Everything here blocks.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from courier.audit.files import AuditFiles
from courier.audit.firehose_stream import Stream, look_at
from courier.audit.lock import DirectoryLock
from courier.config import Config, origin
from courier.errors import CourierError
from courier.http.dial import Address, sift
from courier.http.guard import AddressGuard
from courier.http.target import Target
from courier.http.tls import client_context
from courier.request import authentication, recipient_tls
from courier.sqs.credentials import chain, freeze
from courier.sqs.queue import QueueInfo, resolve_queue

FEW_RECEIVES: Final = 3
"""Below this a redrive policy moves messages that only met a restart or a short outage."""


class Check(NamedTuple):
    """One thing that was looked at: what was found, or what is wrong and how to mend it."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Preflight:
    """All checks in their order, and the queue where it was found: None for the queue types that have none."""

    queue: QueueInfo | None
    checks: tuple[Check, ...]
    failure_queue: QueueInfo | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way of starting."""
        return all(check.ok for check in self.checks)


def preflight(config: Config, *, lock_timeout: float = 5.0, connect: bool = False) -> Preflight:
    """Look at everything; what fails is told in the checks, never raised.

    ``lock_timeout`` is how long, in seconds, the audit directory may be somebody else's: after a crash of the
    supervisor its orphans need a moment. ``connect`` asks the recipient for a connection too, which ``run``
    doesn't: to start while the recipient is down is no mistake, the messages wait in the queue.
    """
    checks: list[Check] = []
    queue = None
    if config.queue_type == "remote" or config.audit == "firehose":
        checks.append(check_credentials(config.region))
    # Without credentials nothing of AWS can be asked, and one line about them is enough.
    keys = not checks or checks[0].ok
    failure_queue = None
    if config.queue_type == "remote" and keys:
        queue, check = check_queue(config, config.queue)
        checks.append(check)
        if config.failure_queue:
            failure_queue, check = check_queue(config, config.failure_queue)
            if failure_queue is not None and queue is not None and failure_queue.url == queue.url:
                same = f"--failure-queue is {queue.url}, the queue itself"
                check = Check(
                    "failure queue", False, same, "name another one: rejected messages would go round in a circle"
                )
            checks.append(check._replace(name="failure queue"))
    if config.audit == "files":
        checks.append(check_audit(config, lock_timeout))
    elif config.audit == "firehose" and keys:
        checks.append(check_stream(audit_stream(config, queue)))
    tls, secrets = check_secrets(config)
    if secrets is not None:
        checks.append(secrets)
        connect = connect and secrets.ok
    checks.append(
        check_recipient(
            config.target,
            config.connect_timeout_seconds,
            connect=connect,
            tls=tls,
            guard=config.guard,
            proxy=config.proxy,
        )
    )
    return Preflight(queue, tuple(checks), failure_queue)


def check_credentials(region: str | None) -> Check:
    """Ask boto3's chain for credentials, and renew them where they are old."""
    try:
        credentials = chain(region)
        freeze(credentials)
    except CourierError as error:
        return _failed("credentials", str(error))
    return Check("credentials", True, f"found by boto3 ({credentials.method or 'unknown'})")


def check_queue(config: Config, name: str) -> tuple[QueueInfo | None, Check]:
    """Ask SQS for a queue, by name or URL, and its attributes."""
    try:
        queue = resolve_queue(name, config.region, config.endpoint_url)
    except CourierError as error:
        return None, _failed("queue", str(error))
    return queue, Check("queue", True, describe(queue))


def describe(queue: QueueInfo) -> str:
    """Tell in one line what a queue is like, and what about it is a surprise at times."""
    parts = [queue.url, "FIFO" if queue.fifo else "standard", f"visibility timeout {queue.visibility_timeout} s"]
    if queue.max_receive_count is None:
        parts.append("no redrive policy: a message that always fails comes back until its retention ends")
    else:
        parts.append(f"to {queue.dead_letter} after {queue.max_receive_count} receives")
        if queue.max_receive_count < FEW_RECEIVES:
            parts.append(f"which is few: {FEW_RECEIVES} or more also outlast a restart")
    return ", ".join(parts)


def check_audit(config: Config, lock_timeout: float) -> Check:
    """Take the audit directory's lock, write durably in it, and let it go."""
    lock = DirectoryLock(config.audit_path)
    try:
        lock.acquire(lock_timeout)
        AuditFiles(config.audit_path, config.audit_max_bytes, config.audit_max_age_seconds).probe()
    except CourierError as error:
        return _failed("audit", str(error))
    finally:
        lock.release()
    return Check("audit", True, f"{config.audit_path.absolute()} takes durable writes and is free")


def audit_stream(config: Config, queue: QueueInfo | None) -> Stream:
    """Name the Firehose stream; where nothing else tells its region, it is that of the queue, if SQS has it."""
    region = None if queue is None else queue.region
    return Stream(config.firehose_stream, config.region, config.firehose_endpoint_url, fallback_region=region)


def check_stream(stream: Stream) -> Check:
    """Ask Firehose whether records can be put into the stream."""
    try:
        return Check("audit", True, look_at(stream))
    except CourierError as error:
        return _failed("audit", str(error))


def check_secrets(config: Config) -> tuple[ssl.SSLContext | None, Check | None]:
    """Read the files of secrets and certificates; give the recipient's context, and no check where there are none."""
    try:
        tls = recipient_tls(config)
        proof = authentication(config)
    except CourierError as error:
        return None, _failed("secrets", str(error))
    kinds = proof.kinds if proof else ()
    kinds += ("client certificate",) * (config.client_cert is not None) + ("own CA",) * (config.ca_file is not None)
    return tls, Check("secrets", True, f"usable: {', '.join(kinds)}") if kinds else None


def check_recipient(
    target: Target,
    timeout: float,
    *,
    connect: bool,
    tls: ssl.SSLContext | None = None,
    guard: AddressGuard | None = None,
    proxy: tuple[str, int] | None = None,
) -> Check:
    """Resolve the recipient's name and, with ``connect``, ask it for a connection within ``timeout`` seconds.

    ``tls`` is for an https recipient; without it the system's certificates are trusted. Only addresses that ``guard``
    permits count. Where deliveries go through a ``proxy`` that is asked in its place, since it alone may know the name.
    """
    host, port = proxy or (target.host, target.port)
    where, of = (f"the proxy {host}:{port}", "the proxy") if proxy else (origin(target), "--recipient-url")
    try:
        found = [Address(*info) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "it is no host name"
        return Check("recipient", False, f"cannot resolve {host} of {of}: {reason}", "correct the name, or DNS")
    permitted, denials = sift(found, guard)
    if not permitted:
        mend = "correct the name or DNS, or name the network in --allow-cidr where it may be connected to"
        return Check("recipient", False, f"--deny-private stands before {where}: {'; '.join(denials)}", mend)
    if not connect:
        return Check("recipient", True, f"{where} resolves to {permitted[0].sockaddr[0]}")
    try:
        with _connection(permitted, timeout) as connection:
            if target.scheme == "https" and proxy is None:
                with (tls or client_context()).wrap_socket(connection, server_hostname=target.host.rstrip(".")):
                    pass
    except OSError as error:
        return Check(
            "recipient",
            False,
            f"{where}{'' if proxy else ' of --recipient-url'} accepts no connection: {_reason(error)}",
            f"start {'it' if proxy else 'the recipient'}, or correct {'its' if proxy else 'the'} URL; "
            "until then messages would wait in the queue",
        )
    return Check("recipient", True, f"{where} accepts connections")


def _connection(addresses: Sequence[Address], timeout: float) -> socket.socket:
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection(address.sockaddr[:2], timeout)
    # Addresses and no name: what was looked at is what is connected to.
    return socket.create_connection(addresses[-1].sockaddr[:2], timeout)


def _failed(name: str, line: str) -> Check:
    detail, _, mend = line.partition("; ")
    return Check(name, False, detail, mend)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate isn't trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer within the connect timeout"
    return error.strerror or str(error)
