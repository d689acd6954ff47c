"""The live page when Courier ends, in Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.browser.chromium import LOOKS, Tab
from tests.browser.shop import Shop


def test_a_stop_is_told_from_a_crash(browser: Any, tmp_path: Path) -> None:
    with Shop.run(tmp_path, steered=False) as shop:
        tab = Tab(browser.new_page(**LOOKS["light"]), shop.url).load()
        # The browser reports each request that fails.
        tab.allowed += ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET"]
        assert tab.page.is_hidden("#acts"), "without --page-control the page only reads"
        assert shop.courier.drain() == 0
        tab.wait_text("#say", "Courier has stopped")
        tab.check()
