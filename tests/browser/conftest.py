"""A Courier that delivers, and pages that show it. Each module has its own, for all of its tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.browser.chromium import LOOKS, Tab, chromium, require_browser
from tests.browser.shop import Shop

OpenTab = Callable[..., Tab]

RATE: Final = float(os.environ.get("COURIER_PICTURE_RATE", "40"))
"""Messages a second."""


# A browser that outlives the module would leave its event loop running in this thread, which async tests need.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    require_browser()
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A run of Courier between a queue that is filled all the time and a recipient that mostly succeeds."""
    require_browser()
    with Shop.run(tmp_path_factory.mktemp("shop"), rate=RATE) as shop:
        yield shop


@pytest.fixture
def open_tab(browser: Any, shop: Shop) -> Iterator[OpenTab]:
    """Open the page of the shop's Courier; afterwards the test fails if the browser noted anything."""
    tabs: list[Tab] = []

    def open_tab(look: str = "light", **options: Any) -> Tab:
        context = browser.new_context(timezone_id="UTC", **{**LOOKS[look], **options})
        tab = Tab(context.new_page(), shop.url)
        tabs.append(tab)
        return tab.load()

    yield open_tab
    for tab in tabs:
        tab.page.context.close()
    for tab in tabs:
        tab.check()
