from __future__ import annotations

from typing import Any

import pytest

from courier.config.config import Config
from courier.config.consequences import options_without_effect
from courier.errors import ConfigError


def config(**values: Any) -> Config:
    return Config(**({"queue": "orders", "recipient_url": "http://127.0.0.1:1/"} | values))


def refusal(**values: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        config(**values)
    return str(refused.value)


def test_an_archive_must_be_a_bucket_and_a_prefix() -> None:
    assert config(audit_archive="s3://bucket/host-1").audit_archive == "s3://bucket/host-1"
    for url in ("", "bucket", "https://bucket.s3.amazonaws.com/host-1", "s3://Bucket"):
        line = refusal(audit_archive=url)
        assert line.startswith("--audit-archive: ")
        assert "s3://my-bucket/courier/host-1" in line


def test_a_refused_archive_is_not_repeated_since_it_may_hold_a_secret() -> None:
    assert "hunter2" not in refusal(audit_archive="s3://key:hunter2@bucket/host-1")


def test_an_endpoint_must_be_a_url() -> None:
    assert refusal(audit_archive_endpoint_url="4566").startswith("--audit-archive-endpoint-url: ")
    assert config(audit_archive_endpoint_url="http://127.0.0.1:4566").audit_archive_endpoint_url


@pytest.mark.parametrize(
    ("values", "without_effect"),
    [
        ({"audit_archive": "s3://bucket", "audit": "none"}, ["--audit-archive"]),
        ({"audit_archive_endpoint_url": "http://127.0.0.1:4566"}, ["--audit-archive-endpoint-url"]),
        ({"audit_archive": "s3://bucket", "audit_archive_endpoint_url": "http://127.0.0.1:4566"}, []),
    ],
)
def test_an_archive_without_files_has_no_effect(values: dict[str, Any], without_effect: list[str]) -> None:
    notes = options_without_effect(config(**values), [*values], {})
    assert [note.name for note in notes] == without_effect


def test_a_region_has_an_effect_where_only_the_archive_is_in_aws() -> None:
    values = {"audit_archive": "s3://bucket", "queue_type": "virtual", "region": "eu-west-1"}
    assert not options_without_effect(config(**values), [*values], {})
