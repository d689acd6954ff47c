"""The looks of the live page: accessible in every state and look, and the pictures of it in the docs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.browser.chromium import LOOKS
from tests.browser.conftest import OpenTab
from tests.browser.shop import Shop
from tests.unit.deploy.files import ROOT

pytestmark = pytest.mark.together

PICTURES: Final[Mapping[tuple[str, str], str]] = {
    ("normal", "light"): "live-page.png",
    ("open", "light"): "live-page-open.png",
    ("normal", "dark"): "live-page-dark.png",
    ("normal", "phone"): "live-page-phone.png",
}
"""The pictures in docs/, by state and look. ``make pictures`` takes them anew, with this test."""

WARM_UP_SECONDS: Final = float(os.environ.get("COURIER_PICTURES", "0"))
"""If it is set, the pictures go to docs/, after so many seconds."""


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
def test_axe_finds_nothing_in_any_look(state: str, shop: Shop, open_tab: OpenTab, tmp_path: Path) -> None:
    mark, bring_about = STATES[state]
    shop.wait_delivered()
    tabs = {look: open_tab(look) for look in LOOKS}
    if state == "normal":
        time.sleep(WARM_UP_SECONDS)
    with bring_about(shop):
        for look, tab in tabs.items():
            tab.wait(f"() => document.title.startsWith('{mark}')")
            assert tab.violations() == [], look
            if name := PICTURES.get((state, look)):
                taken = tmp_path / name
                tab.page.screenshot(path=taken, full_page=look != "phone")
                if WARM_UP_SECONDS:
                    taken.replace(ROOT / "docs" / name)


def test_the_pictures_are_in_the_docs_and_small() -> None:
    texts = "".join(path.read_text() for path in (ROOT / "README.md", ROOT / "docs" / "seeing.md"))
    for name in PICTURES.values():
        assert re.search(rf"[(\"/]{re.escape(name)}[)\"]", texts), name
        picture = (ROOT / "docs" / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 250_000
