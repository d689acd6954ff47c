"""What holds for all tests."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from courier.log import recurring

# A busy machine is slow, and nothing is wrong with that: no example has a deadline, nor has making them.
settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in every run: what random ones find is no fault of the change that is tested. Once they have passed,
# most of them tell no more than a few.
settings.register_profile("seeded", settings.get_profile("random"), derandomize=True, max_examples=40)

WAITING: Final = ("tests/process/", "tests/browser/")
"""Where the tests are that run the whole program: each of them waits for it most of the time."""

SPREAD: Final = 0.85
"""The part of a worker's tests among which those that wait are spread. At the end one would keep the others waiting."""


def pytest_configure(config: pytest.Config) -> None:
    """Draw new examples for properties only where the long tests run too, and let Ctrl-C reach what tests start.

    A shell starts a background job with SIGINT ignored, which all its descendants inherit.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.load_profile("seeded" if "not full" in config.getoption("markexpr") else "random")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse a mark that would keep a test out of every run."""
    if item.get_closest_marker("alone") and not item.nodeid.startswith(WAITING):
        raise pytest.UsageError(f"{item.nodeid} is marked alone: the Makefile runs such tests of {WAITING} only")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the tests that wait evenly among those that compute, which need the machine meanwhile.

    One after another they would start their programs all at once. Those that share a fixture of their module stay
    together, and so does each file of the others. Each worker begins with an equal part of the list.
    """
    waiting: list[list[pytest.Item]] = []
    computing: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        path = item.nodeid.partition("::")[0]
        if not path.startswith(WAITING):
            computing[path].append(item)
        elif waiting and item.get_closest_marker("together") and waiting[-1][0].nodeid.startswith(path):
            waiting[-1].append(item)
        else:
            waiting.append([item])
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = sum(map(len, computing.values()))
    spread: list[pytest.Item] = []
    seen = given = 0
    for tests in computing.values():
        spread += tests
        seen += len(tests)
        whole, part = divmod(seen * workers / number, 1.0)
        due = int((whole + min(1.0, part / SPREAD)) / workers * len(waiting))
        for group in waiting[given:due]:
            spread += group
        given = due
    items[:] = spread + [item for group in waiting[given:] for item in group]


@pytest.fixture(autouse=True)
def _no_lines_left() -> Iterator[None]:
    """Forget what the lines of this test have counted, which a later one would report."""
    yield
    recurring._active.clear()


def pytest_collection_finish() -> None:
    """Leave what the modules and the list of the tests are made of out of each later collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test on the loop that roles run on; what a callback raised fails it too."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    raised: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
        await pyfuncitem.obj(**arguments)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(watched())
    assert not raised, raised
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show why a test ran once more: the summary names it only."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_sep("=", f"first run of {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
