"""ECS's task metadata (version 4), and the agent's endpoint for scale-in protection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from courier.http.answer import Failure
from courier.leaving.metadata import Endpoint, Poll, Unavailable
from courier.leaving.notice import Notice, Unreadable, task_notice

METADATA: Final = "the task metadata"
AGENT: Final = "the ECS agent"
TASK: Final = "/task"
PROTECTION: Final = "/task-protection/v1/state"

_WRONG: Final = "find out what answers there; outside of ECS leave out --watch-termination"
_DENIED: Final = "allow ecs:UpdateTaskProtection and ecs:GetTaskProtection in the task role (deploy/iam)"
_NO_SERVICE: Final = "leave out --task-protection: ECS protects only the tasks of a service"
_LATER: Final = "nothing; Courier tries again by itself"


class Ecs:
    """The metadata of this task."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def poll(self) -> Poll:
        """Return the notices in force."""
        try:
            notice = await self._notice()
        except Unavailable as error:
            return Poll((), error)
        return Poll([notice] if notice else (), None)

    def close(self) -> None:
        """Close the connection."""
        self._endpoint.close()

    async def _notice(self) -> Notice | None:
        answer = await self._endpoint.ask("GET", TASK)
        if isinstance(answer, Failure):
            raise self._endpoint.failed(answer, _WRONG)
        if answer.status != 200:
            raise self._endpoint.refused(TASK, answer.status, _LATER if answer.status == 429 else _WRONG)
        try:
            return task_notice(answer.body.decode(errors="replace"))
        except Unreadable as error:
            raise self._endpoint.unreadable(TASK, str(error)) from error


class Agent:
    """The ECS agent, which protects this task from scale-in while it is asked to."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def protect(self, minutes: int) -> None:
        """Protect the task for some minutes, 0 to end the protection. Raise Unavailable."""
        request: dict[str, object] = {"ProtectionEnabled": minutes > 0}
        if minutes > 0:
            request["ExpiresInMinutes"] = minutes
        body = orjson.dumps(request)
        answer = await self._endpoint.ask("PUT", PROTECTION, [("Content-Type", "application/json")], body)
        if isinstance(answer, Failure):
            raise self._endpoint.failed(answer, _LATER)
        found = _object(answer.body)
        if isinstance(error := found.get("error"), dict):
            code = str(error.get("Code"))
            advice = _DENIED if "AccessDenied" in code else _LATER
            raise Unavailable(f"ECS refuses to protect the task: {code}: {_line(error.get('Message'))}; {advice}")
        if isinstance(failure := found.get("failure"), dict):
            reason = str(failure.get("Reason"))
            advice = _NO_SERVICE if reason == "TASK_NOT_VALID" else _LATER
            raise Unavailable(f"ECS can't protect the task: {reason}; {advice}")
        protection = found.get("protection")
        if answer.status != 200:
            raise self._endpoint.refused(PROTECTION, answer.status, _LATER)
        if not isinstance(protection, dict) or protection.get("ProtectionEnabled") is not (minutes > 0):
            raise self._endpoint.unreadable(PROTECTION, "there is no such protection in it")

    def close(self) -> None:
        """Close the connection."""
        self._endpoint.close()


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _line(text: object) -> str:
    """Return the message of an error on one line, without a semicolon, which would begin the advice."""
    return " ".join(str(text or "").split()).replace(";", ",")[:300]
