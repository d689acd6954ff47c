"""The client of S3 for objects that messages point to. It imports botocore, so import it only where needed."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from botocore.config import Config

import courier
from courier.sqs.chain import open_session
from courier.sqs.client_opening import open_client

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 10.0
"""Seconds to connect to S3, and to wait for its next bytes."""

ATTEMPTS: Final = 3
"""Tries of one call."""


class S3Settings(NamedTuple):
    """The region and the endpoint of S3; ``None`` for those of boto3's configuration. ``threads`` share the client."""

    region: str | None
    endpoint_url: str | None
    threads: int = 1


def connect_s3(settings: S3Settings) -> Any:
    """Return a client, which threads may share but processes may not.

    Raise CannotStart if boto3's configuration can't be read. A bucket in another region is found by S3's redirects.
    """
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=settings.threads,
        # Names in front of the host work with AWS alone.
        s3={"addressing_style": "path" if settings.endpoint_url else "auto"},
        user_agent_extra=f"courier/{courier.__version__}",
    )
    return open_client(
        "S3",
        "--fetch-endpoint-url",
        lambda: open_session(settings.region).create_client("s3", endpoint_url=settings.endpoint_url, config=config),
    )
