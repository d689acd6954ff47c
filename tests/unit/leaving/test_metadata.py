"""The clients of EC2's and ECS's metadata against a fake platform, with what is wrong with platforms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from courier.errors import CannotStart
from courier.http.url_parsing import read_url
from courier.leaving.ec2 import TOKEN, Ec2
from courier.leaving.ecs import Agent, Ecs
from courier.leaving.metadata import Endpoint, Unavailable
from courier.leaving.opening import IPV4, IPV6, Endpoints, WatchSettings, find_endpoints
from courier.local.exchange import Request, Response
from tests.fake_platform import REBALANCE, SPOT, STATE, FakePlatform, fake_platform

EC2 = WatchSettings("ec2")


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    with fake_platform() as platform:
        yield platform


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def ec2_of(
    platform: FakePlatform, *, clock: Callable[[], float] = time.monotonic, drains_on_rebalance: bool = False
) -> Ec2:
    endpoint = Endpoint(asyncio.get_running_loop(), read_url(platform.url), "the instance metadata")
    return Ec2(endpoint, drains_on_rebalance=drains_on_rebalance, clock=clock)


async def refusal_of(agent: Agent) -> Unavailable | None:
    try:
        await agent.protect(10)
    except Unavailable as error:
        return error
    return None


def endpoint_of(platform: FakePlatform, path: str) -> Endpoint:
    return Endpoint(asyncio.get_running_loop(), read_url(platform.url + path), "it")


async def test_an_instance_without_notices_has_none_and_one_token_serves_all_looks(platform: FakePlatform) -> None:
    ec2 = ec2_of(platform)
    platform.items[STATE] = "InService"
    for _ in range(3):
        assert await ec2.poll() == ([], None)
    assert (platform.asked["token"], platform.asked[SPOT]) == (1, 3)
    ec2.close()


async def test_all_notices_are_found_the_most_urgent_first(platform: FakePlatform) -> None:
    ec2 = ec2_of(platform)
    platform.recommend_rebalance()
    platform.terminate()
    platform.interrupt_spot()
    notices, error = await ec2.poll()
    assert error is None
    assert [(notice.kind, notice.drains) for notice in notices] == [
        ("spot", True),
        ("lifecycle", True),
        ("rebalance", False),
    ]
    ec2.close()


async def test_an_expired_token_is_renewed_and_hides_no_notice(platform: FakePlatform) -> None:
    ec2 = ec2_of(platform)
    await ec2.poll()
    platform.forget_tokens()
    platform.interrupt_spot()
    notices, error = await ec2.poll()
    assert error is None
    assert [notice.kind for notice in notices] == ["spot"]
    assert (platform.asked["token"], platform.asked["refused"]) == (2, 1)
    ec2.close()


async def test_a_token_is_renewed_at_half_of_the_life_that_the_answer_gives_it(platform: FakePlatform) -> None:
    clock = Clock()
    ec2 = ec2_of(platform, clock=clock)
    platform.token_seconds = 60
    await ec2.poll()
    for later, tokens in ((29.0, 1), (2.0, 2)):
        clock.now += later
        await ec2.poll()
        assert platform.asked["token"] == tokens
    assert not platform.asked["refused"]
    ec2.close()


async def test_a_platform_that_refuses_every_token_is_asked_for_one_more_not_for_ever(platform: FakePlatform) -> None:
    platform.token_seconds = -1
    ec2 = ec2_of(platform)
    notices, error = await ec2.poll()
    assert notices == []
    assert "answers 401 Unauthorized" in str(error)
    assert platform.asked["token"] <= 6
    ec2.close()


async def test_a_hop_limit_of_1_is_one_line_that_says_what_to_raise(platform: FakePlatform) -> None:
    platform.reaches_containers = False
    ec2 = ec2_of(platform)
    _, error = await ec2.poll()
    assert error is not None
    assert "\n" not in str(error)
    assert "--http-put-response-hop-limit 2" in error.advice
    # Each item would wait for a token as long.
    assert platform.asked["token"] == 1
    ec2.close()


async def test_metadata_that_is_turned_off_says_how_to_turn_it_on(platform: FakePlatform) -> None:
    platform.override = lambda request: Response(403)
    ec2 = ec2_of(platform)
    _, error = await ec2.poll()
    assert error is not None
    assert "HttpEndpoint" in error.advice
    ec2.close()


@pytest.mark.parametrize("broken", [SPOT, STATE, REBALANCE])
async def test_a_notice_counts_even_if_another_item_cannot_be_read(platform: FakePlatform, broken: str) -> None:
    ec2 = ec2_of(platform, drains_on_rebalance=True)
    platform.interrupt_spot()
    platform.terminate()
    platform.recommend_rebalance()
    platform.override = lambda request: Response(500) if request.target.endswith(broken) else None
    notices, error = await ec2.poll()
    assert len(notices) == 2
    assert all(notice.drains for notice in notices)
    assert broken in str(error)
    ec2.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    status=st.sampled_from([200, 200, 200, 201, 204, 301, 400, 404, 429, 500, 503]),
    body=st.binary(max_size=2000) | st.sampled_from([b"\r\n", b"<html>", b"{}", b"[]", b'{"action": 1}', b"x" * 5000]),
    token_too=st.booleans(),
)
def test_whatever_answers_a_look_ends_with_notices_or_one_line(
    platform: FakePlatform, status: int, body: bytes, token_too: bool
) -> None:
    def answer(request: Request) -> Response | None:
        return Response(status, (), body) if token_too or request.target != TOKEN else None

    platform.override = answer

    async def poll() -> None:
        ec2 = ec2_of(platform)
        notices, error = await ec2.poll()
        assert len(notices) <= 3
        if error is not None:
            assert str(error).isprintable()
            assert error.advice
        ec2.close()
        ecs = Ecs(endpoint_of(platform, "/v4/x"))
        notices, error = await ecs.poll()
        assert error is None or (str(error).isprintable() and error.advice)
        ecs.close()
        agent = Agent(endpoint_of(platform, "/api/x"))
        error = await refusal_of(agent)
        assert error is None or (str(error).isprintable() and error.advice)
        agent.close()

    asyncio.run(poll())


async def test_a_machine_without_metadata_is_refused_at_once(platform: FakePlatform) -> None:
    url = platform.url
    platform.server.go_away()
    ec2 = Ec2(Endpoint(asyncio.get_running_loop(), read_url(url), "the instance metadata"))
    _, error = await ec2.poll()
    assert error is not None
    assert "connection refused" in error.reason
    assert "outside of EC2" in error.advice
    ec2.close()


async def test_a_task_is_asked_for_its_desired_status(platform: FakePlatform) -> None:
    ecs = Ecs(endpoint_of(platform, "/v4/abc"))
    assert await ecs.poll() == ((), None)
    platform.desired = "STOPPED"
    notices, error = await ecs.poll()
    assert [notice.kind for notice in notices] == ["task"]
    assert error is None
    ecs.close()


async def test_protection_is_asked_for_and_ended(platform: FakePlatform) -> None:
    agent = Agent(endpoint_of(platform, "/api/abc"))
    await agent.protect(10)
    await agent.protect(0)
    assert [minutes for _, minutes in platform.protected] == [10, 0]
    agent.close()


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [("AccessDeniedException", "ecs:UpdateTaskProtection"), ("TASK_NOT_VALID", "--task-protection")],
)
async def test_refused_protection_says_what_to_do(platform: FakePlatform, refusal: str, advice: str) -> None:
    platform.protection_refused = refusal
    agent = Agent(endpoint_of(platform, "/api/abc"))
    with pytest.raises(Unavailable) as refused:
        await agent.protect(10)
    assert refusal in refused.value.reason
    assert advice in refused.value.advice
    agent.close()


ECS = {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/abc", "ECS_AGENT_URI": "http://169.254.170.2/api/abc"}


def test_auto_is_ecs_in_a_task_and_ec2_elsewhere() -> None:
    assert find_endpoints(WatchSettings("auto"), ECS) == Endpoints(ecs=read_url(ECS["ECS_CONTAINER_METADATA_URI_V4"]))
    assert find_endpoints(WatchSettings("auto", protects_task=True), ECS).agent == read_url(ECS["ECS_AGENT_URI"])
    assert find_endpoints(WatchSettings("auto"), {}) == Endpoints(ec2=read_url(IPV4))
    assert find_endpoints(EC2, ECS) == Endpoints(ec2=read_url(IPV4))


def test_the_variables_of_the_sdks_say_where_the_instance_metadata_is() -> None:
    assert find_endpoints(EC2, {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}).ec2 == read_url(IPV6)
    there = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1338"}
    assert find_endpoints(EC2, there).ec2 == read_url("http://127.0.0.1:1338")


@pytest.mark.parametrize(
    ("settings", "environment", "named"),
    [
        (EC2, {"AWS_EC2_METADATA_DISABLED": "true"}, "AWS_EC2_METADATA_DISABLED"),
        (EC2, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "imds"}, "AWS_EC2_METADATA_SERVICE_ENDPOINT"),
        (WatchSettings("ecs"), {}, "ECS_CONTAINER_METADATA_URI_V4"),
        (WatchSettings("ecs", protects_task=True), ECS | {"ECS_AGENT_URI": ""}, "ECS_AGENT_URI"),
    ],
)
def test_a_platform_that_is_not_there_is_one_line(
    settings: WatchSettings, environment: dict[str, str], named: str
) -> None:
    with pytest.raises(CannotStart, match=named) as refused:
        find_endpoints(settings, environment)
    assert "\n" not in str(refused.value)
