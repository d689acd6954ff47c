"""The options of --body fetch: what they need, and what they refuse in one line."""

from __future__ import annotations

from typing import Any

import pytest

from courier.config.config import Config
from courier.config.fetch import FetchConfig
from courier.config.file_descriptors import descriptor_budget
from courier.config.option import Option
from courier.errors import ConfigError
from courier.fetch.pointer import BucketPrefix


def config(**values: Any) -> Config:
    return Config(**({"queue_type": "nop", "recipient_url": "http://127.0.0.1:1/"} | values))


def parsed(text: str) -> Any:
    described: Option = FetchConfig.__dataclass_fields__["fetch_bucket"].metadata["option"]
    return described.kind.parse(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("bodies", BucketPrefix("bodies")),
        (" s3://bodies/orders/ ", BucketPrefix("bodies", "orders/")),
        ("My_Old.Bucket", BucketPrefix("My_Old.Bucket")),
        (
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/orders/",
            BucketPrefix("arn:aws:s3:eu-west-1:123456789012:accesspoint/mine", "orders/"),
        ),
    ],
)
def test_a_bucket_may_be_narrowed_to_a_prefix(text: str, place: BucketPrefix) -> None:
    assert parsed(text) == place


@pytest.mark.parametrize("text", ["", "b", "/x", "two words", "*", "bodies,others", "-x-", "http://host/bucket"])
def test_what_is_no_bucket_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name of a bucket"):
        parsed(text)


def test_fetching_needs_a_bucket_and_its_options_need_fetching() -> None:
    with pytest.raises(ConfigError, match="--fetch-bucket"):
        config(body="unwrap,fetch")
    for name, value in {
        "fetch_bucket": (BucketPrefix("bodies"),),
        "fetch_max_bytes": 5000,
        "fetch_timeout_seconds": 5.0,
        "fetch_delete": True,
        "fetch_endpoint_url": "http://127.0.0.1:1",
    }.items():
        with pytest.raises(ConfigError, match="needs --body fetch"):
            config(**{name: value})
    with pytest.raises(ConfigError, match="--fetch-endpoint-url"):
        config(body="fetch", fetch_bucket=(BucketPrefix("bodies"),), fetch_endpoint_url="no url")


@pytest.mark.parametrize("transport", ["native", "requests"])
def test_a_fetched_body_counts_with_its_file_and_its_connection(transport: str) -> None:
    plain = descriptor_budget(config(transport=transport, concurrency=100), 1 << 20)
    fetching = config(transport=transport, concurrency=100, body="fetch", fetch_bucket=(BucketPrefix("bodies"),))
    assert descriptor_budget(fetching, 1 << 20).needed == plain.needed + 200


@pytest.mark.parametrize("body", ["decode", "fetch", "fetch,decode"])
def test_each_message_of_a_batch_may_have_a_file_of_its_own(body: str) -> None:
    given = {"body": body, "fetch_bucket": (BucketPrefix("bodies"),) if "fetch" in body else (), "concurrency": 10}
    alone = descriptor_budget(config(**given), 1 << 20)
    batched = descriptor_budget(config(**given, format="lambda", batch_size=10), 1 << 20)
    assert batched.needed - alone.needed >= 10 * 9
