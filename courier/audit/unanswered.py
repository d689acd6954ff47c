"""The errors of boto3 calls that no AWS service has answered: for each a line that says how to fix it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from botocore.exceptions import (
    BotoCoreError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    SSLError,
)

from courier.audit.failure_kinds import KEYS, PASSING
from courier.sqs.cause import find_cause
from courier.sqs.credentials import NO_CREDENTIALS
from courier.sqs.errors import as_detail


class Service(NamedTuple):
    """A service: its name, the option with its endpoint, and what to do if it can't be reached.

    That goes by the reason (``by_cause``), or is ``otherwise``.
    """

    name: str
    flag: str
    by_cause: Mapping[str, str]
    otherwise: str


def explain_unanswered(error: BaseException, call: object, endpoint: str, service: Service) -> tuple[str, str]:
    """Return the kind of the failure, PASSING or KEYS, and the line about it. ``call`` is shown as text."""
    words = as_detail(str(error))
    if isinstance(error, SSLError):
        reason = f"no trusted connection to {endpoint}: {words}"
        remedy = f"check {service.flag}, or name the right certificates in AWS_CA_BUNDLE"
        return PASSING, f"{call} failed: {reason}; {remedy}"
    if isinstance(error, ConnectionError | HTTPClientError | IncompleteReadError):
        met = find_cause(error)
        reason = f"{service.name} can't be reached at {endpoint}: {met.text if met else words}"
        remedy = service.by_cause.get(met.reason, service.otherwise) if met else service.otherwise
        return PASSING, f"{call} failed: {reason}; {remedy}"
    if isinstance(error, NoCredentialsError):
        return KEYS, NO_CREDENTIALS
    if isinstance(error, BotoCoreError | OSError | RuntimeError):
        # The remaining errors come from boto3's credential chain.
        return KEYS, f"{call} failed: {words}; check where boto3 takes the AWS credentials from"
    reason = f"the server at {endpoint} isn't {service.name} ({type(error).__name__}: {words})"
    return PASSING, f"{call} failed: {reason}; check {service.flag}"
