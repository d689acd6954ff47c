"""What only some runs need is loaded by those alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.process.conftest import Start
from tests.process.test_api import ANY_PORT, Api
from tests.process.world import Courier, Queue, Recipient, bodies, until

SELDOM = {
    "rich.console",
    "pygments",
    "cryptography",
    "requests",
    "moto",
    "flask",
    "hypothesis",
    "pytest",
    "courier.local.demo",
}


def imported(courier: Courier) -> set[str]:
    """Return the modules that any process of a run has imported; it must run with PYTHONPROFILEIMPORTTIME."""
    return set(re.findall(r"^import time:.*\| +([\w.]+)$", courier.log(), re.MULTILINE))


def seldom(courier: Courier) -> set[str]:
    return {name for name in SELDOM if name in imported(courier)}


def test_no_process_of_a_plain_run_imports_what_only_others_need(
    start: Start, queue: Queue, recipient: Recipient
) -> None:
    courier = start(queue, PYTHONPROFILEIMPORTTIME="1", COURIER_API=ANY_PORT)
    sent = set(queue.send(bodies(20)))
    until(lambda: set(recipient.accepted) >= sent and queue.counts() == (0, 0), explain=courier.log)
    for path in ("/status", "/metrics", "/status/ready"):
        assert Api(courier).get(path)[0] == 200
    assert courier.drain() == 0
    assert {"courier.sender", "courier.api.app", "starlette", "structlog"} <= imported(courier)
    assert seldom(courier) == set()


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (("--transport", "requests"), "requests"),
        (("--webhook-secret-file", "key"), "cryptography"),
    ],
)
def test_what_a_run_needs_is_there(
    start: Start, queue: Queue, tmp_path: Path, options: tuple[str, ...], needed: str
) -> None:
    key = tmp_path / "key"
    key.write_text("whsk_" + "A" * 43 + "=\n")
    key.chmod(0o600)
    options = tuple(str(key) if option == "key" else option for option in options)
    courier = start(queue, *options, PYTHONPROFILEIMPORTTIME="1")
    queue.send(bodies(1))
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert seldom(courier) == {needed}
