"""The upload of files into an archive: never over other content, and only believed once S3 has confirmed the bytes.

An object is written on the condition that there is none. If there is one, it is either what is being uploaded, since
the answer to an earlier upload was lost, or it is left alone and reported. What S3 then says about the object, its size
and its checksum, has to be that of the local file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from courier.audit.archive_client import describe_call
from courier.audit.archive_errors import (
    ABSENT,
    CALL_ERRORS,
    ONE_PREFIX_EACH,
    PRECONDITION,
    UNSUPPORTED,
    error_code,
    explain_failure,
)
from courier.audit.archive_failure import CHANGED, COLLISION, OWNER, ArchiveFailure, NotArchived
from courier.audit.archive_place import ArchivePlace
from courier.audit.file_part import Digests, FilePart, digest, is_same, open_part
from courier.audit.sealing import JOURNAL_NAME

OWNER_BYTES: Final = 1024
"""Bytes of the archive's journal that are read for its first line."""

CONTENT_TYPES: Final[Mapping[str, str]] = {
    ".zst": "application/zstd",
    ".gz": "application/gzip",
    ".jsonl": "application/x-ndjson",
    ".txt": "text/plain",
    ".seal": "application/x-ndjson",
}

_CONDITIONAL: Final = ("PutObject", "CompleteMultipartUpload")


