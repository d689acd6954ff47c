"""The lookup of a queue, once: its URL and attributes. Errors are one line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn

import orjson
import uvloop

from courier.errors import CannotStart
from courier.http.proxy import Proxy, uses_tls
from courier.http.session import Session, SessionLimits
from courier.http.url import Url
from courier.http.url_parsing import read_url
from courier.message import MOST_MESSAGE_BYTES
from courier.sqs.address import QueueAddress, read_address
from courier.sqs.configuration import AwsConfiguration, Place
from courier.sqs.credentials import NoKeys
from courier.sqs.diagnosis import SqsCall, diagnose, not_sqs
from courier.sqs.queue import QueueInfo
from courier.sqs.reply import SuccessReply, read_reply
from courier.sqs.role import AssumedRole
from courier.sqs.signer import Keys, SigV4Signer
from courier.sqs.trusted_certificates import trusted_context

LIMITS: Final = SessionLimits(connect_timeout=3.0, timeout=8.0)
ATTEMPTS: Final = 2
PAUSE_SECONDS: Final = 0.3
"""Seconds between two attempts of a call that failed by what may pass: throttling, the network, an error of SQS."""

NOT_SQS: Final = (AttributeError, KeyError, TypeError, ValueError)
"""What reading the answer of a server that isn't SQS raises."""


class _Target(NamedTuple):
    """Where the calls go, with which keys. ``option`` is the one that named the queue."""

    place: Place
    endpoint: Url
    keys: Keys
    option: str
    proxy: Proxy | None
    role: AssumedRole | None


def resolve_queue(
    aws: AwsConfiguration, queue: str, region: str | None, endpoint_url: str | None, option: str = "--queue"
) -> QueueInfo:
    """Look a queue up by its name or URL; it blocks for seconds at most. ``option`` is the one that named it.

    The region is that of an AWS queue URL, else ``region``, else boto3's. The endpoint is ``endpoint_url``, else the
    one that boto3 is configured for (AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL, the profile), else the host of a queue URL
    that isn't AWS's, else AWS's for the region. The calls go through the proxy of the environment, as those of the
    roles, so that a queue that the roles can't reach fails here.

    Raises CannotStart. Its line names the queue, the action, the region and the option, and says how to fix it. It runs
    a loop of its own, so call it where none is running.
    """
    address = read_address(queue, option)
    if region and address.region and region != address.region:
        raise CannotStart(f"the URL of {option} is in {address.region}, but --region is {region}; leave --region out")
    if endpoint_url is not None:
        _url(endpoint_url, "--endpoint-url")
    try:
        place = aws.find_place(address.region or region, endpoint_url, address.origin)
        keys = aws.find_keys(place.region).read()
    except NoKeys as error:
        raise CannotStart(str(error)) from error
    endpoint = _url(place.endpoint_url, "the endpoint that boto3 is configured for")
    target = _Target(place, endpoint, keys, option, aws.find_proxy(endpoint), aws.role)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_look_up(queue, address, target))


def _url(endpoint_url: str, origin: str) -> Url:
    try:
        url = read_url(endpoint_url)
    except ValueError as error:
        raise CannotStart(f"{origin}: {error}") from None
    if "?" in url.path:
        raise CannotStart(f"{origin}: {endpoint_url!r} has a query; leave it out")
    return url


async def _look_up(queue: str, address: QueueAddress, target: _Target) -> QueueInfo:
    tls = trusted_context(target.place.ca_bundle) if uses_tls(target.endpoint, target.proxy) else None
    session = Session(asyncio.get_running_loop(), target.endpoint, LIMITS, tls, proxy=target.proxy)
    where = target.endpoint.text
    if target.proxy is not None:
        where = f"{where} through the proxy {target.proxy.where}"
    call = SqsCall(queue, "GetQueueUrl", target.place.region, where, target.option)
    try:
        url = address.url
        if url is None:
            reply = await _call(session, target, call, {"QueueName": address.name})
            url = reply.fields.get("QueueUrl")
            if not isinstance(url, str):
                _refuse(reply, call)
        call = call._replace(action="GetQueueAttributes")
        reply = await _call(session, target, call, {"QueueUrl": url, "AttributeNames": ["All"]})
    finally:
        session.close()
    try:
        return _describe(reply.fields["Attributes"], url, address.name, target)
    except NOT_SQS:
        _refuse(reply, call)


async def _call(session: Session, target: _Target, call: SqsCall, fields: Mapping[str, Any]) -> SuccessReply:
    body = orjson.dumps(fields)
    signer = SigV4Signer(target.endpoint, target.place.region, target.proxy)
    attempt = 1
    while True:
        answer = await session.request(signer.head(target.keys, call.action, body, time.time()), body)
        reply = read_reply(call.action, f"queue {call.queue!r} in {call.region}", answer, target.keys, target.proxy)
        if isinstance(reply, SuccessReply):
            return reply
        if attempt == ATTEMPTS or not reply.error.retriable:
            raise diagnose(reply, call)
        attempt += 1
        await asyncio.sleep(PAUSE_SECONDS)


def _refuse(reply: SuccessReply, call: SqsCall) -> NoReturn:
    raise not_sqs(reply.unreadable(call.action), call) from None


def _describe(attributes: Mapping[str, str], url: str, name: str, target: _Target) -> QueueInfo:
    redrive = orjson.loads(attributes.get("RedrivePolicy") or "{}")
    count = redrive.get("maxReceiveCount")
    return QueueInfo(
        url=url,
        name=name,
        region=target.place.region,
        endpoint=target.endpoint,
        fifo=attributes.get("FifoQueue") == "true" or name.endswith(".fifo"),
        visibility_timeout=int(attributes["VisibilityTimeout"]),
        # The console writes a number, some tools a text.
        max_receive_count=int(count) if count is not None else None,
        dead_letter=redrive.get("deadLetterTargetArn"),
        maximum_message_size=int(attributes.get("MaximumMessageSize", MOST_MESSAGE_BYTES)),
        ca_bundle=target.place.ca_bundle,
        queue_arn=str(attributes.get("QueueArn") or ""),
        proxy=target.proxy,
        role=target.role,
    )
