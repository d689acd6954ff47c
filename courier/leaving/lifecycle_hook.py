"""The lifecycle hook of an Auto Scaling group, which keeps an instance until somebody completes its action.

The calls are rare, so they are boto3's, in a thread. It imports botocore, so import it only where needed.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from botocore.config import Config
from botocore.exceptions import ClientError

import courier
from courier.errors import CourierError
from courier.sqs.call_errors import CALL_ERRORS
from courier.sqs.cause import find_cause
from courier.sqs.chain import open_session
from courier.sqs.client_opening import open_client
from courier.sqs.errors import DENIED, as_detail

CONTINUE: Final = "CONTINUE"
"""The result of the action. A terminating instance is terminated whatever the result; others wait for none."""

_NOT_WAITING: Final = "No active Lifecycle Action found"


class HookFailed(CourierError):
    """A call to Auto Scaling that failed; the line says why, and what to do about it."""


class Instance(NamedTuple):
    """The instance, and its region."""

    id: str
    region: str | None


class LifecycleHook:
    """One hook, for one instance. Its calls block for seconds at most, and raise HookFailed."""

    def __init__(self, name: str, group: str, instance: Instance) -> None:
        """``name`` is that of the hook; an empty ``group`` is looked up."""
        self._name = name
        self._group = group
        self._instance = instance
        self._opened: Any = None

    def extend(self) -> bool:
        """Begin the hook's time anew. Return ``False`` if it doesn't wait for this instance."""
        return self._call(
            "RecordLifecycleActionHeartbeat",
            lambda: self._client().record_lifecycle_action_heartbeat(**self._action()),
        )

    def complete(self) -> bool:
        """Let Auto Scaling go on with the instance. Return ``False`` if the hook doesn't wait for it any more."""
        return self._call(
            "CompleteLifecycleAction",
            lambda: self._client().complete_lifecycle_action(**self._action(), LifecycleActionResult=CONTINUE),
        )

    def _action(self) -> dict[str, str]:
        return {
            "LifecycleHookName": self._name,
            "AutoScalingGroupName": self._find_group(),
            "InstanceId": self._instance.id,
        }

    def _find_group(self) -> str:
        if not self._group:
            answer = self._client().describe_auto_scaling_instances(InstanceIds=[self._instance.id])
            found = answer["AutoScalingInstances"]
            if not found:
                raise HookFailed(
                    f"instance {self._instance.id} is in no Auto Scaling group; leave out --lifecycle-hook, or give "
                    "GROUP:HOOK"
                )
            self._group = found[0]["AutoScalingGroupName"]
        return self._group

    def _call(self, action: str, call: Any) -> bool:
        try:
            call()
        except CALL_ERRORS as error:
            if isinstance(error, ClientError) and _NOT_WAITING in str(error):
                return False
            raise HookFailed(self._line(action, error)) from error
        return True

    def _client(self) -> Any:
        if self._opened is None:
            config = Config(
                connect_timeout=2.0,
                read_timeout=5.0,
                retries={"mode": "standard", "total_max_attempts": 2},
                user_agent_extra=f"courier/{courier.__version__}",
            )
            region = self._instance.region
            self._opened = open_client(
                "Auto Scaling",
                "AWS_ENDPOINT_URL_AUTO_SCALING",
                lambda: open_session(region).create_client("autoscaling", config=config),
            )
        return self._opened

    def _line(self, action: str, error: Exception) -> str:
        where = f"{action} for hook {self._name} and instance {self._instance.id}"
        if isinstance(error, ClientError):
            fields = error.response.get("Error", {})
            code, message = str(fields.get("Code", "")), as_detail(str(fields.get("Message", "")))
            if code in DENIED or code == "AccessDenied":
                return f"{where} was denied: {message}; allow the actions of deploy/iam/courier-lifecycle.json"
            return f"{where} failed: {code}: {message}; check the name of the hook and of its group"
        met = find_cause(error)
        words = met.text if met is not None else f"{type(error).__name__}: {as_detail(str(error))}"
        return f"{where} failed: {words}; check the network to Auto Scaling, and the AWS credentials"
