"""docs/seeing.md: each block for the shell works on a running Courier."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.process.terminal import PATIENCE_SECONDS, Scene, environment, scene
from tests.process.world import bodies, until
from tests.unit.deploy.documents import Block, blocks
from tests.unit.deploy.files import ROOT

pytestmark = pytest.mark.together

BLOCKS = [block for block in blocks(ROOT / "docs" / "seeing.md") if not block.needs]


@pytest.fixture(scope="module")
def here(virtual_queue: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(virtual_queue, tmp_path_factory.mktemp("seeing")) as running:
        running.queue.send(bodies(20))
        until(lambda: len(running.recipient.accepted) == 20, explain=running.courier.log)
        ended = threading.Event()
        sending = threading.Thread(target=send_until, args=(running, ended), daemon=True)
        sending.start()
        yield running
        ended.set()
        sending.join(PATIENCE_SECONDS)


def send_until(here: Scene, ended: threading.Event) -> None:
    """Send a few messages a second: some commands show what happens meanwhile."""
    while not ended.wait(0.3):
        here.queue.send(bodies(3))


@pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl"))), reason="needs bash and curl")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.text.splitlines()[0])
def test_its_commands_work(here: Scene, block: Block) -> None:
    address = here.api.url.removeprefix("http://")
    ran = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", block.text.replace("127.0.0.1:8080", address)],
        env=environment(PATH=f"{sys.prefix}/bin:{os.environ['PATH']}", COURIER_API=address),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout
