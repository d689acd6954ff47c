"""The opening of what the watcher asks: the metadata of EC2 or ECS, the lifecycle hook, and the agent.

The platform's own variables say where they are, the same that the AWS SDKs read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from courier.errors import CannotStart
from courier.http.url import Url
from courier.http.url_parsing import read_url
from courier.leaving.ec2 import INSTANCE_ID, NAME, REGION, Ec2
from courier.leaving.ecs import AGENT, METADATA, Agent, Ecs
from courier.leaving.metadata import Endpoint, Unavailable
from courier.leaving.watcher import FindHook, Hook, Source

if TYPE_CHECKING:
    from courier.leaving.lifecycle_hook import LifecycleHook

TASK_METADATA: Final = "ECS_CONTAINER_METADATA_URI_V4"
AGENT_URI: Final = "ECS_AGENT_URI"
EC2_ENDPOINT: Final = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
EC2_MODE: Final = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"
EC2_DISABLED: Final = "AWS_EC2_METADATA_DISABLED"
IPV4: Final = "http://169.254.169.254"
IPV6: Final = "http://[fd00:ec2::254]"


class Endpoints(NamedTuple):
    """Where the metadata is: ``ec2`` or ``ecs``, one of them, and the ``agent`` of ECS if the task is protected."""

    ec2: Url | None = None
    ecs: Url | None = None
    agent: Url | None = None


class WatchSettings(NamedTuple):
    """What the options ask for: see :class:`courier.config.leaving.LeavingConfig`."""

    platform: str
    drains_on_rebalance: bool = False
    hook_group: str = ""
    hook_name: str = ""
    protects_task: bool = False


def find_endpoints(settings: WatchSettings, environment: Mapping[str, str]) -> Endpoints:
    """Return where the metadata is, by the variables of the environment. Raise CannotStart for one that is wrong."""
    platform = settings.platform
    if platform == "auto":
        platform = "ecs" if environment.get(TASK_METADATA) else "ec2"
    if platform == "ec2":
        if environment.get(EC2_DISABLED, "").lower() == "true":
            raise CannotStart(
                f"--watch-termination needs the instance metadata, which {EC2_DISABLED} turns off; "
                "leave one of the two out"
            )
        by_mode = IPV6 if environment.get(EC2_MODE, "").lower() == "ipv6" else IPV4
        return Endpoints(ec2=_url(EC2_ENDPOINT, environment.get(EC2_ENDPOINT) or by_mode))
    metadata, agent = (environment.get(name, "") for name in (TASK_METADATA, AGENT_URI))
    if not metadata:
        raise CannotStart(
            f"--watch-termination ecs needs {TASK_METADATA}, which ECS sets in a task; elsewhere leave the option out"
        )
    if settings.protects_task and not agent:
        raise CannotStart(
            f"--task-protection needs {AGENT_URI}, which ECS sets in a task with agent 1.65 or Fargate 1.4.0; use such "
            "a platform, or leave the option out"
        )
    return Endpoints(
        ecs=_url(TASK_METADATA, metadata), agent=_url(AGENT_URI, agent) if settings.protects_task else None
    )


def open_source(
    loop: asyncio.AbstractEventLoop, endpoints: Endpoints, settings: WatchSettings
) -> tuple[Source, FindHook | None]:
    """Return the metadata of the platform, and what finds the lifecycle hook, if one is to be completed."""
    if endpoints.ec2 is None:
        assert endpoints.ecs is not None
        return Ecs(Endpoint(loop, endpoints.ecs, METADATA)), None
    ec2 = Ec2(Endpoint(loop, endpoints.ec2, NAME), drains_on_rebalance=settings.drains_on_rebalance)
    if not settings.hook_name:
        return ec2, None

    async def find_hook() -> Hook:
        instance, region = await ec2.get(INSTANCE_ID), await ec2.get(REGION)
        if not instance:
            raise Unavailable("the instance metadata has no instance id; find out what answers there")
        return await loop.run_in_executor(None, _lifecycle_hook, settings, instance.strip(), (region or "").strip())

    return ec2, find_hook


def open_agent(loop: asyncio.AbstractEventLoop, endpoints: Endpoints) -> Agent | None:
    """Return the side of ECS that protects the task, ``None`` if it isn't to be protected."""
    return Agent(Endpoint(loop, endpoints.agent, AGENT)) if endpoints.agent is not None else None


def _lifecycle_hook(settings: WatchSettings, instance: str, region: str) -> LifecycleHook:
    # Imported here, in a thread, because it imports boto3, and most machines end without a hook.
    from courier.leaving.lifecycle_hook import Instance, LifecycleHook

    return LifecycleHook(settings.hook_name, settings.hook_group, Instance(instance, region or None))


def _url(variable: str, text: str) -> Url:
    try:
        return read_url(text)
    except ValueError as error:
        raise CannotStart(f"{variable} must be a URL: {error}") from error
