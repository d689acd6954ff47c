"""Chromium, steered by playwright, and axe-core: what ``make test`` installs for these tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

AXE: Final = Path(sys.prefix) / "browser" / "node_modules" / "axe-core" / "axe.min.js"

LOOKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "light": {"viewport": {"width": 1280, "height": 1000}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 1000}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True, "is_mobile": True},
}

PATIENCE_MS: Final = 40_000
"""How long a test waits for the page to show something, in milliseconds, on however busy a machine."""


def missing() -> str:
    """Return what of the browser isn't installed, and how to get it; empty if all is there."""
    absent = [] if shutil.which("chromium") else ["Chromium"]
    absent += [] if importlib.util.find_spec("playwright") else ["playwright"]
    absent += [] if AXE.is_file() else ["axe-core"]
    return f"{', '.join(absent)} missing: make browser (as root, with apt-get and npm)" if absent else ""


def require_browser() -> None:
    """Skip the test if there is no browser; fail it in CI, where a skipped test would go unnoticed."""
    if why := missing():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)


class Tab:
    """A page in a browser of its own, which notes what nobody should see: messages, errors, requests to elsewhere.

    ``page`` is playwright's. ``allowed`` are parts of the console's messages that a test expects: the browser itself
    reports each request that fails.
    """

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.allowed: list[str] = []
        self._url = url
        self._said: list[str] = []
        self._asked: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: self._said.append(message.text))
        page.on("pageerror", lambda error: self._said.append(f"uncaught: {error}"))
        page.on("request", lambda request: self._asked.append(request.url))

    def load(self) -> Tab:
        """Load the page, and wait for its first news."""
        # Not for an idle network: a stream never ends.
        self.page.goto(self._url, wait_until="domcontentloaded")
        self.wait("() => document.body && !document.body.classList.contains('dim')")
        return self

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript function returns something true."""
        self.page.wait_for_function(condition, timeout=PATIENCE_MS)

    def wait_text(self, selector: str, text: str) -> None:
        """Wait until an element has a text in it."""
        script = "([s, t]) => [...document.querySelectorAll(s)].some(each => each.textContent.includes(t))"
        try:
            self.page.wait_for_function(script, arg=[selector, text], timeout=PATIENCE_MS)
        except Exception as error:
            shown = self.page.evaluate("s => document.querySelector(s)?.textContent", selector)
            raise AssertionError(f"{selector} says {shown!r} instead of {text!r}") from error

    def text(self, selector: str) -> str:
        """Return the text of an element."""
        return str(self.page.text_content(selector))

    def number(self, selector: str) -> float:
        """Return the number that an element begins with; -1 for none."""
        found = self.text(selector).replace(",", "").split()
        try:
            return float(found[0])
        except (IndexError, ValueError):
            return -1.0

    def violations(self) -> list[str]:
        """Return what axe-core finds, one line each."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("async () => (await axe.run(document)).violations")
        return [f"{each['id']}: {node['html']} {node['failureSummary']}" for each in found for node in each["nodes"]]

    def check(self) -> None:
        """Fail if the browser noted anything that no test has allowed."""
        said = [line for line in self._said if not any(part in line for part in self.allowed)]
        assert not said, said
        asked = [url for url in self._asked if not url.startswith((self._url, "data:"))]
        assert not asked, asked


@contextmanager
def chromium() -> Iterator[Any]:
    """Run Chromium for the length of a ``with`` block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        try:
            yield browser
        finally:
            browser.close()
