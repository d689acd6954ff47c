"""The limits and answers of PutRecordBatch: how many lines fit a call, and which of them the stream accepted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from courier.audit.record import Recorder, recorder
from courier.message import Message

MOST_RECORDS: Final = 500
"""Maximum records in a call."""

MOST_CALL_BYTES: Final = 4_000_000
"""Maximum bytes of all records of a call, before base64. AWS documents both 4 MB and 4 MiB; this is within both."""

MOST_RECORD_BYTES: Final = 1000 * 1024
"""Maximum bytes of a record, before base64."""

LONGEST_GROUP: Final = 128
"""Maximum characters of a message group id in SQS."""


class RefusedRecord(NamedTuple):
    """A record that the stream refused: its position in the call, and why."""

    position: int
    code: str
    words: str


def firehose_recorder(form: str, body: str, spare_bytes: int = 0) -> Recorder:
    """Return a :func:`courier.audit.record.recorder` whose lines always fit a Firehose record.

    ``spare_bytes`` are left free in it.

    An SQS message may be larger than a Firehose record. A line that doesn't fit has the SHA-256 of the body in place of
    the body.
    """
    record = recorder(form, body)
    shorter = recorder(form, "sha256" if body == "full" else body)

    def fitting(message: Message, *about: Any) -> bytes:
        line = record(message, *about)
        if len(line) <= MOST_RECORD_BYTES - spare_bytes:
            return line
        # SQS limits the group's length, but a stand-in for SQS may not, and a refused record would stop the audit.
        return shorter(message._replace(group=message.group[:LONGEST_GROUP]), *about)

    return fitting


def batches(lines: Sequence[bytes]) -> Iterator[list[int]]:
    """Yield the indexes of the lines for each call: every line once, in order."""
    batch: list[int] = []
    size = 0
    for index, line in enumerate(lines):
        if batch and (len(batch) == MOST_RECORDS or size + len(line) > MOST_CALL_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += len(line)
    if batch:
        yield batch


def refusals(answer: Mapping[str, Any], sent: int) -> list[RefusedRecord]:
    """Return the refused records in the answer to a call with ``sent`` records.

    A record was accepted only if it has a record id. Raise KeyError, TypeError or ValueError if the answer can't be
    Firehose's; then nothing is known about any record.
    """
    entries = answer["RequestResponses"]
    if len(entries) != sent:
        raise ValueError(f"{len(entries)} results for {sent} records")
    failed = [
        RefusedRecord(position, entry.get("ErrorCode") or "no record id", entry.get("ErrorMessage") or "")
        for position, entry in enumerate(entries)
        if entry.get("ErrorCode") or not entry.get("RecordId")
    ]
    if len(failed) != answer["FailedPutCount"]:
        raise ValueError(f"FailedPutCount is {answer['FailedPutCount']}, but {len(failed)} results are failures")
    return failed
