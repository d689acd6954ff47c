"""Which options a running program takes on: every option is on one side."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

import pytest

from courier.config.config import OPTIONS, Config
from courier.config.reloading import RELOADABLE, changed, refuse_what_needs_a_restart
from courier.errors import ConfigError

CONFIG: Final = Config(queue="orders", recipient_url="http://127.0.0.1/in")
MOST: Final = {"senders": 20, "consumers": 10}


def with_others(*names: str) -> Any:
    """Return the configuration with other values for these fields, whatever they are."""
    values = {name: getattr(CONFIG, name) for name in OPTIONS}
    return SimpleNamespace(**values | {name: MOST.get(name, object()) for name in names})


@pytest.mark.parametrize("name", OPTIONS)
def test_a_change_of_an_option_is_taken_on_or_refused_by_its_name(name: str) -> None:
    new = with_others(name)
    assert changed(CONFIG, new) == [name]
    if name in RELOADABLE:
        refuse_what_needs_a_restart(CONFIG, new, MOST)
    else:
        with pytest.raises(ConfigError) as refused:
            refuse_what_needs_a_restart(CONFIG, new, MOST)
        assert str(refused.value) == f"{OPTIONS[name].flag} needs a restart"


def test_all_options_that_need_a_restart_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        refuse_what_needs_a_restart(CONFIG, with_others("senders", "queue", "audit_path", "api"), MOST)
    assert str(refused.value) == "--queue, --audit-path and --api need a restart"


@pytest.mark.parametrize("name", ["senders", "consumers"])
def test_more_processes_than_there_is_room_for_need_a_restart(name: str) -> None:
    new = with_others()
    setattr(new, name, MOST[name] + 1)
    with pytest.raises(ConfigError, match=f"{MOST[name]} is the most"):
        refuse_what_needs_a_restart(CONFIG, new, MOST)


def test_what_shares_a_channel_or_a_log_needs_a_restart() -> None:
    for name in ("queue", "visibility_timeout_seconds", "audit", "audit_path", "audit_body", "failure_queue", "api"):
        assert name not in RELOADABLE, name
    for name in ("recipient_url", "header", "bearer_token_file", "timeout_seconds", "rate_limit", "success", "senders"):
        assert name in RELOADABLE, name
