from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from courier.audit.archive_client import connect_archive, list_archive
from courier.audit.archive_failure import COLLISION, LOCAL, MISSING, OWNER, ArchiveFailure, NotArchived
from courier.audit.archive_place import ArchivePlace
from courier.audit.archive_upload import Archiver
from courier.audit.failure_kinds import FORBIDDEN, PASSING, REFUSED
from courier.audit.file_part import MIB, PART_BYTES, part_bytes_of
from tests.faulty_s3 import CUT, DENY, FAIL, LOSE, PASS, SKEW, THROTTLE, FaultyS3, kept
from tests.integration.sqs_endpoints import REGION

SIZES: Final = (0, 1, 1000, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 2 * PART_BYTES + 17)


class Archive(NamedTuple):
    """A bucket, an archiver of it, and a plain client to look into it."""

    place: ArchivePlace
    archiver: Archiver
    client: Any

    def read(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.place.bucket, Key=key)["Body"].read())


pytestmark = pytest.mark.usefixtures("s3_keys")


@cache
def archive_at(url: str, bucket: str) -> Archive:
    # A client of S3 takes a second to make.
    place = ArchivePlace(bucket, "a/b")
    return Archive(place, Archiver(connect_archive(REGION, url), place), connect_archive(REGION, url))


@pytest.fixture
def faulty(s3: FaultyS3) -> Archive:
    return archive_at(s3.url, s3.bucket)


@pytest.fixture(params=["moto", "faulty"])
def archive(request: pytest.FixtureRequest) -> Archive:
    """Return an empty archive on moto's server, and then one on ours, which has to behave alike."""
    if request.param == "faulty":
        faulty: Archive = request.getfixturevalue("faulty")
        return faulty
    made = archive_at(request.getfixturevalue("moto_server"), f"archive-{os.getpid()}")
    with suppress(made.client.exceptions.BucketAlreadyOwnedByYou):
        made.client.create_bucket(Bucket=made.place.bucket)
    for each in list_archive(made.client, made.place):
        made.client.delete_object(Bucket=made.place.bucket, Key=each.key)
    return made


def failure_of(call: Callable[[], object]) -> ArchiveFailure:
    with pytest.raises(NotArchived) as caught:
        call()
    return caught.value.failure


@pytest.mark.parametrize("size", SIZES)
def test_what_is_stored_is_what_was_read(archive: Archive, tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "one.jsonl").write_bytes(content)
    stored = archive.archiver.store(tmp_path / "one.jsonl", "a/b/one.jsonl", size)
    assert archive.read("a/b/one.jsonl") == content[:size]
    assert stored.size == size
    # An upload whose answer was lost is made again.
    assert archive.archiver.store(tmp_path / "one.jsonl", "a/b/one.jsonl", size) == stored
    assert [(each.name, each.size) for each in list_archive(archive.client, archive.place)] == [("one.jsonl", size)]


@pytest.mark.parametrize("size", [10, 2 * PART_BYTES])
def test_other_content_is_never_overwritten(archive: Archive, tmp_path: Path, size: int) -> None:
    archive.client.put_object(Bucket=archive.place.bucket, Key="a/b/one", Body=b"x" * size)
    (tmp_path / "one").write_bytes(b"y" * size)
    failure = failure_of(lambda: archive.archiver.store(tmp_path / "one", "a/b/one"))
    assert failure.kind == COLLISION
    assert "a prefix of its own" in failure.line
    assert archive.read("a/b/one") == b"x" * size


def test_an_object_that_comes_between_the_look_and_the_write_is_not_overwritten(
    s3: FaultyS3, faulty: Archive, tmp_path: Path
) -> None:
    (tmp_path / "one").write_bytes(b"ours")

    def choose(method: str, path: str) -> str:
        if method == "PUT" and not s3.objects:
            s3.objects["a/b/one"] = kept(b"theirs")
        return PASS

    s3.choose = choose
    assert failure_of(lambda: faulty.archiver.store(tmp_path / "one", "a/b/one")).kind == COLLISION
    assert s3.contents() == {"a/b/one": b"theirs"}


def test_a_chain_grows_and_nothing_else(archive: Archive, tmp_path: Path) -> None:
    path, key = tmp_path / "courier.archive", "a/b/courier.archive"
    path.write_bytes(b"first\n")
    archive.archiver.extend(path, key, 6)
    path.write_bytes(b"first\nsecond\nthird\n")
    archive.archiver.extend(path, key, 13)
    archive.archiver.extend(path, key, 13)
    assert archive.read(key) == b"first\nsecond\n"
    archive.archiver.extend(path, key, 19)
    archive.archiver.check_owner(path)
    assert failure_of(lambda: archive.archiver.check_owner(None)).kind == OWNER
    # Restored from a backup, or damaged: the copy is kept.
    for content in (b"first\n", b"first\nsecond\nother\nlines and more\n"):
        path.write_bytes(content)
        failure = failure_of(partial(archive.archiver.extend, path, key, len(content)))
        assert failure.kind == COLLISION
        archive.archiver.check_owner(path)
    path.write_bytes(b"another directory\n")
    assert failure_of(lambda: archive.archiver.extend(path, key, 18)).kind == OWNER
    assert failure_of(lambda: archive.archiver.check_owner(path)).kind == OWNER
    assert archive.read(key) == b"first\nsecond\nthird\n"


