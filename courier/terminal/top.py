"""The loops of ``courier top``: frames on a terminal until a key or a signal ends them, or plain text for scripts."""

from __future__ import annotations

import signal
import time
from typing import Final

import click

from courier.terminal.api_client import SECONDS, Address
from courier.terminal.feed import Feed, News, ask
from courier.terminal.frame import Seen, View, frame
from courier.terminal.history import History
from courier.terminal.keys import keys
from courier.terminal.report import Report
from courier.terminal.screen import Screen, plain_width

TICK_SECONDS: Final = 1.0
"""Seconds between two frames without news, so that their age goes on."""

EXIT_SIGNAL: Final = 128
STEPS: Final = {"j": 1, "down": 1, "k": -1, "up": -1, "page down": 10, "page up": -10, "g": -10_000, "home": -10_000}
STEPS_TO_END: Final = 10_000


class Watched:
    """What is known of the program: the last answer, and the figures before it."""

    def __init__(self, url: str, interval: float) -> None:
        """``interval`` is the seconds between two questions."""
        self._url = url
        self._patience = interval + SECONDS + 1.0
        self._report: Report | None = None
        self._history = History()
        self._heard = time.monotonic()
        self._error = "connecting"

    @property
    def error(self) -> str:
        """Why the last question had no answer, empty if it had one."""
        return self._error

    def hear(self, news: News) -> None:
        """Take an answer, or why there is none."""
        self._error = news.error
        if news.report is None:
            return
        passed, self._heard = news.at - self._heard, news.at
        if news.samples is not None:
            self._history.seed(news.samples)
        elif passed > 0:
            self._history.add(news.report, passed if self._report is not None else 1.0)
        self._report = news.report

    def seen(self) -> Seen:
        """Return what a frame shows."""
        age = time.monotonic() - self._heard
        # Each question has an answer or an error by then.
        error = self._error or ("nothing was heard; quit, and start courier top again" if age > self._patience else "")
        return Seen(self._report, age, error, self._history, self._url)


def print_frames(address: Address, view: View, interval: float, frames: int | None) -> bool:
    """Print frames as plain text, without end if ``frames`` is ``None``; return whether the last had no answer."""
    watched, shown = Watched(address.url, interval), 0
    while True:
        began = time.monotonic()
        watched.hear(ask(address, with_samples=shown == 0))
        lines = [line.plain.rstrip() for line in frame(watched.seen(), view, plain_width(), None)]
        click.echo("\n".join([*lines, ""]) if frames != 1 else "\n".join(lines))
        shown += 1
        if shown == frames:
            return bool(watched.error)
        time.sleep(max(0.0, began + interval - time.monotonic()))


def watch(address: Address, view: View, interval: float, frames: int | None, *, colours: bool) -> int:
    """Show frames on the terminal until a key or a signal ends it, or so many frames; return the exit code."""
    watched, shown = Watched(address.url, interval), 0
    feed = Feed(address, interval)
    with Screen(colours=colours) as screen:
        picture = watched.seen()
        while True:
            width, height = screen.size
            screen.show(frame(picture, view, width, height))
            typed, signals, has_news = screen.wait(feed.fileno(), TICK_SECONDS)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number in signals:
                    return EXIT_SIGNAL + number
            if signal.SIGTSTP in signals:
                screen.suspend()
            if not all(press(view, key) for key in keys(typed)):
                return 0
            if has_news:
                for news in feed.take():
                    watched.hear(news)
                shown += 1
            if not view.is_frozen:
                picture = watched.seen()
            if shown == frames:
                screen.show(frame(picture, view, *screen.size))
                return 0


def press(view: View, key: str) -> bool:
    """Do what a key says; return ``False`` if it ends the program."""
    if key == "quit":
        return False
    if view.is_typing:
        _type(view, key)
    elif key == "q":
        return False
    elif key in STEPS:
        view.offset = max(0, view.offset + STEPS[key])
    elif key in ("G", "end"):
        view.offset += STEPS_TO_END
    elif key == "?":
        view.shows_help = not view.shows_help
    elif key == "/":
        view.is_typing, view.shows_help, view.wanted = True, False, ""
    elif key == "s":
        view.next_sort()
    elif key == "p":
        view.is_frozen = not view.is_frozen
    elif key == "escape":
        view.wanted, view.shows_help = "", False
    return True


def _type(view: View, key: str) -> None:
    if key in ("enter", "escape"):
        view.is_typing = False
        view.wanted = view.wanted if key == "enter" else ""
    elif key == "backspace":
        view.wanted = view.wanted[:-1]
    elif len(key) == 1:
        view.wanted += key
    view.offset = 0
