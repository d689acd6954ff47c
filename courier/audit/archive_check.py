"""The check of an archive before the start: whether the bucket is there, and whose prefix it is."""

from __future__ import annotations

from pathlib import Path

from courier.audit.archive_client import CHECKING, connect_archive, describe_call
from courier.audit.archive_errors import CALL_ERRORS, explain_failure
from courier.audit.archive_failure import MISSING, ArchiveFailure, NotArchived
from courier.audit.archive_place import ArchiveSettings, archive_place
from courier.audit.archive_upload import Archiver
from courier.audit.sealing import JOURNAL_NAME
from courier.errors import CannotStart


def check_archive(settings: ArchiveSettings) -> tuple[str, str]:
    """Look at an archive. Return a line about it, and a warning, which is empty if all is well. It blocks for seconds.

    An archive that can't be reached is no obstacle, because deliveries don't depend on it. Raise CannotStart only for
    what no waiting mends: a bucket that doesn't exist, or a configuration that boto3 can't read.
    """
    place = archive_place(settings.place)
    client = connect_archive(settings.region, settings.endpoint_url, CHECKING)
    try:
        client.head_bucket(Bucket=place.bucket)
        if failure := _foreign(Archiver(client, place), settings.directory):
            return f"{place} was not checked", failure.line
    except CALL_ERRORS as error:
        failure = explain_failure(error, describe_call(client, "HeadBucket", place))
        if failure.kind == MISSING:
            raise CannotStart(failure.line) from error
        return f"{place} was not checked", failure.line
    finally:
        client.close()
    return f"{place} is there", ""


def _foreign(archiver: Archiver, directory: Path) -> ArchiveFailure | None:
    """Return the failure if the prefix is that of another directory, or can't be read."""
    journal = directory / JOURNAL_NAME
    try:
        archiver.check_owner(journal if journal.exists() else None)
    except NotArchived as error:
        return error.failure
    return None
