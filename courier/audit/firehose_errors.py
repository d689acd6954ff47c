"""The errors of calls to Firehose: for each a line that says how to fix it, and whether it may be temporary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from botocore.exceptions import ClientError

from courier.audit.failure_kinds import FORBIDDEN, KEYS, PASSING, REFUSED
from courier.audit.firehose_batch import RefusedRecord
from courier.audit.unanswered import Service, explain_unanswered
from courier.http.advice import BY_NAME_FAILURE, BY_SHORTAGE
from courier.http.answer import RESOLVE
from courier.sqs.errors import DENIED, SKEWED, STALE_KEYS, THROTTLED, TRANSIENT, UNKNOWN_KEYS, as_detail

_BUSY: Final = "raise the stream's quota, if it lasts"
_HEALTH: Final = "look at the AWS Health Dashboard, if it lasts"

BY_CAUSE: Final[Mapping[str, str]] = {
    **BY_NAME_FAILURE,
    RESOLVE: "DNS has no such name: correct --region or --firehose-endpoint-url",
    **BY_SHORTAGE,
}
"""What to do if Firehose can't be reached, by the reason."""

OTHERWISE: Final = "check --firehose-endpoint-url, --region and the network"

SERVICE: Final = Service("Firehose", "--firehose-endpoint-url", BY_CAUSE, OTHERWISE)

_ROLE: Final = "check the AWS credentials and the IAM policy of Courier's role (deploy/iam)"
_CHANGED: Final = "check for proxies in front of Firehose that change requests"
_NOT_FIREHOSE: Final = "check --firehose-endpoint-url: what answers doesn't support this call"

BY_CODE: Final[Mapping[str, str]] = {
    "InvalidKMSResourceException": "enable the KMS key that encrypts the stream, and allow Courier's role "
    "kms:GenerateDataKey with it",
    "InvalidSourceException": "give a stream that accepts PutRecordBatch (Direct PUT): this one reads from another "
    "source",
    "InvalidArgumentException": "check the settings of the stream, and set --audit-body to sha256 if its limit is "
    "below the size of a record",
    "RequestEntityTooLargeException": "set --audit-body to sha256 or none: the records are too large",
    "AuthFailure": _ROLE,
    "InvalidSecurity": _ROLE,
    "MissingAuthenticationToken": _CHANGED,
    "MissingAuthenticationTokenException": _CHANGED,
    "NotAuthorized": _ROLE,
    "OptInRequired": "subscribe the AWS account to Firehose in --region",
    "IncompleteSignature": _CHANGED,
    "MalformedHttpRequestException": _CHANGED,
    "ValidationError": _CHANGED,
    "ValidationException": _CHANGED,
    "SerializationException": _CHANGED,
    "InvalidAction": _NOT_FIREHOSE,
    "InvalidAddress": _NOT_FIREHOSE,
    "MissingAction": _NOT_FIREHOSE,
    "UnknownOperationException": _NOT_FIREHOSE,
    "UnsupportedOperation": _NOT_FIREHOSE,
}
"""What to do, by the error code."""

LOOK_UP: Final = "look the code up in the API reference of Firehose"
"""What to do about an unknown code."""

_PASSES: Final = THROTTLED | TRANSIENT | {"RequestAbortedException"}
_MISSING: Final = frozenset({"ResourceNotFoundException"})
_CLOCK_WORDS: Final = ("Signature expired", "Signature not yet current")


class FirehoseCall(NamedTuple):
    """A call that was tried: its action and stream, the region and the endpoint URL."""

    action: str
    stream: str
    region: str
    endpoint: str

    def __str__(self) -> str:
        return f"{self.action} for Firehose stream {self.stream!r} in {self.region}"


class FirehoseFailure(NamedTuple):
    """A failed call: the line about it, and its kind: PASSING, KEYS, FORBIDDEN or REFUSED."""

    line: str
    kind: str


def partly_refused(refused: Sequence[RefusedRecord], sent: int, call: FirehoseCall) -> FirehoseFailure:
    """Return the failure of a call that succeeded although the stream refused some of its records."""
    first = refused[0]
    reason = f"{first.code}: {as_detail(first.words)}" if first.words else first.code
    remedy = _BUSY if first.code in THROTTLED or first.code == "ServiceUnavailableException" else _HEALTH
    return FirehoseFailure(f"{call} took {sent - len(refused)} of {sent} records: {reason}; {remedy}", PASSING)


def explain_failure(error: Exception, call: FirehoseCall) -> FirehoseFailure:
    """Return the failure for an error of a boto3 call, one of :data:`CALL_ERRORS`."""
    if isinstance(error, ClientError):
        return _refused(error, call)
    kind, line = explain_unanswered(error, call, call.endpoint, SERVICE)
    return FirehoseFailure(line, kind)


def _refused(error: ClientError, call: FirehoseCall) -> FirehoseFailure:
    fields = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = fields.get("Code", "")
    words = as_detail(fields.get("Message", ""))
    if code in _PASSES or status == 429 or status >= 500:
        remedy = _BUSY if code in THROTTLED or status == 429 else _HEALTH
        return FirehoseFailure(f"{call} failed: {code}: {words}; {remedy}", PASSING)
    kind = REFUSED
    if code in _MISSING:
        reason = (
            "the stream does not exist, or not in this account; correct --firehose-stream, --region or the credentials"
        )
    elif code in DENIED:
        kind = FORBIDDEN
        reason = f"access denied ({words}); allow the IAM action firehose:{call.action} (deploy/iam)"
    elif code in STALE_KEYS:
        kind = KEYS
        reason = f"the AWS credentials have expired ({code}); renew them"
    elif code in UNKNOWN_KEYS:
        kind = KEYS
        reason = f"AWS does not know the access key ({code}); correct the AWS credentials"
    elif code == "RequestTimeTooSkewed" or words.startswith(_CLOCK_WORDS):
        reason = f"the clock of this machine is wrong ({words}); set it (NTP)"
    elif code in SKEWED:
        kind = KEYS
        reason = f"the secret access key doesn't match the access key ({code}); correct the AWS credentials"
    else:
        reason = f"{code}: {words}; {BY_CODE.get(code, LOOK_UP)}"
    return FirehoseFailure(f"{call} failed: {reason}", kind)
