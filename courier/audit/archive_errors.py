"""The errors of calls to the archive: for each a line that says how to fix it, and what its kind stops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from boto3.exceptions import Boto3Error
from botocore.exceptions import ClientError

from courier.audit.archive_failure import COLLISION, MISSING, ArchiveFailure
from courier.audit.failure_kinds import FORBIDDEN, KEYS, PASSING, REFUSED
from courier.audit.unanswered import Service, explain_unanswered
from courier.http.advice import BY_NAME_FAILURE, BY_SHORTAGE
from courier.http.answer import RESOLVE
from courier.sqs.call_errors import CALL_ERRORS as BOTO_ERRORS
from courier.sqs.errors import DENIED, STALE_KEYS, THROTTLED, TRANSIENT, as_detail

CALL_ERRORS: Final[tuple[type[Exception], ...]] = (Boto3Error, *BOTO_ERRORS)
"""The errors that a call to the archive may raise, also by the managed transfer."""

PRECONDITION: Final = "PreconditionFailed"
"""The code of a conditional write to a key whose object is there, or isn't the expected one."""

UNSUPPORTED: Final = frozenset({"NotImplemented", "MethodNotAllowed", "InvalidRequest", "UnsupportedOperation", "501"})
"""Codes of a server that doesn't know conditional writes."""

ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})
"""Codes of a key without an object."""

ONE_PREFIX_EACH: Final = "give each audit directory a prefix of its own in --audit-archive"

_BUSY: Final = "nothing at first, but if it lasts, see the request rate of the bucket"
_HEALTH: Final = "nothing at first, but if it lasts, look at the AWS Health Dashboard"
_ENDPOINT: Final = "check --audit-archive-endpoint-url: what answers doesn't support this call"
_KMS: Final = "let Courier's role use the KMS key that encrypts the bucket (kms:GenerateDataKey and kms:Decrypt)"
_CHANGED: Final = "check for proxies in front of S3 that change requests"

BY_CAUSE: Final[Mapping[str, str]] = {
    **BY_NAME_FAILURE,
    RESOLVE: "DNS has no such name: correct --region or --audit-archive-endpoint-url",
    **BY_SHORTAGE,
}
"""What to do if S3 can't be reached, by the reason."""

OTHERWISE: Final = "check --audit-archive-endpoint-url, --region and the network"

SERVICE: Final = Service("S3", "--audit-archive-endpoint-url", BY_CAUSE, OTHERWISE)

BY_CODE: Final[Mapping[str, str]] = {
    "AllAccessDisabled": "ask AWS support: access to the bucket is disabled",
    "AccountProblem": "look at the state of the AWS account (billing)",
    "AuthorizationHeaderMalformed": "give --region the region of the bucket",
    "BadDigest": _CHANGED,
    "EntityTooLarge": "lower --audit-max-bytes",
    "IllegalLocationConstraintException": "give --region the region of the bucket",
    "InvalidBucketName": "correct the bucket in --audit-archive",
    "InvalidBucketState": "look at the settings of the bucket",
    "InvalidDigest": _CHANGED,
    "InvalidStorageClass": _ENDPOINT,
    "InsufficientStorage": "give the server behind --audit-archive-endpoint-url more space",
    "KMS.DisabledException": "enable the KMS key that encrypts the bucket",
    "KMS.NotFoundException": "correct the KMS key in the bucket's encryption",
    "MethodNotAllowed": _ENDPOINT,
    "NotImplemented": _ENDPOINT,
    "NotSignedUp": "subscribe the AWS account to S3",
    "PermanentRedirect": "give --region the region of the bucket",
    "QuotaExceeded": "raise the quota of the bucket",
    "XAmzContentSHA256Mismatch": _CHANGED,
}
"""What to do, by the error code."""

LOOK_UP: Final = "look the code up in the API reference of S3"
"""What to do about an unknown code."""

_PASSES: Final = (
    THROTTLED
    | TRANSIENT
    | {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown", "NoSuchUpload", "BadDigest"}
)
_UNKNOWN: Final = frozenset({"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"})
_WRONG_SECRET: Final = frozenset({"SignatureDoesNotMatch", "InvalidToken"})


class ArchiveCall(NamedTuple):
    """A call that was tried: its action, the bucket or object (``s3://bucket/key``), and the endpoint URL."""

    action: str
    target: str
    endpoint: str

    def __str__(self) -> str:
        return f"{self.action} for {self.target}"


def explain_failure(error: BaseException, call: ArchiveCall) -> ArchiveFailure:
    """Return the failure for an error of a boto3 call, one of :data:`CALL_ERRORS`."""
    inner = error if isinstance(error, ClientError) else error.__cause__ or error.__context__ or error
    if isinstance(error, Boto3Error):
        # The managed transfer wraps what it met.
        error = inner
    if isinstance(error, ClientError):
        return _refused(error, call)
    kind, line = explain_unanswered(error, call, call.endpoint, SERVICE)
    return ArchiveFailure(kind, line)


def error_code(error: BaseException) -> str:
    """Return the code of S3's error, or of the one behind an error of the managed transfer; empty if there is none."""
    for each in (error, error.__cause__, error.__context__):
        if isinstance(each, ClientError):
            return str(each.response.get("Error", {}).get("Code", ""))
    return ""


def _refused(error: ClientError, call: ArchiveCall) -> ArchiveFailure:
    fields = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = str(fields.get("Code", ""))
    words = as_detail(fields.get("Message", ""))
    kind = REFUSED
    if code in _PASSES or status in (429, 503) or status >= 500:
        remedy = _BUSY if code in THROTTLED or status in (429, 503) else BY_CODE.get(code, _HEALTH)
        return ArchiveFailure(PASSING, f"{call} failed: {code}: {words}; {remedy}")
    if code == "NoSuchBucket" or (status == 404 and call.action == "HeadBucket"):
        kind, reason = MISSING, "the bucket does not exist; create it, or correct --audit-archive"
    elif code == PRECONDITION:
        kind, reason = COLLISION, f"another program wrote that object meanwhile; {ONE_PREFIX_EACH}"
    elif code == "RequestTimeTooSkewed":
        reason = f"the clock of this machine is wrong ({words}); set it (NTP)"
    elif code in _UNKNOWN:
        kind, reason = KEYS, f"AWS does not know the access key ({code}); correct the AWS credentials"
    elif code in STALE_KEYS:
        kind, reason = KEYS, f"the AWS credentials have expired ({code}); renew them"
    elif code in _WRONG_SECRET:
        kind = KEYS
        reason = f"the secret access key or token doesn't match the access key ({code}); correct the AWS credentials"
    elif code.startswith("KMS."):
        reason = f"{code}: {words}; {BY_CODE.get(code, _KMS)}"
    elif code in DENIED or status == 403:
        kind = FORBIDDEN
        reason = f"access denied ({words or code}); allow the IAM action {_iam_action(call.action)} (deploy/iam)"
    else:
        reason = f"{code}: {words}; {BY_CODE.get(code, LOOK_UP)}"
    return ArchiveFailure(kind, f"{call} failed: {reason}")


def _iam_action(action: str) -> str:
    """Return the IAM action that allows a call."""
    return _IAM.get(action, f"s3:{action}")


_IAM: Final = {
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "HeadObject": "s3:GetObject, and s3:ListBucket for the bucket",
    "GetObject": "s3:GetObject, and s3:ListBucket for the bucket",
    "CompleteMultipartUpload": "s3:PutObject",
}
