from __future__ import annotations

import pytest

from courier.audit.archive_place import LONGEST_PREFIX, ArchivePlace, archive_place


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://my.bucket-1/courier/host-1", ("my.bucket-1", "courier/host-1")),
        ("s3://bucket/a/b/", ("bucket", "a/b")),
        ("s3://bucket/a=1,b=(2)", ("bucket", "a=1,b=(2)")),
    ],
)
def test_a_url_names_a_bucket_and_a_prefix(url: str, place: tuple[str, str]) -> None:
    assert archive_place(url) == place
    assert archive_place(str(ArchivePlace(*place))) == place


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket/prefix",
        "S3://bucket",
        "https://bucket.s3.amazonaws.com",
        "s3://",
        "s3:///prefix",
        "s3://ab",
        "s3://Bucket/prefix",
        "s3://bu..cket",
        "s3://192.168.1.1/prefix",
        "s3://key:secret@bucket/prefix",
        "s3://bucket/a//b",
        "s3://bucket//a",
        "s3://bucket/a/../b",
        "s3://bucket/.",
        "s3://bucket/a b",
        "s3://bucket/a?b",
        "s3://bucket/a#b",
        "s3://bucket/ä",
        "s3://bucket/a\n",
        f"s3://bucket/{'x' * (LONGEST_PREFIX + 1)}",
    ],
)
def test_any_other_url_is_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(ValueError, match="s3://my-bucket/courier/host-1"):
        archive_place(url)


def test_keys_are_sorted_by_the_date_on_which_a_segment_was_begun() -> None:
    place = archive_place("s3://bucket/courier/host-1")
    name = "courier-000042-20261125T093000Z.jsonl.zst"
    assert place.dated_key("20261125T093000Z", name) == f"courier/host-1/2026/11/25/{name}"
    assert archive_place("s3://bucket").dated_key("20261125T093000Z", name) == f"2026/11/25/{name}"
    assert place.key("courier.archive") == "courier/host-1/courier.archive"
