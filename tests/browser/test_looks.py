"""The looks of the live page: accessible in every state."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import pytest

from tests.browser.chromium import LOOKS
from tests.browser.conftest import OpenTab
from tests.browser.shop import Shop

pytestmark = pytest.mark.together


@contextmanager
def gone(shop: Shop) -> Iterator[None]:
    """Take the recipient away for a while."""
    shop.recipient.server.go_away()
    try:
        yield
    finally:
        shop.recipient.server.come_back()
        shop.wait_delivered()


@contextmanager
def silent(shop: Shop) -> Iterator[None]:
    """Stop the process of the API for a while."""
    (pid,) = shop.courier.pids("api")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def paused(shop: Shop) -> Iterator[None]:
    """Pause receiving for a while."""
    shop.act(act="pause", reason="deploying the recipient")
    try:
        yield
    finally:
        shop.act(act="resume")


STATES: Final[Mapping[str, tuple[str, Callable[[Shop], AbstractContextManager[None]]]]] = {
    "normal": ("●", lambda _: contextlib.nullcontext()),
    "open": ("■", gone),
    "paused": ("⏸", paused),
    "stale": ("?", silent),
}
"""What the title begins with in each state, and what brings the state about."""


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_in_any_look(state: str, shop: Shop, open_tab: OpenTab) -> None:
    mark, bring_about = STATES[state]
    shop.wait_delivered()
    tabs = {look: open_tab(look) for look in LOOKS}
    with bring_about(shop):
        for look, tab in tabs.items():
            tab.wait(f"() => document.title.startsWith('{mark}')")
            assert tab.violations() == [], look
