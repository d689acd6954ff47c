"""A fake of what a machine of AWS hears from its platform: EC2's and ECS's metadata, the agent, and Auto Scaling."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs

from courier.local.exchange import Request, Response
from tests.threaded_server import ThreadedServer

META: Final = "/latest/meta-data/"
SPOT: Final = "spot/instance-action"
STATE: Final = "autoscaling/target-lifecycle-state"
REBALANCE: Final = "events/recommendations/rebalance"
INSTANCE: Final = "i-0123456789abcdef0"
GROUP: Final = "workers"
HOOK: Final = "courier-drained"
TASK_ARN: Final = "arn:aws:ecs:eu-west-1:123456789012:task/prod/0123456789abcdef"

NOT_WAITING: Final = "No active Lifecycle Action found with instance ID "

Override = Callable[[Request], Response | Awaitable[Response] | None]


class FakePlatform:
    """Answers as the platform does. Tests set what is in force, and ``override`` what is wrong with it.

    ``token_seconds`` is the life of a token. Without ``reaches_containers`` the answer to a request for a token never
    arrives, as with a hop limit of 1. ``asked`` counts the requests by path or action, ``completed`` the lifecycle
    actions that were completed.
    """

    def __init__(self) -> None:
        self.items = {"instance-id": INSTANCE, "placement/region": "eu-west-1"}
        self.token_seconds = 21_600.0
        self.reaches_containers = True
        self.desired = "RUNNING"
        self.hook_waits = False
        self.completed: list[float] = []
        self.extended: list[float] = []
        self.denied: set[str] = set()
        self.protected: list[tuple[float, int]] = []
        self.protection_refused = ""
        self.asked: Counter[str] = Counter()
        self.override: Override = lambda request: None
        self._tokens: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self.server = ThreadedServer(self._answer)

    @property
    def url(self) -> str:
        return self.server.url

    def environment(self, platform: str) -> dict[str, str]:
        """Return the variables of a program on ``ec2`` or ``ecs``."""
        if platform == "ecs":
            return {"ECS_CONTAINER_METADATA_URI_V4": f"{self.url}/v4/abc", "ECS_AGENT_URI": f"{self.url}/api/abc"}
        return {
            "AWS_EC2_METADATA_DISABLED": "",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url,
            "AWS_ENDPOINT_URL_AUTO_SCALING": self.url,
        }

    def interrupt_spot(self, seconds: float = 120.0, action: str = "terminate") -> None:
        at = datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.items[SPOT] = json.dumps({"action": action, "time": at})

    def recommend_rebalance(self) -> None:
        self.items[REBALANCE] = json.dumps({"noticeTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")})

    def terminate(self, *, hook: bool = True) -> None:
        """Scale in: the instance is to be terminated once its hook is completed."""
        self.hook_waits = hook
        self.items[STATE] = "Terminated"

    def forget_tokens(self) -> None:
        self._tokens.clear()

    def stop(self) -> None:
        self.server.stop()

    def _answer(self, request: Request) -> Response | Awaitable[Response]:
        if (other := self.override(request)) is not None:
            return other
        if request.target.startswith("/latest/"):
            return self._metadata(request)
        if request.target.startswith("/v4/"):
            self.asked["task"] += 1
            return as_json(200, {"TaskARN": TASK_ARN, "DesiredStatus": self.desired, "KnownStatus": "RUNNING"})
        if request.target.startswith("/api/"):
            return self._protect(request)
        return self._auto_scaling(request)

    def _metadata(self, request: Request) -> Response | Awaitable[Response]:
        if request.target == "/latest/api/token":
            self.asked["token"] += 1
            if not self.reaches_containers:
                return never()
            if (
                request.method != "PUT"
                or not 1 <= int(request.headers["x-aws-ec2-metadata-token-ttl-seconds"]) <= 21600
            ):
                return Response(400)
            token = f"AQAEA{next(self._numbers):051d}=="
            self._tokens[token] = time.monotonic() + self.token_seconds
            header = ("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", str(max(1, int(self.token_seconds))))
            return Response(200, [header], token.encode())
        if self._tokens.get(request.headers.get("x-aws-ec2-metadata-token", ""), 0.0) < time.monotonic():
            self.asked["refused"] += 1
            return Response(401)
        name = request.target.removeprefix(META)
        self.asked[name] += 1
        return Response(200, (), self.items[name].encode()) if name in self.items else Response(404)

    def _protect(self, request: Request) -> Response:
        self.asked["protection"] += 1
        wish = json.loads(request.body)
        if self.protection_refused == "TASK_NOT_VALID":
            return as_json(200, {"failure": {"Arn": TASK_ARN, "Detail": None, "Reason": self.protection_refused}})
        if self.protection_refused:
            error = {"Arn": TASK_ARN, "Code": self.protection_refused, "Message": "User: x is not authorized"}
            return as_json(400, {"requestID": "r", "error": error})
        minutes = wish.get("ExpiresInMinutes", 120) if wish["ProtectionEnabled"] else 0
        self.protected.append((time.monotonic(), minutes))
        return as_json(200, {"protection": {"ProtectionEnabled": minutes > 0, "TaskArn": TASK_ARN}})

    def _auto_scaling(self, request: Request) -> Response:
        fields = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        action = fields["Action"]
        self.asked[action] += 1
        if "AWS4-HMAC-SHA256" not in request.headers.get("authorization", ""):
            return _failure("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        if action in self.denied:
            return _failure("AccessDenied", f"User: x is not authorized to perform: autoscaling:{action}", 403)
        if action == "DescribeAutoScalingInstances":
            member = f"<InstanceId>{INSTANCE}</InstanceId><AutoScalingGroupName>{GROUP}</AutoScalingGroupName>"
            return _success(action, f"<AutoScalingInstances><member>{member}</member></AutoScalingInstances>")
        named = [fields[name] for name in ("AutoScalingGroupName", "LifecycleHookName", "InstanceId")]
        if named != [GROUP, HOOK, INSTANCE]:
            return _failure("ValidationError", "AutoScalingGroup name not found", 400)
        if not self.hook_waits:
            return _failure("ValidationError", NOT_WAITING + INSTANCE, 400)
        if action == "CompleteLifecycleAction":
            assert fields["LifecycleActionResult"] == "CONTINUE"
            self.hook_waits = False
            self.completed.append(time.monotonic())
        else:
            self.extended.append(time.monotonic())
        return _success(action, "")


@contextmanager
def fake_platform() -> Iterator[FakePlatform]:
    platform = FakePlatform()
    try:
        yield platform
    finally:
        platform.stop()


def as_json(status: int, content: object) -> Response:
    return Response(status, [("Content-Type", "application/json")], json.dumps(content).encode())


async def never() -> Response:
    """Answer long after anybody waits for it."""
    await asyncio.sleep(3600)
    return Response(500)


def _success(action: str, result: str) -> Response:
    namespace = "http://autoscaling.amazonaws.com/doc/2011-01-01/"
    text = f"<{action}Response xmlns='{namespace}'><{action}Result>{result}</{action}Result></{action}Response>"
    return Response(200, [("Content-Type", "text/xml")], text.encode())


def _failure(code: str, message: str, status: int) -> Response:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    text = f"<ErrorResponse xmlns='http://autoscaling.amazonaws.com/doc/2011-01-01/'>{error}</ErrorResponse>"
    return Response(status, [("Content-Type", "text/xml")], text.encode())
