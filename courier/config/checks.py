"""Checks that options of several subjects share, of AWS names and URLs. They raise ConfigError."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Final, NoReturn

from courier.errors import ConfigError
from courier.http.url_parsing import read_url
from courier.sqs.role import EXTERNAL_ID, ROLE_ARN, ROLE_SESSION_NAME, AssumedRole

SQS_EXAMPLE: Final = "http://127.0.0.1:9324"
OTEL_MODULES: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.common")
"""What traces need of the extra courier[otel]."""

_QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")


def refuse(flag: str, reason: str) -> NoReturn:
    """Raise ConfigError with a line about an option."""
    raise ConfigError(f"{flag}: {reason}")


def check_at_most(flag: str, seconds: float, longer_flag: str, longer: float) -> None:
    """Check that one duration is at most another."""
    if seconds > longer:
        refuse(flag, f"{seconds:g} s must be at most {longer_flag} ({longer:g} s)")


def check_queue(queue: str, endpoint_url: str | None) -> None:
    """Check that a queue is given, as a name or URL, and that the endpoint is a URL if there is one."""
    if not queue:
        refuse("--queue", "is missing; give the name or URL of the SQS queue, or set COURIER_QUEUE or AWS_SQS_QUEUE")
    check_queue_name("--queue", queue)
    if endpoint_url:
        check_aws_url("--endpoint-url", endpoint_url, SQS_EXAMPLE)


def check_queue_name(flag: str, queue: str) -> None:
    """Check the name or URL of a queue."""
    if "://" in queue:
        check_aws_url(flag, queue, "https://sqs.eu-west-1.amazonaws.com/123456789012/orders")
    elif not _QUEUE_NAME.fullmatch(queue):
        refuse(flag, "must be a URL, or a name of up to 80 letters, digits, - and _ (and .fifo at the end)")


def check_aws_url(flag: str, url: str, example: str) -> None:
    """Check that the URL of an AWS API is valid and holds no secret. The error never quotes it."""
    if "@" in url:
        refuse(
            flag,
            "must hold no user name and no password; AWS credentials come from boto3's chain: AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, a profile, or a role",
        )
    if "?" in url or "#" in url:
        refuse(flag, f"must have no query and no fragment; give a URL like {example}")
    try:
        read_url(url)
    except ValueError:
        refuse(flag, f"must be a URL like {example}")


def assumed_role(arn: str | None, external_id: str | None, session_name: str) -> AssumedRole | None:
    """Return the role to assume for calls to SQS, ``None`` without one. Raise ConfigError if STS would refuse it."""
    if arn is None:
        if external_id is not None:
            refuse("--external-id", "is for the role of --role-arn; give that, or leave it out")
        return None
    if not ROLE_ARN.fullmatch(arn):
        refuse("--role-arn", "must be the ARN of a role, like arn:aws:iam::123456789012:role/courier")
    if external_id is not None and not EXTERNAL_ID.fullmatch(external_id):
        refuse("--external-id", "must have 2 to 1224 letters, digits and + = , . @ : / _ -")
    if not ROLE_SESSION_NAME.fullmatch(session_name):
        refuse("--role-session-name", "must have 2 to 64 letters, digits and + = , . @ _ -")
    return AssumedRole(arn, external_id, session_name)


def check_collector(flag: str, url: str) -> None:
    """Check the URL of an OpenTelemetry collector, and that what it needs is installed. The error never quotes it."""
    if "@" in url or "?" in url or "#" in url:
        refuse(
            flag,
            "must have no user name, no query and no fragment; give headers such as a key in "
            "OTEL_EXPORTER_OTLP_HEADERS",
        )
    try:
        read_url(url)
    except ValueError as error:
        refuse(flag, str(error))
    if not all(map(_is_installed, OTEL_MODULES)):
        refuse(flag, "needs OpenTelemetry, which is not installed: pip install 'courier[otel]'")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        # A package above it is missing.
        return False
