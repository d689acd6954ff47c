"""The options of bodies: what they take, and which of them need each other."""

from __future__ import annotations

from typing import Any

import pytest

from courier.config.config import OPTIONS, Config
from courier.config.consequences import options_without_effect
from courier.errors import ConfigError
from tests.unit.body.messages import TOPIC


def config(**values: Any) -> Config:
    return Config(queue="queue", recipient_url="http://127.0.0.1/", **values)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("unwrap", ("unwrap",)),
        (" Unwrap , decode", ("unwrap", "decode")),
        ("unwrap,fetch,decode", ("unwrap", "fetch", "decode")),
        ("", ()),
        ("none", ()),
    ],
)
def test_the_steps_of_a_chain_stand_in_their_order(text: str, steps: tuple[str, ...]) -> None:
    value = OPTIONS["body"].kind.parse(text)
    assert tuple(filter(None, value.split(","))) == steps


@pytest.mark.parametrize("text", ["decode,unwrap", "unwrap,unwrap", "gunzip", "unwrap,", ",", "unwrap decode"])
def test_any_other_chain_is_refused_with_the_one_that_is_right(text: str) -> None:
    with pytest.raises(ValueError, match="unwrap,fetch,decode, or some of these in this order"):
        OPTIONS["body"].kind.parse(text)


@pytest.mark.parametrize("text", ["br", "gzip,,zstd", "attribute,gzip", "gzip,gzip,gzip,gzip,gzip", ""])
def test_codings_that_nobody_can_undo_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be attribute, or up to 4 of base64, gzip, zstd"):
        OPTIONS["decode"].kind.parse(text)


@pytest.mark.parametrize("arn", ["orders", "arn:aws:sqs:us-east-1:123456789012:orders", TOPIC + ":sub", TOPIC + "\n"])
def test_what_is_no_topic_is_refused(arn: str) -> None:
    if arn.strip() == TOPIC:
        assert OPTIONS["sns_topic"].kind.parse(arn) == TOPIC
        return
    with pytest.raises(ValueError, match="the ARN of an SNS topic"):
        OPTIONS["sns_topic"].kind.parse(arn)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"decode": "gzip"}, "--decode: needs --body decode"),
        ({"body": "unwrap", "decode_attribute": "coding"}, "--decode-attribute: needs --body decode"),
        ({"body": "decode", "decode_attribute": ""}, "--decode-attribute: must be the name"),
        ({"sns_verify": True, "sns_topic": (TOPIC,)}, "--sns-verify: needs --body unwrap"),
        ({"body": "unwrap", "sns_verify": True}, "--sns-verify: needs --sns-topic"),
        ({"body": "unwrap", "sns_topic": (TOPIC,)}, "--sns-topic: needs --sns-verify yes"),
        ({"body": "unwrap", "sns_endpoint_url": "http://127.0.0.1"}, "--sns-endpoint-url: needs --sns-verify yes"),
        (
            {"body": "unwrap", "sns_verify": True, "sns_topic": (TOPIC,), "sns_endpoint_url": "sns"},
            "--sns-endpoint-url: must be a URL",
        ),
    ],
)
def test_options_that_need_each_other_say_so(values: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**values)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_a_cap_without_anything_that_unfolds_has_no_effect() -> None:
    notes = options_without_effect(config(body="unwrap", body_max_bytes=1024), {"body_max_bytes"}, {})
    assert [note.name for note in notes] == ["--body-max-bytes"]
    assert options_without_effect(config(body="decode", body_max_bytes=1024), {"body_max_bytes"}, {}) == []
