"""Why a call to Firehose failed, in one line that says how to mend it, and whether it may pass by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from courier.audit.firehose_batch import Refusal
from courier.sqs.credentials import NO_CREDENTIALS
from courier.sqs.errors import DENIED, SKEWED, STALE_KEYS, THROTTLED, TRANSIENT, UNKNOWN_KEYS, one_line

PASSING: Final = "passing"
"""Throttling, the network, a fault of Firehose: the same call may succeed soon."""

KEYS: Final = "keys"
"""The credentials are at fault: other ones may be there when boto3's chain is gone through again."""

FORBIDDEN: Final = "forbidden"
"""A policy is missing."""

REFUSED: Final = "refused"
"""It stays like that until somebody changes something."""

CALL_ERRORS: Final = (
    BotoCoreError,
    ClientError,
    AttributeError,
    KeyError,
    OSError,
    ResponseParserError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a call of boto3 raises, with what the chain of credentials and answers of something else than Firehose add."""

_MISSING: Final = frozenset({"ResourceNotFoundException"})
_CLOCK_WORDS: Final = ("Signature expired", "Signature not yet current")


class Attempt(NamedTuple):
    """What was tried: a call about a stream, in a region, at an endpoint URL."""

    action: str
    stream: str
    region: str
    endpoint: str

    def __str__(self) -> str:
        return f"{self.action} for Firehose stream {self.stream!r} in {self.region}"


class Trouble(NamedTuple):
    """A failed call: its line, and one of PASSING, KEYS, FORBIDDEN and REFUSED."""

    line: str
    kind: str


def partly_refused(refused: Sequence[Refusal], sent: int, attempt: Attempt) -> Trouble:
    """Tell that a call succeeded but the stream didn't take all of its records."""
    first = refused[0]
    reason = f"{first.code}: {one_line(first.words)}" if first.words else first.code
    return Trouble(f"{attempt} took {sent - len(refused)} of {sent} records: {reason}", PASSING)


def trouble(error: Exception, attempt: Attempt) -> Trouble:
    """Read what a call of boto3 raised, one of :data:`CALL_ERRORS`."""
    if isinstance(error, ClientError):
        return _refused(error, attempt)
    words = one_line(str(error))
    if isinstance(error, SSLError):
        reason = f"no trusted connection to {attempt.endpoint}: {words}"
        mend = "check --firehose-endpoint-url, or name the right certificates in AWS_CA_BUNDLE"
        return Trouble(f"{attempt} failed: {reason}; {mend}", PASSING)
    if isinstance(error, ConnectionError | HTTPClientError | IncompleteReadError):
        reason = f"Firehose can't be reached at {attempt.endpoint}: {words}"
        mend = "check --firehose-endpoint-url, --region and the network"
        return Trouble(f"{attempt} failed: {reason}; {mend}", PASSING)
    if isinstance(error, NoCredentialsError):
        return Trouble(NO_CREDENTIALS, KEYS)
    if isinstance(error, BotoCoreError | OSError | RuntimeError):
        # What is left of boto3's errors comes from its chain of credentials.
        return Trouble(f"{attempt} failed: {words}", KEYS)
    reason = f"what answers at {attempt.endpoint} isn't Firehose ({type(error).__name__}: {words})"
    return Trouble(f"{attempt} failed: {reason}; check --firehose-endpoint-url", PASSING)


def _refused(error: ClientError, attempt: Attempt) -> Trouble:
    fields = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = fields.get("Code", "")
    words = one_line(fields.get("Message", ""))
    if code in THROTTLED or code in TRANSIENT or status == 429 or status >= 500:
        return Trouble(f"{attempt} failed: {code}: {words}", PASSING)
    kind = REFUSED
    if code in _MISSING:
        reason = (
            "the stream does not exist, or isn't one of this account; "
            "correct --firehose-stream, --region or the credentials"
        )
    elif code in DENIED:
        kind = FORBIDDEN
        reason = f"access denied; allow the IAM action firehose:{attempt.action} ({words})"
    elif code in STALE_KEYS:
        kind = KEYS
        reason = f"the AWS credentials have expired; renew them ({code})"
    elif code in UNKNOWN_KEYS:
        kind = KEYS
        reason = f"AWS does not know the access key; correct the AWS credentials ({code})"
    elif code == "RequestTimeTooSkewed" or words.startswith(_CLOCK_WORDS):
        reason = f"the clock of this machine is wrong; set it right ({words})"
    elif code in SKEWED:
        kind = KEYS
        reason = f"the secret access key isn't the one of the access key; correct the AWS credentials ({code})"
    else:
        reason = f"{code}: {words}"
    return Trouble(f"{attempt} failed: {reason}", kind)
