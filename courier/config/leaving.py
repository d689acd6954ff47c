"""The options of leaving in time: whether the platform is asked for the end of this machine or task."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Final

from courier.config.checks import refuse
from courier.config.option import option
from courier.config.units import TEXT, YES_NO, one_of

_HOOK: Final = re.compile(r"(?:([!-9;-~]{1,255}):)?([A-Za-z0-9_/-]{1,255})")
"""The name of an Auto Scaling group, which holds no colon, and that of a hook."""

_option = partial(option, "Leaving")


@dataclass(frozen=True, kw_only=True)
class LeavingConfig:
    """The options of leaving in time."""

    watch_termination: str = _option(
        "none",
        "--watch-termination",
        one_of("auto", "ec2", "ecs", "none"),
        "Drain before this machine or task ends.",
        "ec2: asks the instance metadata for a spot interruption and the Auto Scaling lifecycle. ecs: asks the task "
        "metadata. auto: ecs in a task of ECS, otherwise ec2.",
    )
    drain_on_rebalance: bool = _option(
        False,
        "--drain-on-rebalance",
        YES_NO,
        "Drain at a rebalance recommendation too.",
        "It means that EC2 may reclaim the spot instance, perhaps in hours. Otherwise it is only logged and shown.",
    )
    lifecycle_hook: str = _option(
        "",
        "--lifecycle-hook",
        TEXT,
        "Auto Scaling hook to complete once drained.",
        "Its name, or GROUP:HOOK; without the group Courier asks Auto Scaling for it. The hook's time is extended "
        "while Courier drains. Give each Courier on an instance a hook of its own.",
    )
    task_protection: bool = _option(
        False,
        "--task-protection",
        YES_NO,
        "Keep ECS from ending a task that delivers.",
        "The protection ends after 30 seconds without a delivery. Until then deployments wait for the task too.",
    )

    def _check_leaving(self) -> None:
        watches = self.watch_termination
        if self.lifecycle_hook and watches not in ("ec2", "auto"):
            refuse("--lifecycle-hook", "needs the instance metadata; give --watch-termination ec2")
        if self.lifecycle_hook and not _HOOK.fullmatch(self.lifecycle_hook):
            refuse("--lifecycle-hook", "must be the name of a hook, or GROUP:HOOK")
        if self.drain_on_rebalance and watches not in ("ec2", "auto"):
            refuse("--drain-on-rebalance", "needs the instance metadata; give --watch-termination ec2")
        if self.task_protection and watches not in ("ecs", "auto"):
            refuse("--task-protection", "needs the task metadata; give --watch-termination ecs")

    @property
    def hook(self) -> tuple[str, str]:
        """The group, empty if it has to be looked up, and the name of the lifecycle hook; both empty without one."""
        found = _HOOK.fullmatch(self.lifecycle_hook)
        return (found[1] or "", found[2]) if found else ("", "")
