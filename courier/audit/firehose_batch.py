"""PutRecordBatch's limits and answers: how many lines go into a call, and which of them the stream took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from courier.audit.record import Recorder, Rejection, recorder
from courier.message import Message

MOST_RECORDS: Final = 500
"""Records in a call."""

MOST_CALL_BYTES: Final = 4_000_000
"""Bytes of all records of a call, before base64. AWS says 4 MB here and 4 MiB there; this is within both."""

MOST_RECORD_BYTES: Final = 1000 * 1024
"""Bytes of a record, before base64."""


class Refusal(NamedTuple):
    """A record that the stream didn't take: its position in the call, and why."""

    position: int
    code: str
    words: str


def firehose_recorder(form: str, body: str) -> Recorder:
    """Give the maker of records for ``--audit-format`` and ``--audit-body`` whose lines always fit a Firehose record.

    SQS takes more in a message than Firehose in a record: a line that doesn't fit carries the SHA-256 of the body in
    place of the body.
    """
    record = recorder(form, body)
    if body != "full":
        return record
    shorter = recorder(form, "sha256")

    def fitting(
        message: Message,
        outcome: str,
        status: int | None,
        duration: float,
        at: float,
        rejection: Rejection | None = None,
        /,
    ) -> bytes:
        line = record(message, outcome, status, duration, at, rejection)
        return line if len(line) <= MOST_RECORD_BYTES else shorter(message, outcome, status, duration, at, rejection)

    return fitting


def batches(lines: Sequence[bytes]) -> Iterator[list[int]]:
    """Part lines into calls: gives the indexes of the lines of each, all of them once and in order."""
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


def refusals(answer: Mapping[str, Any], sent: int) -> list[Refusal]:
    """Read an answer to a call with ``sent`` records: gives those that the stream didn't take.

    A record was taken only where it has got an id. Raises KeyError, TypeError or ValueError for an answer that Firehose
    doesn't give: then nothing is known of any record.
    """
    entries = answer["RequestResponses"]
    if len(entries) != sent:
        raise ValueError(f"{len(entries)} results for {sent} records")
    failed = [
        Refusal(position, entry.get("ErrorCode") or "no record id", entry.get("ErrorMessage") or "")
        for position, entry in enumerate(entries)
        if entry.get("ErrorCode") or not entry.get("RecordId")
    ]
    if len(failed) != answer["FailedPutCount"]:
        raise ValueError(f"FailedPutCount is {answer['FailedPutCount']}, but {len(failed)} results are failures")
    return failed
