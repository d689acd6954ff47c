"""Verification of an archive as it lies in S3, on moto's server and on one that fails, throttles and cuts downloads."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from courier import cli
from courier.audit.archive_client import connect_archive
from courier.audit.archive_place import ArchivePlace
from courier.audit.archive_trail import ArchiveTrail
from courier.audit.trail import JOURNAL, CannotRead
from courier.audit.verdicts import Report
from courier.audit.verify import verify
from tests.faulty_s3 import CUT, DENY, FAIL, PASS, TEAR, THROTTLE, FaultyS3, kept
from tests.integration.sqs_endpoints import REGION
from tests.unit.audit.sealed_trail import Written, archive, write_trail

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


pytestmark = pytest.mark.usefixtures("s3_keys")


def archived(directory: Path) -> tuple[list[Written], dict[str, bytes]]:
    """Return a trail, and the objects that its archive consists of."""
    written = write_trail(directory, 6, key=KEY, packings=[".zst", ""], groups=(400, 300, 500), running=False)
    objects: dict[str, bytes] = {}
    for index, one in enumerate(written):
        archive(directory, one, KEY)
        for path in (one.path, one.seal):
            objects[f"a/b/2026/11/{20 + index // 2}/{path.name}"] = path.read_bytes()
    objects[f"a/b/{JOURNAL}"] = (directory / JOURNAL).read_bytes()
    return written, objects


def serve(s3: FaultyS3, objects: dict[str, bytes]) -> None:
    s3.objects = {key: kept(content) for key, content in objects.items()}


def verified(url: str, bucket: str, prefix: str = "a/b") -> Report:
    trail = ArchiveTrail(ArchivePlace(bucket, prefix), REGION, url, pause=lambda seconds: None)
    return verify(trail, [KEY.public_key()], pause=lambda seconds: None)


def test_an_archive_on_moto_is_intact_until_an_object_is_changed_or_removed(tmp_path: Path, moto_server: str) -> None:
    written, objects = archived(tmp_path)
    client = connect_archive(REGION, moto_server)
    client.create_bucket(Bucket="verified")
    for key, content in {**objects, "a/b/other": b"x", "a/b/2026/11/20/notes.txt": b"x"}.items():
        client.put_object(Bucket="verified", Key=key, Body=content)
    report = verified(moto_server, "verified")
    assert report.evidence == []
    assert report.doubts == []
    assert report.vouched.segments == 6
    assert report.vouched.records == 6 * 1200
    key = next(key for key in objects if key.endswith(written[3].path.name))
    client.put_object(Bucket="verified", Key=key, Body=objects[key].replace(b"delivered", b"DELIVERED", 1))
    assert [(one.kind, one.segment, one.start) for one in verified(moto_server, "verified").evidence] == [
        ("changed", 4, 0)
    ]
    client.delete_object(Bucket="verified", Key=key)
    assert [(one.kind, one.segment) for one in verified(moto_server, "verified").evidence] == [("missing", 4)]


def test_newest_segments_that_were_archived_are_missed(tmp_path: Path, s3: FaultyS3) -> None:
    written, objects = archived(tmp_path)
    serve(s3, {key: content for key, content in objects.items() if written[-1].path.name.partition(".")[0] not in key})
    assert [(one.kind, one.segment) for one in verified(s3.url, s3.bucket).evidence] == [("missing", 6)]


def test_an_upload_that_is_under_way_is_no_evidence(tmp_path: Path, s3: FaultyS3) -> None:
    written, objects = archived(tmp_path)
    journal = objects[f"a/b/{JOURNAL}"].splitlines(keepends=True)
    objects[f"a/b/{JOURNAL}"] = b"".join(journal[:-2])
    serve(s3, {key: content for key, content in objects.items() if not key.endswith(written[-1].seal.name)})
    report = verified(s3.url, s3.bucket)
    assert report.evidence == []
    assert [(one.kind, one.segment) for one in report.doubts] == [("no seal", 6)]


@pytest.mark.parametrize("seed", range(4))
def test_downloads_that_are_cut_and_throttled_are_resumed(tmp_path: Path, s3: FaultyS3, seed: int) -> None:
    _, objects = archived(tmp_path)
    serve(s3, objects)
    chance = random.Random(seed)
    s3.choose = lambda method, path: chance.choice([PASS, PASS, PASS, TEAR])
    report = verified(s3.url, s3.bucket)
    assert report.evidence == []
    assert report.vouched.segments == 6
    ranges = [path for _, path in s3.seen]
    assert len(ranges) > len(objects) + 1


@pytest.mark.parametrize("fault", [DENY, FAIL, THROTTLE, CUT])
def test_what_cannot_be_read_is_no_verdict(tmp_path: Path, s3: FaultyS3, fault: str) -> None:
    _, objects = archived(tmp_path)
    serve(s3, objects)
    s3.choose = lambda method, path: fault if path.endswith(".seal") else PASS
    with pytest.raises(CannotRead, match=r"cannot read the archive: .*\.seal.*; "):
        verified(s3.url, s3.bucket)


def test_the_command_reads_an_archive(tmp_path: Path, s3: FaultyS3, capsys: pytest.CaptureFixture[str]) -> None:
    _, objects = archived(tmp_path)
    serve(s3, objects)
    options = ["--audit-archive-endpoint-url", s3.url, "--region", REGION]
    assert cli.main(["audit", "verify", f"s3://{s3.bucket}/a/b/", *options]) == 0
    assert "6 of 6 segments" in capsys.readouterr().out
    assert cli.main(["audit", "verify", f"s3://{s3.bucket}/a", *options]) == 3
    assert "no segment" in capsys.readouterr().err
    assert cli.main(["audit", "verify", "s3://missing-bucket/a", *options]) == 3
    assert "cannot read s3://missing-bucket/a: the bucket does not exist; correct the URL" in capsys.readouterr().err
    assert cli.main(["audit", "verify", "s3://a b/", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1
