"""The client of an archive in S3, and the list of what lies there. It imports boto3, so import it only where needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

import boto3
from botocore.config import Config

import courier
from courier.audit.archive_errors import ArchiveCall
from courier.audit.archive_place import ArchivePlace
from courier.sqs.chain import open_session
from courier.sqs.client_opening import open_client


class Patience(NamedTuple):
    """The limits of a call: seconds to connect and to wait for bytes, and boto3's tries."""

    connect_seconds: float = 5.0
    read_seconds: float = 20.0
    attempts: int = 2


UPLOADING: Final = Patience()
CHECKING: Final = Patience(connect_seconds=3.0, read_seconds=5.0, attempts=1)


class ArchivedFile(NamedTuple):
    """An object of an archive: its key, and the size in bytes."""

    key: str
    size: int

    @property
    def name(self) -> str:
        """The part of the key that is the name of the local file."""
        return PurePosixPath(self.key).name


def connect_archive(region: str | None, endpoint_url: str | None, patience: Patience = UPLOADING) -> Any:
    """Return a boto3 client for S3. Raise CannotStart if boto3's configuration can't be read.

    Without ``region`` boto3's own counts. A bucket in another region is found by S3's redirects.
    """
    config = Config(
        connect_timeout=patience.connect_seconds,
        read_timeout=patience.read_seconds,
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        # Names in front of the host work with AWS alone.
        s3={"addressing_style": "path" if endpoint_url else "auto"},
        user_agent_extra=f"courier/{courier.__version__}",
    )
    return open_client(
        "S3",
        "--audit-archive-endpoint-url",
        lambda: boto3.Session(botocore_session=open_session(region)).client(
            "s3", endpoint_url=endpoint_url, config=config
        ),
    )


def describe_call(client: Any, action: str, place: ArchivePlace, key: str = "") -> ArchiveCall:
    """Return the description of a call, for the line about its failure."""
    target = f"s3://{place.bucket}/{key}" if key else str(place)
    return ArchiveCall(action, target, client.meta.endpoint_url)


def list_archive(client: Any, place: ArchivePlace) -> Iterator[ArchivedFile]:
    """Yield all objects under the prefix of an archive, in the order of their keys; raise what boto3 raises."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=place.key(""))
    for page in pages:
        for each in page.get("Contents", ()):
            yield ArchivedFile(each["Key"], each["Size"])
