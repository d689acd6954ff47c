"""The trail in an archive: its objects are read as they lie in S3. It imports boto3, so import it only where needed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BufferedReader, RawIOBase
from typing import IO, Any, Final, cast

from botocore.exceptions import IncompleteReadError

from courier.audit.archive_client import Patience, connect_archive, describe_call, list_archive
from courier.audit.archive_errors import ABSENT, CALL_ERRORS, error_code, explain_failure
from courier.audit.archive_failure import MISSING
from courier.audit.archive_place import ArchivePlace
from courier.audit.failure_kinds import PASSING
from courier.audit.trail import JOURNAL, LEDGER, CannotRead, Entry, is_ours

READING: Final = Patience(attempts=5)
RESUMES: Final = 6
"""How often in a row a download is resumed without another byte."""

RESUME_SECONDS: Final = 0.5
"""Seconds before it is resumed the second time; each further time takes twice as long."""

BLOCK: Final = 256 * 1024
_DATED: Final = re.compile(r"\d{4}/\d{2}/\d{2}/[^/]+")


class ArchiveTrail:
    """The trail under a prefix of a bucket."""

    is_archive = True

    def __init__(
        self,
        place: ArchivePlace,
        region: str | None,
        endpoint_url: str | None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raise CannotStart if boto3's configuration can't be read."""
        self._place = place
        self._client = connect_archive(region, endpoint_url, READING)
        self._pause = pause

    def __str__(self) -> str:
        return str(self._place)

    def list_files(self) -> Mapping[str, list[Entry]]:
        """Return the files as they are now, by their names; raise CannotRead."""
        found: dict[str, list[Entry]] = {}
        try:
            for each in list_archive(self._client, self._place):
                where = each.key.removeprefix(self._place.key(""))
                if is_ours(each.name) and (_DATED.fullmatch(where) or where in (LEDGER, JOURNAL)):
                    found.setdefault(each.name, []).append(Entry(each.name, each.key, each.size))
        except CALL_ERRORS as error:
            raise CannotRead(self._explain(error, "ListObjectsV2", "")) from error
        return found

    def chain(self, name: str) -> Entry | None:
        """Return the ledger or the journal. Whether it is there shows when it is opened."""
        return Entry(name, self._place.key(name), 0)

    def open(self, entry: Entry) -> IO[bytes]:
        """Open an object to read its bytes; raise FileNotFoundError if it is gone, CannotRead if it can't be read."""
        return cast(IO[bytes], BufferedReader(_Object(self, entry.where), BLOCK))

    def get(self, key: str, span: str | None) -> Mapping[str, Any]:
        """Call GetObject for a range of an object; raise FileNotFoundError if it is gone, CannotRead."""
        try:
            answer: Mapping[str, Any] = self._client.get_object(
                Bucket=self._place.bucket, Key=key, **({"Range": span} if span else {})
            )
        except CALL_ERRORS as error:
            if error_code(error) in ABSENT:
                raise FileNotFoundError(key) from error
            raise CannotRead(self._explain(error, "GetObject", key)) from error
        return answer

    def resume(self, error: BaseException, key: str, tries: int) -> None:
        """Wait before a download is resumed for the ``tries``-th time; raise CannotRead if that has no prospects."""
        failure = explain_failure(error, describe_call(self._client, "GetObject", self._place, key))
        if tries > RESUMES or failure.kind != PASSING:
            raise CannotRead(self._explain(error, "GetObject", key)) from error
        if tries > 1:
            self._pause(RESUME_SECONDS * 2 ** (tries - 2))

    def _explain(self, error: BaseException, action: str, key: str) -> str:
        failure = explain_failure(error, describe_call(self._client, action, self._place, key))
        if failure.kind == MISSING:
            return f"cannot read {self._place}: the bucket does not exist; correct the URL"
        return f"cannot read the archive: {failure.line}"


class _Object(RawIOBase):
    """The bytes of an object. What cuts the download makes it go on from where it was."""

    def __init__(self, trail: ArchiveTrail, key: str) -> None:
        super().__init__()
        self._trail = trail
        self._key = key
        self._at = 0
        self._answer = trail.get(key, None)
        self._size: int = self._answer["ContentLength"]
        self._tag: str = self._answer.get("ETag", "")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        wanted = min(len(buffer), self._size - self._at)
        tries = 0
        while wanted:
            try:
                piece = self._answer["Body"].read(wanted)
                if not piece:
                    raise IncompleteReadError(actual_bytes=self._at, expected_bytes=self._size)
            except CALL_ERRORS as error:
                tries += 1
                self._trail.resume(error, self._key, tries)
                self._go_on()
            else:
                buffer[: len(piece)] = piece
                self._at += len(piece)
                return len(piece)
        return 0

    def close(self) -> None:
        """Close the connection, if the object wasn't read to its end."""
        if not self.closed:
            with suppress(*CALL_ERRORS):
                self._answer["Body"].close()
        super().close()

    def _go_on(self) -> None:
        with suppress(*CALL_ERRORS):
            self._answer["Body"].close()
        self._answer = self._trail.get(self._key, f"bytes={self._at}-{self._size - 1}")
        if self._answer.get("ETag", "") != self._tag:
            # Somebody wrote it anew. What was read belongs to the old one.
            raise FileNotFoundError(self._key)
