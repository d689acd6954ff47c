"""What an error of S3 says: about one object, about the right to read a bucket, or about S3."""

from __future__ import annotations

from typing import Final, NamedTuple

from botocore.exceptions import ClientError, NoCredentialsError

from courier.recipient.content import NO_OBJECT, S3_DENIES, S3_FAILS
from courier.sqs.cause import find_cause
from courier.sqs.credentials import NO_CREDENTIALS
from courier.sqs.errors import DENIED, STALE_KEYS, UNKNOWN_KEYS, as_detail

_ABSENT: Final = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound"})
"""Codes of a key without an object."""

_OF_ONE_OBJECT: Final = frozenset({"InvalidObjectState", "InvalidRequest", "MethodNotAllowed", "KeyTooLongError"})
"""Codes that say nothing about the next object: archived, encrypted with a customer's key, a delete marker."""


_OF_KEYS: Final = STALE_KEYS | UNKNOWN_KEYS | {"InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}


class S3Failure(NamedTuple):
    """An error: one of the reasons of :mod:`courier.recipient.content`, and a line about it.

    ``is_general``: the next object of the bucket would probably meet it too. ``is_about_keys``: other credentials may
    be found by another search.
    """

    reason: str
    detail: str
    is_general: bool
    is_about_keys: bool = False


def s3_failure_of(error: BaseException, endpoint: str) -> S3Failure:
    """Return what an error of a call says, one of :data:`courier.sqs.call_errors.CALL_ERRORS`."""
    if not isinstance(error, ClientError):
        if isinstance(error, NoCredentialsError):
            return S3Failure(S3_DENIES, NO_CREDENTIALS, True, True)
        met = find_cause(error)
        words = met.text if met is not None else f"{type(error).__name__}: {as_detail(str(error))}"
        return S3Failure(S3_FAILS, f"S3 at {endpoint}: {words}", True)
    fields = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = str(fields.get("Code", ""))
    words = f"S3 at {endpoint}: {code}: {as_detail(str(fields.get('Message', '')))}"
    if code in _ABSENT:
        return S3Failure(NO_OBJECT, words, False)
    if code in _OF_ONE_OBJECT:
        return S3Failure(S3_FAILS, words, False)
    if code in DENIED or status in (401, 403):
        return S3Failure(S3_DENIES, words, True, code in _OF_KEYS)
    if code in _OF_KEYS:
        return S3Failure(S3_DENIES, words, True, True)
    return S3Failure(S3_FAILS, words, True)
