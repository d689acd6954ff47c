"""Why a message isn't sent although the recipient was never asked: by its own content, or by what it points to. Pure.

The first kind is a rejection: another attempt would end in the same way. The second is a retry, because what the
message needs may be there again later. Neither says anything about the recipient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MALFORMED: Final = "malformed envelope"
FORGED: Final = "SNS signature invalid"
TOPIC: Final = "SNS topic not allowed"
CONFIRMATION: Final = "SNS confirmation"
TEST_EVENT: Final = "S3 test event"
UNDECODABLE: Final = "body not decodable"
TOO_LARGE: Final = "body too large"
PATH_NOT_ALLOWED: Final = "path not allowed"
HEAD_TOO_LONG: Final = "headers too long"
NOT_TEXT: Final = "body not text"
NO_EVENT: Final = "not a cloudevent"

BAD_POINTER: Final = "pointer not readable"
BUCKET: Final = "bucket not allowed"
NO_OBJECT: Final = "object not found"

S3_FAILS: Final = "object not fetched"
S3_DENIES: Final = "access to object denied"
NO_ROOM: Final = "no room for object"
NO_CERTIFICATE: Final = "SNS certificate not fetched"

UNSENDABLE: Final[Mapping[str, str]] = {
    NOT_TEXT: "a Lambda event holds only text; correct the producer, or the options that decode its bodies",
    MALFORMED: "it looks like an SNS envelope, but SNS didn't write it; check the message and its sender",
    FORGED: "with --sns-verify, only what SNS has signed is delivered; check who else can send to the queue",
    TOPIC: "if the topic is intended, add it to --sns-topic, then send the message again",
    CONFIRMATION: "if you asked for the subscription, confirm it at SNS with the token in the message",
    TEST_EVENT: "nothing to do: S3 sends it once when notifications are set up; drop it from the failure queue",
    UNDECODABLE: "the body isn't encoded as configured; correct the producer or the options, then send it again",
    BAD_POINTER: "correct the producer: it is marked as a pointer to S3, but isn't one of the extended clients",
    BUCKET: "if the bucket is intended, add it to --fetch-bucket, then send the message again",
    NO_OBJECT: "find what deletes objects early: a lifecycle rule, or another reader of the same object",
    TOO_LARGE: "if such bodies are intended, raise --fetch-max-bytes or --body-max-bytes, then send it again",
    PATH_NOT_ALLOWED: "if the path is intended, add its prefix to --path-allow; otherwise correct the producer",
    NO_EVENT: "give it the attributes ce-type and ce-source, or set --cloudevents-type and --cloudevents-source",
    HEAD_TOO_LONG: "shorten the path or the attributes that become headers, or raise --max-header-bytes",
}
"""The reasons that the message itself causes, and what to do about each."""

NOT_FETCHED: Final[Mapping[str, str]] = {
    S3_FAILS: "see the log for S3's answer; check --fetch-endpoint-url, --region and the network",
    S3_DENIES: "allow the IAM actions s3:GetObject and, so that a missing object is recognised, s3:ListBucket",
    NO_CERTIFICATE: "check the network between this machine and SNS; Courier tries again by itself",
    NO_ROOM: "free space in the directory for temporary files, or set TMPDIR to a larger one",
}
"""The reasons why something that a message needs could not be fetched, and what to do about each."""

_CODES: Final[Mapping[str, int]] = {reason: number for number, reason in enumerate(UNSENDABLE, 1)}
_REASONS: Final[Mapping[int, str]] = {number: reason for reason, number in _CODES.items()}

NO_ROOM_SECONDS: Final = 30.0
"""Seconds for which a message is hidden whose body found no room: others may be sent meanwhile, and their files go."""


def code_of(reason: str) -> int:
    """Return the number of a reason of :data:`UNSENDABLE`, which stands on the board in the place of a status."""
    return _CODES[reason]


def reason_of(code: int) -> str | None:
    """Return the reason with this number, ``None`` for a status of HTTP."""
    return _REASONS.get(code)
