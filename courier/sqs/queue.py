"""The lookup of a queue through boto3, once: its URL and attributes. Errors are one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import boto3
import botocore.session
import orjson
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

import courier
from courier.errors import CannotStart
from courier.http.url import Url, read_url
from courier.sqs.address import is_aws, read_address
from courier.sqs.credentials import NoKeys, find_credentials, open_session, read_keys
from courier.sqs.diagnosis import NO_REGION, SqsCall, diagnose
from courier.sqs.errors import as_detail
from courier.sqs.trusted_certificates import trusted_context

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 5.0
ATTEMPTS: Final = 2

MOST_BYTES: Final = 1_048_576
"""The largest message, in bytes, that a queue can accept."""

NOT_SQS: Final = (AttributeError, KeyError, ResponseParserError, TypeError, ValueError)
"""What reading the answer of a server that isn't SQS raises, in boto3's parser or here."""


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A queue and its attributes.

    ``endpoint`` is where the calls go. It needn't be the host of ``url``: an emulator in a container knows itself by
    another name. ``visibility_timeout`` is the queue's own, in seconds. ``max_receive_count`` and ``dead_letter`` (an
    ARN) are those of its redrive policy, ``None`` without one. ``maximum_message_size`` is in bytes; it is the limit of
    SQS if the queue has no such attribute, as with some emulators. ``ca_bundle`` is the file of certificates that boto3
    is configured to trust, if any.
    """

    url: str
    name: str
    region: str
    endpoint: Url
    fifo: bool
    visibility_timeout: int
    max_receive_count: int | None = None
    dead_letter: str | None = None
    maximum_message_size: int = MOST_BYTES
    ca_bundle: str | None = None

    def to_json(self) -> bytes:
        """Return it as JSON: the preflight passes it on to the roles so."""
        return orjson.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> QueueInfo:
        """Return the queue that :meth:`to_json` wrote."""
        fields = orjson.loads(text)
        return cls(**{**fields, "endpoint": Url(**fields["endpoint"])})


def resolve_queue(queue: str, region: str | None, endpoint_url: str | None, option: str = "--queue") -> QueueInfo:
    """Look a queue up by its name or URL; it blocks for seconds at most. ``option`` is the one that named it.

    The region is that of an AWS queue URL, else ``region``, else boto3's. The endpoint is ``endpoint_url``, else the
    one that boto3 is configured for (AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL, the profile), else the host of a queue URL
    that isn't AWS's, else AWS's for the region.

    Raises CannotStart. Its line names the queue, the action, the region and the option, and says how to fix it.
    """
    address = read_address(queue, option)
    if region and address.region and region != address.region:
        raise CannotStart(f"the URL of {option} is in {address.region}, but --region is {region}; leave --region out")
    if endpoint_url is not None:
        _url(endpoint_url, "--endpoint-url")
    session = _open(address.region or region)
    client = _connect(session, endpoint_url, address.origin)
    endpoint = _url(client.meta.endpoint_url, "the endpoint that boto3 is configured for")
    ca_bundle = botocore.session.get_session().get_config_variable("ca_bundle")
    if endpoint.scheme == "https":
        trusted_context(ca_bundle)
    attempt = SqsCall(queue, "GetQueueUrl", session.region_name, endpoint.text, option)
    url = address.url
    if url is None:
        url = str(_call(attempt, client.get_queue_url, "QueueUrl", QueueName=address.name))
    attempt = attempt._replace(action="GetQueueAttributes")
    attributes = _call(attempt, client.get_queue_attributes, "Attributes", QueueUrl=url, AttributeNames=["All"])
    try:
        return _describe(attributes, url, address.name, session.region_name, endpoint, ca_bundle)
    except NOT_SQS as error:
        raise diagnose(error, attempt) from error


def _url(endpoint_url: str, origin: str) -> Url:
    try:
        url = read_url(endpoint_url)
    except ValueError as error:
        raise CannotStart(f"{origin}: {error}") from None
    if "?" in url.path:
        raise CannotStart(f"{origin}: {endpoint_url!r} has a query; leave it out")
    return url


def _open(region: str | None) -> boto3.Session:
    """Open a session that has a region and credentials."""
    try:
        session = open_session(region)
        if session.region_name is None:
            raise CannotStart(NO_REGION)
        read_keys(find_credentials(session))
    except NoKeys as error:
        raise CannotStart(str(error)) from error
    return session


def _connect(session: boto3.Session, endpoint_url: str | None, origin: str | None) -> Any:
    """Make the client, for the endpoint that all calls will have."""
    # No proxy: the roles use none, so a queue that they can't reach must fail here.
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        proxies={},
        user_agent_extra=f"courier/{courier.__version__}",
    )
    try:
        client: Any = session.client("sqs", endpoint_url=endpoint_url, config=config)
        configured = client.meta.endpoint_url
        if origin is not None and endpoint_url is None and is_aws(read_url(configured).host):
            client = session.client("sqs", endpoint_url=origin, config=config)
    except (BotoCoreError, ValueError) as error:
        raise CannotStart(
            f"no client for SQS in {session.region_name}: {as_detail(str(error))}; check the AWS configuration"
        ) from error
    return client


def _call(attempt: SqsCall, call: Callable[..., Mapping[str, Any]], field: str, **parameters: Any) -> Any:
    try:
        return call(**parameters)[field]
    except (BotoCoreError, ClientError, OSError, *NOT_SQS) as error:
        raise diagnose(error, attempt) from error


def _describe(
    attributes: Mapping[str, str], url: str, name: str, region: str, endpoint: Url, ca_bundle: str | None
) -> QueueInfo:
    redrive = orjson.loads(attributes.get("RedrivePolicy") or "{}")
    count = redrive.get("maxReceiveCount")
    return QueueInfo(
        url=url,
        name=name,
        region=region,
        endpoint=endpoint,
        fifo=attributes.get("FifoQueue") == "true" or name.endswith(".fifo"),
        visibility_timeout=int(attributes["VisibilityTimeout"]),
        # The console writes a number, some tools a text.
        max_receive_count=int(count) if count is not None else None,
        dead_letter=redrive.get("deadLetterTargetArn"),
        maximum_message_size=int(attributes.get("MaximumMessageSize", MOST_BYTES)),
        ca_bundle=ca_bundle,
    )