class Archiver:
    """Uploads files to one place. All calls block, for no longer than the client's timeouts allow."""

    def __init__(self, client: Any, place: ArchivePlace) -> None:
        """Take a client of this archiver alone: it adds a condition to each write."""
        self._client = client
        self._place = place
        self._condition: Mapping[str, str] = {}
        for action in _CONDITIONAL:
            client.meta.events.register(f"before-parameter-build.s3.{action}", self._add_condition)

    def store(
        self, path: Path, key: str, size: int | None = None, metadata: Mapping[str, str] | None = None
    ) -> Digests:
        """Make sure that an object has the bytes of a file, of which only ``size`` bytes count if given.

        Return what was confirmed. Raise NotArchived.
        """
        with open_part(path, size) as content:
            digests = digest(content)
            if self._is_there(key, content, digests):
                return digests
            self._upload(key, content, digests, {"IfNoneMatch": "*"}, metadata or {})
            if not self._is_there(key, content, digests):
                line = f"S3 took s3://{self._place.bucket}/{key}, but has no such object; see who deletes objects there"
                raise NotArchived(ArchiveFailure(CHANGED, line))
        return digests

    def extend(self, path: Path, key: str, size: int) -> None:
        """Make sure that an object has the first ``size`` bytes of a chain, of which it may have the beginning.

        Raise NotArchived; its kind is OWNER if the object is another chain, COLLISION if both continue differently.
        """
        with open_part(path, size) as content:
            found = self._head(key)
            if found is None:
                condition = {"IfNoneMatch": "*"}
            else:
                there = int(found["ContentLength"])
                beginning = content.beginning(there) if there <= size else None
                if beginning is None or not is_same(found, beginning, digest(beginning)):
                    self._diverged(key, content)
                if there == size:
                    return
                condition = {"IfMatch": found["ETag"]}
            content.seek(0)
            self._upload(key, content, digest(content), condition, {})
            if found is None:
                # Of two that begin at once, one may find the other's: then its write was refused.
                content.seek(0)
                if self._first_line(key) != content.read(OWNER_BYTES).partition(b"\n")[0]:
                    raise NotArchived(ArchiveFailure(OWNER, self._another_owner()))

    def check_owner(self, path: Path | None) -> None:
        """Raise NotArchived, of the kind OWNER, if the journal in the archive is that of another directory.

        ``path`` is the journal of ours, ``None`` if it has none yet.
        """
        first = None
        if path is not None:
            with open_part(path) as content:
                first = content.read(OWNER_BYTES).partition(b"\n")[0]
        theirs = self._first_line(self._place.key(JOURNAL_NAME))
        if theirs is not None and theirs != first:
            raise NotArchived(ArchiveFailure(OWNER, self._another_owner()))

    def _another_owner(self) -> str:
        return (
            f"another audit directory archives to {self._place}; {ONE_PREFIX_EACH}. If this directory lost its file "
            "courier.archive, copy that back from there"
        )

    def _diverged(self, key: str, content: FilePart) -> None:
        content.seek(0)
        if self._first_line(key) != content.read(OWNER_BYTES).partition(b"\n")[0]:
            raise NotArchived(ArchiveFailure(OWNER, self._another_owner()))
        name = key.rpartition("/")[2]
        line = (
            f"{name} in {self._place} continues in another way than the local file; find out whether a copy of this "
            "machine or directory archives there too, or whether the local file was restored or damaged, and keep both"
        )
        raise NotArchived(ArchiveFailure(COLLISION, line))

    def _first_line(self, key: str) -> bytes | None:
        """Return the first line of an object, or ``None`` if it is missing."""
        try:
            # Not HeadObject: its errors come without a reason.
            answer = self._client.get_object(Bucket=self._place.bucket, Key=key, Range=f"bytes=0-{OWNER_BYTES - 1}")
            return bytes(answer["Body"].read(OWNER_BYTES)).partition(b"\n")[0]
        except CALL_ERRORS as error:
            if error_code(error) in ABSENT:
                return None
            raise self._not_archived(error, "GetObject", key) from error

    def _upload(
        self, key: str, content: FilePart, digests: Digests, condition: Mapping[str, str], metadata: Mapping[str, str]
    ) -> None:
        extra = {
            "ChecksumAlgorithm": "SHA256",
            "ContentType": CONTENT_TYPES.get(os.path.splitext(key)[1], "application/x-ndjson"),
            "Metadata": {**metadata, "courier-sha256": digests.sha256},
        }
        parts = TransferConfig(
            multipart_threshold=digests.part_bytes + 1, multipart_chunksize=digests.part_bytes, use_threads=False
        )
        self._condition = condition
        try:
            self._send(key, content, extra, parts)
        except CALL_ERRORS as error:
            if error_code(error) == PRECONDITION and "IfNoneMatch" in condition:
                # The answer to an earlier try may have been lost. What is there is compared next.
                return
            raise self._not_archived(error, "PutObject", key) from error
        finally:
            self._condition = {}

    def _send(self, key: str, content: FilePart, extra: Mapping[str, Any], parts: TransferConfig) -> None:
        content.seek(0)
        try:
            self._client.upload_fileobj(content, self._place.bucket, key, ExtraArgs=extra, Config=parts)
        except CALL_ERRORS as error:
            if error_code(error) not in UNSUPPORTED:
                raise
            # A server without conditional writes. That there was nothing at the key has been seen.
            self._condition = {}
            content.seek(0)
            self._client.upload_fileobj(content, self._place.bucket, key, ExtraArgs=extra, Config=parts)

    def _is_there(self, key: str, content: FilePart, digests: Digests) -> bool:
        """Return whether there is an object at the key; raise NotArchived if it isn't this content."""
        found = self._head(key)
        if found is None:
            return False
        if is_same(found, content, digests):
            return True
        line = (
            f"s3://{self._place.bucket}/{key} has other content than {content.path}, or names no checksum; it is left "
            f"alone: compare both, and {ONE_PREFIX_EACH}"
        )
        raise NotArchived(ArchiveFailure(COLLISION, line))

    def _head(self, key: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self._client.head_object(
                Bucket=self._place.bucket, Key=key, ChecksumMode="ENABLED"
            )
        except CALL_ERRORS as error:
            if isinstance(error, ClientError) and error_code(error) in ABSENT:
                return None
            raise self._not_archived(error, "HeadObject", key) from error
        return found

    def _add_condition(self, params: dict[str, Any], **_: object) -> None:
        params.update(self._condition)

    def _not_archived(self, error: BaseException, action: str, key: str) -> NotArchived:
        return NotArchived(explain_failure(error, describe_call(self._client, action, self._place, key)))
