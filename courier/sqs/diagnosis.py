"""The diagnosis of a queue that could not be looked up: one line that says how to fix it."""

from __future__ import annotations

from typing import Final, NamedTuple

from courier.errors import CannotStart, SqsError
from courier.http.answer import TLS
from courier.sqs.advice import BY_CAUSE, advice_on
from courier.sqs.errors import (
    DENIED,
    LATER,
    MISSING_QUEUE,
    SKEWED,
    STALE_KEYS,
    UNKNOWN_KEYS,
    UNREADABLE,
    Refusal,
    as_detail,
    iam_action,
    read_refusal,
)
from courier.sqs.reply import ErrorReply

NO_REGION: Final = (
    "no AWS region; give --region, AWS_DEFAULT_REGION, a region in the AWS profile, or the whole URL of the queue"
)

UNREACHABLE: Final = "check --endpoint-url, --region, the network, and HTTPS_PROXY where there is a proxy"
AGAIN: Final = "start again in a while; if it lasts, look at the AWS Health Dashboard"

_CLOCK_WORDS: Final = ("Signature expired", "Signature not yet current")


class SqsCall(NamedTuple):
    """A call about a queue, in a region, at an endpoint URL. ``option`` is the one that named the queue."""

    queue: str
    action: str
    region: str
    endpoint: str
    option: str = "--queue"

    def __str__(self) -> str:
        return f"{self.action} for queue {self.queue!r} in {self.region}"


def diagnose(reply: ErrorReply, call: SqsCall) -> CannotStart:
    """Return the line that the user gets for the error of a call."""
    error = reply.error
    if reply.answer is None:
        if error.cause == TLS:
            return CannotStart(
                f"{call} failed: no trusted connection to {call.endpoint}: {error.detail}; "
                "check --endpoint-url, or name the right certificates in AWS_CA_BUNDLE"
            )
        remedy = BY_CAUSE.get(error.cause, UNREACHABLE)
        return CannotStart(f"{call} failed: SQS can't be reached at {call.endpoint}: {error.detail}; {remedy}")
    if error.code == UNREADABLE:
        return not_sqs(error, call)
    return CannotStart(_refused(read_refusal(reply.answer), call))


def not_sqs(error: SqsError, call: SqsCall) -> CannotStart:
    """Return the line for an answer that isn't one of SQS."""
    return CannotStart(
        f"{call} failed: what answers at {call.endpoint} isn't SQS ({error.detail}); check --endpoint-url"
    )


def _refused(refusal: Refusal, call: SqsCall) -> str:
    words = as_detail(refusal.words)
    # The older code is the one in SQS's documents.
    code = refusal.query_code or refusal.code
    codes = {refusal.code, refusal.query_code}
    if codes & MISSING_QUEUE:
        reason = (
            "the queue does not exist, or isn't one of this account; "
            f"correct {call.option}, --region or the credentials"
        )
    elif codes & DENIED:
        reason = f"access denied ({words}); allow the IAM action {iam_action(call.action)} (deploy/iam)"
    elif codes & STALE_KEYS:
        reason = f"the AWS credentials have expired ({code}); renew them"
    elif codes & UNKNOWN_KEYS:
        reason = f"AWS does not know the access key ({code}); correct the AWS credentials"
    elif "RequestTimeTooSkewed" in codes or words.startswith(_CLOCK_WORDS):
        reason = f"the clock of this machine is wrong ({words}); set it (NTP)"
    elif codes & SKEWED:
        reason = f"the secret access key doesn't match the access key ({code}); correct the AWS credentials"
    else:
        remedy = AGAIN if codes & LATER else advice_on(code, call.action)
        reason = f"{code}: {words}; {remedy}"
    return f"{call} failed: {reason}"
