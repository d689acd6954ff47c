"""The health check of the image, as the process that Docker would start, beside a real run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.process.conftest import Start
from tests.process.test_api import ANY_PORT
from tests.process.test_notify import stopped
from tests.process.world import Courier, Queue, alive, kill, until
from tests.unit.deploy.files import healthcheck, image_environment


def check(courier: Courier) -> tuple[int, str]:
    """Run the image's HEALTHCHECK. In the container the supervisor is the only one; here it is named."""
    command = [sys.executable if word == "python" else word for word in healthcheck()]
    environment = {**os.environ, **image_environment(), "PATH": os.environ["PATH"]}
    ran = subprocess.run(
        [*command, str(courier.pid)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stderr == ""
    return ran.returncode, ran.stdout


@pytest.mark.parametrize("api", ["none", ANY_PORT])
def test_it_is_about_the_supervisor_with_the_api_and_without(start: Start, queue: Queue, api: str) -> None:
    # The image's variable says 0.0.0.0:8080; an option on the command line stands above it.
    courier = start(queue, "--api", api)
    assert check(courier)[0] == 0
    # A worker that is gone or stands still is the supervisor's to replace.
    kill(courier.pid_of("sender", 0), signal.SIGSTOP)
    assert check(courier)[0] == 0
    courier.signal(signal.SIGSTOP)
    until(lambda: stopped(courier.pid))
    code, said = check(courier)
    assert code == 1
    assert "made no turn" in said
    courier.signal(signal.SIGCONT)
    until(lambda: check(courier)[0] == 0, explain=courier.log)
    courier.kill()
    until(lambda: not alive(courier.pid))
    assert check(courier)[0] == 1


def test_it_is_healthy_while_it_waits_for_the_preflight(start: Start, queue: Queue) -> None:
    first = start(queue)
    # The directory of the audit log has one owner; the second one waits for it.
    second = start(queue, "--drain-timeout", "60", ready=False)
    until(lambda: "event=starting" in second.log(), explain=second.log)
    assert check(second)[0] == 0
    assert "event=ready" not in second.log()
    assert first.drain() == 0
    second.wait_ready()
