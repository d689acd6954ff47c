"""Why a queue could not be resolved, in one line that says how to mend it."""

from __future__ import annotations

from typing import Final, NamedTuple

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoRegionError,
    SSLError,
)

from courier.errors import CannotStart
from courier.sqs.errors import DENIED, MISSING_QUEUE, SKEWED, STALE_KEYS, UNKNOWN_KEYS, iam_action, one_line

NO_REGION: Final = (
    "no AWS region; give --region, AWS_DEFAULT_REGION, a region in the AWS profile, or the whole URL of the queue"
)

_CLOCK_WORDS: Final = ("Signature expired", "Signature not yet current")


class Attempt(NamedTuple):
    """What was tried: a call about a queue, in a region, at an endpoint URL."""

    queue: str
    action: str
    region: str
    endpoint: str

    def __str__(self) -> str:
        return f"{self.action} for queue {self.queue!r} in {self.region}"


def diagnose(error: Exception, attempt: Attempt) -> CannotStart:
    """Turn what boto3 raised into the line that the user gets."""
    if isinstance(error, ClientError):
        return CannotStart(_refused(error, attempt))
    if isinstance(error, SSLError):
        return CannotStart(
            f"{attempt} failed: no trusted connection to {attempt.endpoint}: {one_line(str(error))}; "
            "check --endpoint-url, or name the right certificates in AWS_CA_BUNDLE"
        )
    if isinstance(error, ConnectionError | HTTPClientError):
        return CannotStart(
            f"{attempt} failed: SQS can't be reached at {attempt.endpoint}: {one_line(str(error))}; "
            "check --endpoint-url, --region and the network (SQS is called directly: no proxy is used)"
        )
    if isinstance(error, NoRegionError):
        return CannotStart(NO_REGION)
    if isinstance(error, BotoCoreError):
        return CannotStart(f"{attempt} failed: {one_line(str(error))}")
    return CannotStart(
        f"{attempt} failed: what answers at {attempt.endpoint} isn't SQS "
        f"({type(error).__name__}: {one_line(str(error))}); check --endpoint-url"
    )


def _refused(error: ClientError, attempt: Attempt) -> str:
    fields = error.response.get("Error", {})
    words = one_line(fields.get("Message", ""))
    code = fields.get("Code", "")
    codes = {code, fields.get("QueryErrorCode", "")}
    if codes & MISSING_QUEUE:
        reason = "the queue does not exist, or isn't one of this account; correct --queue, --region or the credentials"
    elif codes & DENIED:
        reason = f"access denied; allow the IAM action {iam_action(attempt.action)} ({words})"
    elif codes & STALE_KEYS:
        reason = f"the AWS credentials have expired; renew them ({code})"
    elif codes & UNKNOWN_KEYS:
        reason = f"AWS does not know the access key; correct the AWS credentials ({code})"
    elif "RequestTimeTooSkewed" in codes or words.startswith(_CLOCK_WORDS):
        reason = f"the clock of this machine is wrong; set it right ({words})"
    elif codes & SKEWED:
        reason = f"the secret access key isn't the one of the access key; correct the AWS credentials ({code})"
    else:
        reason = f"{code}: {words}"
    return f"{attempt} failed: {reason}"
