"""The options of leaving in time, and what they need of each other."""

from __future__ import annotations

import pytest

from courier.config.config import Config
from courier.errors import ConfigError


def config(**values: object) -> Config:
    return Config(queue="orders", recipient_url="http://127.0.0.1:8081/", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "hook"),
    [
        ("", ("", "")),
        ("drained", ("", "drained")),
        ("workers:drained", ("workers", "drained")),
        ("a/b.c|d:e/f-g_h", ("a/b.c|d", "e/f-g_h")),
    ],
)
def test_a_hook_may_name_its_group(given: str, hook: tuple[str, str]) -> None:
    assert config(watch_termination="ec2", lifecycle_hook=given).hook == hook


@pytest.mark.parametrize("given", ["a:b:c", ":drained", "workers:", "two words", "w:dr.ained", "x" * 256])
def test_a_hook_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="--lifecycle-hook: must be"):
        config(watch_termination="ec2", lifecycle_hook=given)


@pytest.mark.parametrize(
    ("values", "watches"),
    [
        ({"lifecycle_hook": "drained"}, "none"),
        ({"lifecycle_hook": "drained"}, "ecs"),
        ({"drain_on_rebalance": True}, "none"),
        ({"drain_on_rebalance": True}, "ecs"),
        ({"task_protection": True}, "none"),
        ({"task_protection": True}, "ec2"),
    ],
)
def test_each_needs_the_metadata_that_it_is_about(values: dict[str, object], watches: str) -> None:
    with pytest.raises(ConfigError, match="give --watch-termination ec"):
        config(watch_termination=watches, **values)


@pytest.mark.parametrize(
    "values", [{"lifecycle_hook": "drained"}, {"drain_on_rebalance": True}, {"task_protection": True}]
)
def test_auto_takes_all_of_them(values: dict[str, object]) -> None:
    config(watch_termination="auto", **values)