def test_nobody_owns_an_empty_prefix(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "courier.archive").write_bytes(b"first\n")
    archive.archiver.check_owner(tmp_path / "courier.archive")
    archive.archiver.check_owner(None)


def test_a_server_without_conditional_writes_takes_uploads_and_keeps_what_it_has(
    s3: FaultyS3, faulty: Archive, tmp_path: Path
) -> None:
    s3.conditional = False
    (tmp_path / "one").write_bytes(b"y" * (PART_BYTES + 1))
    faulty.archiver.store(tmp_path / "one", "a/b/one")
    (tmp_path / "one").write_bytes(b"z" * (PART_BYTES + 1))
    assert failure_of(lambda: faulty.archiver.store(tmp_path / "one", "a/b/one")).kind == COLLISION
    assert s3.contents() == {"a/b/one": b"y" * (PART_BYTES + 1)}


@pytest.mark.parametrize("size", [0, 10, PART_BYTES + 1])
def test_a_server_without_checksums_is_taken_by_its_etags(
    s3: FaultyS3, faulty: Archive, tmp_path: Path, size: int
) -> None:
    s3.checksums = False
    (tmp_path / "one").write_bytes(b"y" * size)
    faulty.archiver.store(tmp_path / "one", "a/b/one")
    if size:
        s3.objects["a/b/one"].etag = "0" * 32
        assert failure_of(lambda: faulty.archiver.store(tmp_path / "one", "a/b/one")).kind == COLLISION


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (FAIL, PASSING, "InternalError"),
        (THROTTLE, PASSING, "SlowDown"),
        (DENY, FORBIDDEN, "allow the IAM action s3:PutObject (deploy/iam)"),
        (SKEW, REFUSED, "set it (NTP)"),
        (CUT, PASSING, "can't be reached"),
    ],
)
def test_a_failure_says_what_to_do(
    s3: FaultyS3, faulty: Archive, tmp_path: Path, fault: str, kind: str, told: str
) -> None:
    s3.choose = lambda method, _: fault if method == "PUT" else PASS
    (tmp_path / "one").write_bytes(b"y" * 100_000)
    failure = failure_of(lambda: faulty.archiver.store(tmp_path / "one", "a/b/one"))
    assert (failure.kind, failure.line.count("; ")) == (kind, 1)
    assert told in failure.line
    assert "\n" not in failure.line
    s3.choose = lambda *_: PASS
    faulty.archiver.store(tmp_path / "one", "a/b/one")


def test_a_missing_bucket_is_named(s3: FaultyS3, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"y")
    archive = archive_at(s3.url, "nowhere")
    failure = failure_of(lambda: archive.archiver.store(tmp_path / "one", "a/b/one"))
    assert failure.kind == MISSING
    assert "create it, or correct --audit-archive" in failure.line


@pytest.mark.parametrize("size", [10, 2 * PART_BYTES])
def test_an_upload_whose_answer_is_lost_is_found_to_be_there(
    s3: FaultyS3, faulty: Archive, tmp_path: Path, size: int
) -> None:
    (tmp_path / "one").write_bytes(b"y" * size)
    lost = iter([LOSE])
    s3.choose = lambda method, path: next(lost, PASS) if method in ("PUT", "POST") and "uploads" not in path else PASS
    stored = faulty.archiver.store(tmp_path / "one", "a/b/one")
    assert stored.size == size
    assert s3.overwritten == []


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"y")
    archive = archive_at("http://127.0.0.1:9", "archive")
    failure = failure_of(lambda: archive.archiver.store(tmp_path / "one", "a/b/one"))
    assert failure.kind == PASSING
    assert "http://127.0.0.1:9" in failure.line


def test_a_file_that_is_gone_cut_or_no_file_is_reported(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "short").write_bytes(b"y" * 10)
    for name in ("gone", "link", "short"):
        failure = failure_of(partial(archive.archiver.store, tmp_path / name, f"a/b/{name}", 11))
        assert (failure.kind, failure.line.count("; ")) == (LOCAL, 1)
        assert str(tmp_path / name) in failure.line
    assert list(list_archive(archive.client, archive.place)) == []


def test_memory_for_parts_is_bounded_up_to_the_largest_segment() -> None:
    assert part_bytes_of(256 * MIB) == PART_BYTES
    assert 1024**4 / part_bytes_of(1024**4) < 10_000
