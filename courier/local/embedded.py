"""The address of the embedded queue of ``--queue-type virtual``, which is known before it runs."""

from __future__ import annotations

from typing import Final

from courier.config.config import Config
from courier.http.url_parsing import read_url
from courier.local.virtual.account import ACCOUNT
from courier.sqs.queue import QueueInfo

VIRTUAL_ENDPOINT: Final = "http://127.0.0.1:9324"

LOCAL_REGION: Final = "local"
"""The region of the embedded queue, which accepts any credentials."""


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
