"""A Firehose stream: the client that calls it, and whether records can be put into it at all."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

import courier
from courier.audit.firehose_errors import CALL_ERRORS, FORBIDDEN, Attempt, trouble
from courier.errors import CannotStart
from courier.sqs.credentials import NoKeys, open_session

NO_REGION: Final = "no AWS region for Firehose; give --region, AWS_DEFAULT_REGION or a region in the AWS profile"

DIRECT_PUT: Final = "DirectPut"
ACTIVE: Final = "ACTIVE"


class Stream(NamedTuple):
    """A stream, and where it is.

    Where ``region`` or ``endpoint_url`` is ``None``, boto3's chain decides; where that knows no region,
    ``fallback_region``.
    """

    name: str
    region: str | None = None
    endpoint_url: str | None = None
    fallback_region: str | None = None


class Calling(NamedTuple):
    """How calls are made: seconds to connect and to wait for bytes, attempts of boto3, calls at once."""

    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    attempts: int = 1
    calls: int = 4


LOOKING: Final = Calling(connect_seconds=3.0, read_seconds=5.0, attempts=2, calls=1)


def connect(stream: Stream, calling: Calling) -> Any:
    """Make a boto3 client of Firehose, which threads may share but no fork. It may block while credentials are found.

    Raises CannotStart where there is no region, or boto3's configuration can't be read.
    """
    config = Config(
        connect_timeout=calling.connect_seconds,
        read_timeout=calling.read_seconds,
        retries={"mode": "standard", "total_max_attempts": calling.attempts},
        max_pool_connections=calling.calls,
        # Our records are bytes within the limits; looking at each again is 40 % of what a call costs.
        parameter_validation=False,
        user_agent_extra=f"courier/{courier.__version__}",
    )
    try:
        session = _open(stream)
        client: Any = session.client("firehose", endpoint_url=stream.endpoint_url, config=config)
    except NoKeys as error:
        raise CannotStart(str(error)) from error
    except (BotoCoreError, OSError, ValueError) as error:
        raise CannotStart(f"no client for Firehose: {' '.join(str(error).split())}") from error
    return client


def attempt(client: Any, action: str, stream: Stream) -> Attempt:
    """Describe a call, for the line that tells how it failed."""
    return Attempt(action, stream.name, client.meta.region_name, client.meta.endpoint_url)


def look_at(stream: Stream) -> str:
    """Ask whether records can be put into a stream; gives what was found in one line. Blocks for seconds at most.

    A denied look isn't fatal, since putting records needs another permission; the line says so. Raises CannotStart for
    a stream that is missing, not active or filled from elsewhere, and where there is no way to it.
    """
    client = connect(stream, LOOKING)
    trying = attempt(client, "DescribeDeliveryStream", stream)
    where = f"Firehose stream {stream.name!r} in {trying.region}"
    try:
        found = client.describe_delivery_stream(DeliveryStreamName=stream.name)["DeliveryStreamDescription"]
        status, source = found["DeliveryStreamStatus"], found.get("DeliveryStreamType", DIRECT_PUT)
    except CALL_ERRORS as error:
        met = trouble(error, trying)
        if met.kind == FORBIDDEN:
            return f"{where} was not looked at: the IAM action firehose:DescribeDeliveryStream is denied"
        raise CannotStart(met.line) from error
    finally:
        client.close()
    if status != ACTIVE:
        raise CannotStart(f"{where} is {status}; wait until it is {ACTIVE}, or give another --firehose-stream")
    if source != DIRECT_PUT:
        raise CannotStart(f"{where} takes its records from elsewhere ({source}); give one whose source is direct PUT")
    return f"{where} is {ACTIVE}"


def _open(stream: Stream) -> boto3.Session:
    session = open_session(stream.region)
    if session.region_name is None and stream.fallback_region is not None:
        session = open_session(stream.fallback_region)
    if session.region_name is None:
        raise CannotStart(NO_REGION)
    return session
