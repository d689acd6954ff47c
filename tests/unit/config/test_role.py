"""The options of the role to assume: what STS would refuse is refused before the start."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.config.checks import assumed_role
from courier.config.config import Config
from courier.config.consequences import options_without_effect
from courier.errors import ConfigError
from courier.sqs.role import AssumedRole
from tests.examples import examples

ARN = "arn:aws:iam::123456789012:role/courier"
ARNS = st.sampled_from(
    [ARN, "arn:aws-us-gov:iam::123456789012:role/a/path/of+it", "arn:aws-cn:iam::123456789012:role/x"]
)
EXTERNAL = st.none() | st.from_regex(r"\A[A-Za-z0-9_+=,.@:/-]{2,60}\Z")
NAMES = st.from_regex(r"\A[A-Za-z0-9_+=,.@-]{2,64}\Z")


@settings(max_examples=examples(100), deadline=None)
@given(arn=ARNS, external_id=EXTERNAL, name=NAMES)
def test_what_sts_accepts_is_taken_as_it_is(arn: str, external_id: str | None, name: str) -> None:
    assert assumed_role(arn, external_id, name) == AssumedRole(arn, external_id, name)


@pytest.mark.parametrize(
    ("arn", "external_id", "name", "flag"),
    [
        (None, "shop", "courier", "--external-id"),
        ("", None, "courier", "--role-arn"),
        ("courier", None, "courier", "--role-arn"),
        ("arn:aws:iam::123456789012:user/x", None, "courier", "--role-arn"),
        ("arn:aws:iam::1234:role/x", None, "courier", "--role-arn"),
        (f"{ARN} ", None, "courier", "--role-arn"),
        (ARN, "", "courier", "--external-id"),
        (ARN, "a b", "courier", "--external-id"),
        (ARN, "x" * 1225, "courier", "--external-id"),
        (ARN, None, "c", "--role-session-name"),
        (ARN, None, "of all", "--role-session-name"),
        (ARN, None, "é" * 5, "--role-session-name"),
    ],
)
def test_what_sts_refuses_is_named(arn: str | None, external_id: str | None, name: str, flag: str) -> None:
    with pytest.raises(ConfigError) as refused:
        assumed_role(arn, external_id, name)
    assert str(refused.value).startswith(f"{flag}: ")
    assert "\n" not in str(refused.value)


def test_a_role_without_calls_to_sqs_is_said_to_have_no_effect() -> None:
    config = Config(recipient_url="http://127.0.0.1/", queue_type="nop", role_arn=ARN)
    assert "--role-arn" in [note.name for note in options_without_effect(config, {"role_arn"}, {})]
    config = Config(recipient_url="http://127.0.0.1/", queue="orders", role_session_name="shop")
    assert [note.name for note in options_without_effect(config, {"role_session_name"}, {})] == ["--role-session-name"]
