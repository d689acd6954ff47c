"""The wiring of leaving in time: the watcher's stage, and the poll before the start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from courier.config.config import Config
from courier.config.loading import environment
from courier.errors import EXIT_DRAINED, CannotStart
from courier.process.departure import LIFECYCLE, WATCHER, WORDS_OF, Departure
from courier.process.life import Life, Role, RoleFactory
from courier.process.scoreboard import Scoreboard
from courier.process.short_lived_child import Interrupted, run_in_child
from courier.process.stage import Stage

if TYPE_CHECKING:
    from courier.leaving.opening import WatchSettings

CHILD_SECONDS: Final = 3.0
CLOSING_SECONDS: Final = 2.0
HOOK_SECONDS: Final = 12.0
"""Seconds for the watcher after the drain of all others: a little more than it takes by itself."""

Found = TypeVar("Found")

log = structlog.get_logger("courier")


def watches(config: Config) -> bool:
    """Return whether the platform is asked for the end of this machine or task."""
    return config.watch_termination != "none"


def watcher_stage(config: Config) -> Stage:
    """Return the stage of the watcher, which drains last. Raise CannotStart if the platform's variables are wrong."""
    return Stage(WATCHER, 1, watcher_role(config), restart_in_drain=True, own_seconds=watcher_seconds(config))


def watcher_seconds(config: Config) -> float:
    """Return the seconds that the watcher has after the drain of all others."""
    return HOOK_SECONDS if config.lifecycle_hook else CLOSING_SECONDS


def watcher_role(config: Config, boards: Sequence[Scoreboard] = ()) -> RoleFactory:
    """Return the factory of the watcher. Raise CannotStart if the platform's variables are wrong.

    ``boards`` are those of all queues in a program of several.
    """
    # Imported here, before the fork, because few programs watch.
    from courier.leaving.opening import find_endpoints, open_agent, open_source
    from courier.leaving.watcher import Watcher

    settings = _watch_settings(config)
    endpoints = find_endpoints(settings, environment())
    _warn_of(config, in_ecs=endpoints.ecs is not None)

    async def make(life: Life) -> Role:
        source, find_hook = open_source(life.loop, endpoints, settings)
        return Watcher(life, source, find_hook, open_agent(life.loop, endpoints), boards)

    return make


def poll_before_start(config: Config, meanwhile: Callable[[], Found]) -> tuple[Found, Departure | None]:
    """Return what ``meanwhile`` returns, and the reason not to start, ``None`` for none.

    Raise CannotStart if the platform's variables are wrong, and what ``meanwhile`` raises.
    """
    from courier.leaving.first_poll import poll_before_start as poll
    from courier.leaving.opening import find_endpoints

    settings = _watch_settings(config)
    endpoints = find_endpoints(settings, environment())
    found: list[Found] = []
    try:
        answer = run_in_child(
            lambda: poll(endpoints, settings), CHILD_SECONDS, "the first poll", lambda: found.append(meanwhile())
        )
    except CannotStart:
        if not found:
            raise
        # Only the poll failed. The watcher says why when it fails too.
        answer = b""
    return found[0], Departure(answer.decode()) if answer else None


def describe_platform(config: Config) -> str:
    """Return what the platform says about this machine, and about the lifecycle hook. Raise CourierError."""
    from courier.leaving.first_poll import describe
    from courier.leaving.opening import find_endpoints

    settings = _watch_settings(config)
    return describe(find_endpoints(settings, environment()), settings)


def leave_unstarted(config: Config, departure: Departure) -> int:
    """Say why the program doesn't start, complete the lifecycle action if there is one, and return the exit code."""
    from courier.leaving.first_poll import complete_hook
    from courier.leaving.opening import find_endpoints

    log.warning(
        "not started",
        reason=WORDS_OF[departure.kind],
        advice="nothing: what is in the queue is for other machines; start it again if the platform changes its mind",
    )
    settings = _watch_settings(config)
    if departure.kind == LIFECYCLE and settings.hook_name:
        endpoints = find_endpoints(settings, environment())
        try:
            run_in_child(lambda: complete_hook(endpoints, settings), HOOK_SECONDS, "the lifecycle hook")
        except CannotStart as error:
            log.warning("cannot complete the lifecycle action", reason=error.reason, advice=error.advice)
        except Interrupted:
            log.info("stopped before it started")
    return EXIT_DRAINED


def _warn_of(config: Config, *, in_ecs: bool) -> None:
    """Log the options that --watch-termination auto leaves without an effect on this platform."""
    platform = "ECS" if in_ecs else "EC2"
    without = {
        "--lifecycle-hook": in_ecs and config.lifecycle_hook,
        "--drain-on-rebalance": in_ecs and config.drain_on_rebalance,
        "--task-protection": not in_ecs and config.task_protection,
    }
    for name, is_without in without.items():
        if is_without:
            log.warning(
                "this setting has no effect",
                name=name,
                reason=f"--watch-termination auto found {platform}",
                advice="remove it here, or name the platform in --watch-termination",
            )


def _watch_settings(config: Config) -> WatchSettings:
    from courier.leaving.opening import WatchSettings

    group, name = config.hook
    return WatchSettings(config.watch_termination, config.drain_on_rebalance, group, name, config.task_protection)
