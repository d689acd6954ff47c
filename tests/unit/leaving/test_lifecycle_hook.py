"""The lifecycle hook by boto3, against a fake of Auto Scaling."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from courier.errors import CourierError
from courier.leaving.lifecycle_hook import HookFailed, Instance, LifecycleHook
from courier.local.exchange import Response
from tests.fake_platform import GROUP, HOOK, INSTANCE, FakePlatform, fake_platform


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePlatform]:
    with fake_platform() as platform:
        for name, value in platform.environment("ec2").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield platform


def hook(group: str = GROUP, name: str = HOOK) -> LifecycleHook:
    return LifecycleHook(name, group, Instance(INSTANCE, "eu-west-1"))


def test_it_is_extended_and_completed_once(platform: FakePlatform) -> None:
    platform.terminate()
    one = hook()
    assert one.extend()
    assert one.complete()
    assert not one.complete()
    assert not one.extend()
    assert len(platform.completed) == len(platform.extended) == 1
    assert not platform.asked["DescribeAutoScalingInstances"]


def test_a_group_that_is_not_given_is_looked_up_once(platform: FakePlatform) -> None:
    platform.terminate()
    one = hook(group="")
    assert one.extend()
    assert one.complete()
    assert platform.asked["DescribeAutoScalingInstances"] == 1


@pytest.mark.parametrize("action", ["CompleteLifecycleAction", "DescribeAutoScalingInstances"])
def test_a_denied_call_names_the_policy(platform: FakePlatform, action: str) -> None:
    platform.terminate()
    platform.denied = {action}
    with pytest.raises(HookFailed, match="is not authorized") as denied:
        hook(group="").complete()
    assert "deploy/iam/courier-lifecycle.json" in denied.value.advice
    assert platform.completed == []


def test_a_wrong_name_is_one_line(platform: FakePlatform) -> None:
    platform.terminate()
    with pytest.raises(HookFailed, match="ValidationError") as wrong:
        hook(name="other").complete()
    assert "name of the hook" in wrong.value.advice


@pytest.mark.parametrize(
    "answer", [Response(200, (), b"<html>hello"), Response(404, (), b""), Response(200, (), b"{}")]
)
def test_what_is_not_auto_scaling_is_one_line(platform: FakePlatform, answer: Response) -> None:
    platform.override = lambda request: answer
    with pytest.raises(CourierError) as wrong:
        hook(group="").complete()
    assert str(wrong.value).isprintable()


def test_an_unreachable_endpoint_says_so(platform: FakePlatform) -> None:
    platform.server.go_away()
    with pytest.raises(HookFailed, match="refused"):
        hook().complete()
