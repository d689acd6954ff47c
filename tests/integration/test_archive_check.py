"""What is found out about an archive before the start: an obstacle only where no waiting helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from courier.audit.archive_check import check_archive
from courier.audit.archive_place import ArchivePlace, ArchiveSettings
from courier.audit.journal import Journal
from courier.audit.sealing import JOURNAL_NAME, Sealing
from courier.errors import CannotStart
from tests.faulty_s3 import CUT, DENY, FAIL, PASS, FaultyS3, kept
from tests.integration.sqs_endpoints import REGION

KEY = ArchivePlace("archive", "host-1").key(JOURNAL_NAME)


pytestmark = pytest.mark.usefixtures("s3_keys")


def looked(s3: FaultyS3, directory: Path, bucket: str = "archive") -> tuple[str, str]:
    return check_archive(ArchiveSettings(f"s3://{bucket}/host-1", REGION, s3.url, directory))


def begun(directory: Path) -> bytes:
    directory.mkdir(exist_ok=True)
    Journal(Sealing(directory).chain(JOURNAL_NAME), "s3://archive/host-1", lambda: "2026-11-25T10:30:00.000Z").open()
    return (directory / JOURNAL_NAME).read_bytes()


def test_a_bucket_that_is_there_and_takes_this_directory_is_well(s3: FaultyS3, tmp_path: Path) -> None:
    assert looked(s3, tmp_path) == ("s3://archive/host-1 is there", "")
    s3.objects[KEY] = kept(begun(tmp_path))
    assert looked(s3, tmp_path) == ("s3://archive/host-1 is there", "")


def test_the_prefix_of_another_directory_is_a_warning(s3: FaultyS3, tmp_path: Path) -> None:
    s3.objects[KEY] = kept(begun(tmp_path / "other"))
    for _ in ("no journal yet", "a journal"):
        _, warning = looked(s3, tmp_path)
        assert warning.startswith("another audit directory archives to s3://archive/host-1; give each")
        begun(tmp_path)


@pytest.mark.parametrize(
    ("fault", "told"),
    [(DENY, "allow the IAM action s3:ListBucket (deploy/iam)"), (FAIL, "AWS Health"), (CUT, "can't be reached")],
)
def test_what_may_pass_is_a_warning(s3: FaultyS3, tmp_path: Path, fault: str, told: str) -> None:
    s3.choose = lambda *_: fault
    detail, warning = looked(s3, tmp_path)
    assert detail == "s3://archive/host-1 was not checked"
    assert told in warning
    assert "\n" not in warning
    s3.choose = lambda *_: PASS
    assert not looked(s3, tmp_path)[1]


def test_a_bucket_that_does_not_exist_is_an_obstacle(s3: FaultyS3, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="the bucket does not exist; create it, or correct --audit-archive"):
        looked(s3, tmp_path, bucket="nowhere")


def test_a_profile_that_does_not_exist_is_an_obstacle(
    s3: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CannotStart, match="nobody"):
        looked(s3, tmp_path)
