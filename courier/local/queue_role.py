"""The embedded queue of ``--queue-type virtual``, as a role of the pipeline."""

from __future__ import annotations

import structlog

from courier.config.config import Config
from courier.errors import CannotStart
from courier.local.server import Server, serve
from courier.local.virtual.service import LIMITS, VirtualSqs
from courier.process.life import Role
from courier.sqs.queue import QueueInfo

log = structlog.get_logger("courier")


class QueueRole(Role):
    """The queue in memory, which serves until the drain."""

    def __init__(self, sqs: VirtualSqs, server: Server) -> None:
        self._sqs = sqs
        self._server = server

    async def drain(self) -> None:
        """Answer the requests in progress, and stop."""
        self._sqs.close()
        self._server.close()
        await self._server.wait_closed(1.0)


async def open_queue(config: Config, queue: QueueInfo) -> Role:
    """Start to serve the queue, and return the role that stops it. Raise CannotStart if the address can't be used."""
    log.warning(
        "the queue is held in memory and gone when it stops; not for production",
        url=queue.url,
        reason="--queue-type virtual",
        advice="for production use --queue-type remote",
    )
    sqs = VirtualSqs()
    sqs.create_queue(queue.name, {"VisibilityTimeout": str(config.visibility_timeout_seconds)})
    host, port = queue.endpoint.host, queue.endpoint.port
    try:
        server = await serve(sqs.handle, host, port, limits=LIMITS)
    except OSError as error:
        raise CannotStart(
            f"--endpoint-url: cannot serve the queue on {host}:{port}: {error.strerror}; give another port"
        ) from None
    if server.beyond_loopback:
        reason = "anyone who can connect may send, read and delete messages"
        advice = "use an --endpoint-url on 127.0.0.1"
        log.warning("the queue is reachable from other machines", url=queue.url, reason=reason, advice=advice)
    return QueueRole(sqs, server)
