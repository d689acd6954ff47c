"""The embedded queue of ``--queue-type virtual``, as a role of the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from courier.config.config import Config
from courier.errors import CannotStart
from courier.http.url import read_url
from courier.local.virtual.registry import ACCOUNT
from courier.local.virtual.service import LIMITS, VirtualSqs
from courier.process.life import Life, Role, RoleFactory
from courier.sqs.queue import QueueInfo

if TYPE_CHECKING:
    from courier.local.server import Server

log = structlog.get_logger("courier")


VIRTUAL_ENDPOINT: Final = "http://127.0.0.1:9324"

LOCAL_REGION: Final = "local"
"""The region of the embedded queue, which accepts any credentials."""


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


def queue_role(config: Config, queue: QueueInfo) -> RoleFactory:
    """Return the factory of the queue's own role for ``--queue-type virtual``."""

    async def make(_: Life) -> Role:
        # Imported here: no other role needs this server, or uvicorn.
        from courier.local.server import serve

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

    return make


def local_queue(config: Config) -> QueueInfo:
    """Return what is known beforehand of the embedded queue, or of no queue."""
    name = config.queue or "courier"
    endpoint = read_url(config.endpoint_url or VIRTUAL_ENDPOINT)
    return QueueInfo(
        url=f"http://{endpoint.host_header}/{ACCOUNT}/{name}",
        name=name,
        region=LOCAL_REGION,
        endpoint=endpoint,
        fifo=name.endswith(".fifo"),
        visibility_timeout=config.visibility_timeout_seconds,
    )
