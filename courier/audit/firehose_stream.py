"""A Firehose stream: the client for it, and the check that it accepts records."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import boto3
from botocore.config import Config

import courier
from courier.audit.failure_kinds import FORBIDDEN
from courier.audit.firehose_errors import FirehoseCall, explain_failure
from courier.audit.stream import Stream
from courier.errors import CannotStart
from courier.sqs.call_errors import CALL_ERRORS
from courier.sqs.chain import open_session
from courier.sqs.client_opening import open_client

NO_REGION: Final = "no AWS region for Firehose; give --region, AWS_DEFAULT_REGION or a region in the AWS profile"

DIRECT_PUT: Final = "DirectPut"
ACTIVE: Final = "ACTIVE"


class Calling(NamedTuple):
    """The limits of calls: seconds to connect and to wait for bytes, boto3's tries, and parallel calls."""

    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    attempts: int = 1
    calls: int = 4


LOOKING: Final = Calling(connect_seconds=3.0, read_seconds=5.0, attempts=2, calls=1)


def connect(stream: Stream, calling: Calling) -> Any:
    """Return a boto3 client for Firehose. Threads may share it, but forks may not. It blocks during credential lookups.

    Raise CannotStart if there is no region, or boto3's configuration can't be read.
    """
    config = Config(
        connect_timeout=calling.connect_seconds,
        read_timeout=calling.read_seconds,
        retries={"mode": "standard", "total_max_attempts": calling.attempts},
        # One more for the event lines.
        max_pool_connections=calling.calls + 1,
        # The records are bytes within the limits; validating each again is 40 % of the cost of a call.
        parameter_validation=False,
        user_agent_extra=f"courier/{courier.__version__}",
    )
    return open_client(
        "Firehose",
        "--firehose-endpoint-url",
        lambda: _open(stream).client("firehose", endpoint_url=stream.endpoint_url, config=config),
    )


def describe_call(client: Any, action: str, stream: Stream) -> FirehoseCall:
    """Return the description of a call, for the line about its failure."""
    return FirehoseCall(action, stream.name, client.meta.region_name, client.meta.endpoint_url)


def check_stream_active(stream: Stream) -> str:
    """Check that a stream accepts records; return the result in one line. It blocks for seconds at most.

    A denied check isn't fatal, because putting records needs another permission; the line says so. Raise CannotStart if
    the stream is missing, not active, filled from another source, or can't be reached.
    """
    client = connect(stream, LOOKING)
    trying = describe_call(client, "DescribeDeliveryStream", stream)
    where = f"Firehose stream {stream.name!r} in {trying.region}"
    try:
        found = client.describe_delivery_stream(DeliveryStreamName=stream.name)["DeliveryStreamDescription"]
        status, source = found["DeliveryStreamStatus"], found.get("DeliveryStreamType", DIRECT_PUT)
    except CALL_ERRORS as error:
        met = explain_failure(error, trying)
        if met.kind == FORBIDDEN:
            return f"{where} was not checked: the IAM action firehose:DescribeDeliveryStream is denied"
        raise CannotStart(met.line) from error
    finally:
        client.close()
    if status != ACTIVE:
        raise CannotStart(f"{where} is {status}; wait until it is {ACTIVE}, or give another --firehose-stream")
    if source != DIRECT_PUT:
        raise CannotStart(
            f"{where} reads its records from another source ({source}); give one whose source is Direct PUT"
        )
    return f"{where} is {ACTIVE}"


def _open(stream: Stream) -> boto3.Session:
    session = boto3.Session(botocore_session=open_session(stream.region))
    if session.region_name is None and stream.fallback_region is not None:
        session = boto3.Session(botocore_session=open_session(stream.fallback_region))
    if session.region_name is None:
        raise CannotStart(NO_REGION)
    return session
