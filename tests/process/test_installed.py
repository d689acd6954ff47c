"""Courier from its wheel, on a machine without the checkout: what a new user does, an upgrade, two versions at once."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import courier
from courier.cli.audit import COMMANDS as AUDIT_COMMANDS
from scripts.write_share import COMPLETIONS
from tests.integration.sqs_endpoints import REGION
from tests.ports import reserved_port
from tests.process.installation import PYTHONS, ROOT, Installation, Shared, wheels_for
from tests.process.world import Courier, Queue, Recipient, after, until
from tests.unit.deploy.documents import blocks

PAGE = ROOT / "docs" / "installing.md"
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


PYTHON = PYTHONS[1]
WAITING = 250
"""How many messages wait at most while more are sent."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """The wheels and the environments that all tests may use as they are."""
    base = tmp_path_factory.getbasetemp()
    # Each worker of a run has a directory of its own in one that is common to all.
    return Shared((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "distributions")


@contextmanager
def running(installed: Installation, *words: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*installed.program, *words], cwd=cwd, env=installed.environment(**AWS))
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("python", PYTHONS)
def test_a_new_user_gets_everything_from_the_wheel(
    python: str, shared: Shared, tmp_path: Path, recipient: Recipient
) -> None:
    home = tmp_path / "somewhere else"
    home.mkdir()
    installed = shared.installation(python)

    where = installed.run("python", "-c", "import courier, sys; print(courier.__file__, sys.version)", cwd=home).stdout
    assert where.startswith(f"{installed.directory}/lib/python{python}/site-packages/courier/__init__.py {python}.")
    assert installed.run("courier", "--version", cwd=home).stdout == f"courier {courier.__version__}\n"
    shown = installed.run("courier", "demo", "--messages", "300", cwd=home).stdout
    assert "sent 300 delivered 300 audited 300 deleted 300 duplicates 0 lost 0" in shown

    share = installed.directory / "share"
    for shell, name in COMPLETIONS.items():
        assert installed.run("courier", "completion", shell, cwd=home).stdout == (share / name).read_text()
    offer = (
        f"source '{share}/{COMPLETIONS['bash']}'; COMP_WORDS=(courier audit v) COMP_CWORD=2; _courier; echo $COMPREPLY"
    )
    assert installed.run("bash", "-c", offer, cwd=home).stdout == "verify\n"
    if shutil.which("man"):
        page = installed.run("man", "courier-audit", cwd=home, MANWIDTH="100").stdout
        assert all(f"courier audit {name} [options]" in page for name in AUDIT_COMMANDS)
    if shutil.which("systemd-analyze"):
        shutil.copytree(share / "courier" / "deploy" / "systemd", home / "units")
        unit = home / "units" / "courier.service"
        # systemd looks for the program where packages have theirs.
        unit.write_text(unit.read_text().replace("=courier ", f"={installed.program[0]} "))
        verified = installed.run(
            "systemd-analyze", "verify", "units/courier.service", cwd=home, MANPATH=str(share / "man")
        )
        assert verified.stderr == ""
    assert (share / "courier" / "docs" / "operating.md").is_file()

    completion = next(block.text for block in blocks(PAGE) if "courier completion" in block.text)
    installed.run("bash", "-e", "-c", completion, cwd=home)
    written = home / ".local/share/bash-completion/completions/courier"
    assert written.read_text() == (share / COMPLETIONS["bash"]).read_text()

    with reserved_port() as port, running(installed, "virtual", f"--port={port}", "--queue=orders", cwd=home):
        endpoint = f"http://127.0.0.1:{port}"
        options = {**AWS, "COURIER_ENDPOINT_URL": endpoint, "COURIER_QUEUE": "orders", "COURIER_API": "none"}
        options["COURIER_RECIPIENT_URL"] = recipient.url
        until(lambda: installed.ask("courier", "check", cwd=home, **options).returncode == 0)
        bodies = "".join(f"{n}\n" for n in range(20))
        (home / "bodies").write_text(bodies)
        installed.run("bash", "-c", "courier send orders - <bodies", cwd=home, **options)
        run = Courier("orders", recipient.url, home, endpoint=endpoint, program=installed.program, **options)
        try:
            until(lambda: len(recipient.accepted) == 20, explain=run.log)
            assert run.drain() == 0, run.log()
        finally:
            run.kill()
        assert sorted(run.recorded().values()) == [1] * 20
        installed.run("courier", "audit", "verify", "audit", cwd=home)


@pytest.mark.parametrize("in_place", [False, pytest.param(True, marks=pytest.mark.full)], ids=["beside", "in-place"])
def test_an_upgrade_keeps_configuration_and_audit_log_and_loses_nothing(
    in_place: bool, shared: Shared, tmp_path: Path, queue: Queue, recipient: Recipient
) -> None:
    """The version before is killed at work, and the new one begins where that was."""
    settings = tmp_path / "courier.toml"
    settings.write_text(
        f'queue = "{queue.name}"\nrecipient-url = "{recipient.url}"\nendpoint-url = "{queue.endpoint}"\n'
        f'audit-path = "{tmp_path}/audit"\nsenders = 2\nconcurrency = 8\nvisibility-timeout = 4\napi = "none"\n'
    )
    written = settings.read_text()

    def start(installed: Installation) -> Courier:
        options = (f"--config={settings}",)
        run = Courier(queue.name, recipient.url, tmp_path, *options, endpoint=queue.endpoint, program=installed.program)
        return run.wait_ready()

    if in_place:
        installed = Installation(tmp_path / "environment", PYTHON).make()
        installed.install(shared.wheel(old=True))
    else:
        installed = shared.installation(PYTHON, old=True)
    before = installed.run("courier", "--version", cwd=tmp_path).stdout
    recipient.behave = after(0.02)
    sent = queue.send([str(n) for n in range(400)])
    first = start(installed)
    until(lambda: len(recipient.accepted) >= 100, explain=first.log)
    first.signal_group(signal.SIGKILL)
    first.wait(20)
    # The recipient finishes what it has begun, though nobody waits for its answers any more.
    until(lambda: not recipient.open)
    recorded, accepted = first.recorded(), set(recipient.accepted)
    deleted = len(sent) - sum(queue.counts())
    assert recorded
    assert deleted

    if in_place:
        installed.install(shared.wheel())
    else:
        installed = shared.installation(PYTHON)
    assert installed.run("courier", "--version", cwd=tmp_path).stdout == f"courier {courier.__version__}\n" != before
    second = start(installed)
    try:
        until(lambda: set(recipient.accepted) == set(sent) and queue.counts() == (0, 0), explain=second.log)
        assert second.drain() == 0, second.log()
    finally:
        second.kill()
    assert settings.read_text() == written
    assert not [line for line in second.log().splitlines() if "level=error" in line]
    assert set(second.recorded()) == set(sent)
    # Delivered again is at most what the version before had delivered and not deleted when it was killed.
    assert set(recipient.duplicates()) <= accepted
    assert len(recipient.duplicates()) <= len(accepted) - deleted
    # The records of both versions are one log.
    assert all(second.recorded()[name] >= count for name, count in recorded.items())
    installed.run("courier", "audit", "verify", "audit", cwd=tmp_path)
    first_id = next(iter(recorded))
    found = installed.run("courier", "audit", "grep", "--id", first_id, "--output", "json", "", "audit", cwd=tmp_path)
    assert json.loads(found.stdout.splitlines()[0])["message_id"] == first_id


@pytest.mark.parametrize("back", [False, pytest.param(True, marks=pytest.mark.full)], ids=["forward", "back"])
def test_one_version_takes_the_place_of_another_under_load_and_nothing_is_lost_or_repeated(
    back: bool, shared: Shared, tmp_path: Path, queue: Queue, recipient: Recipient
) -> None:
    runs = [(shared.installation(PYTHON, old=old), tmp_path / f"old-{old}") for old in (not back, back)]
    # Slow enough that one instance can't keep up with what is sent, so that both always have work.
    recipient.behave = after(0.1)
    sent: list[str] = []
    enough = threading.Event()

    def send() -> None:
        while not enough.wait(0.01):
            if len(sent) - len(recipient.accepted) < WAITING:
                sent.extend(queue.send([str(n) for n in range(50)]))

    def start(installed: Installation, directory: Path) -> Courier:
        directory.mkdir()
        options = ("--senders=2", "--concurrency=8")
        run = Courier(
            queue.name, recipient.url, directory, *options, endpoint=queue.endpoint, program=installed.program
        )
        return run.wait_ready()

    load = threading.Thread(target=send)
    load.start()
    started: list[Courier] = []
    try:
        started.append(start(*runs[0]))
        until(lambda: len(recipient.accepted) > 50, explain=started[0].log)
        started.append(start(*runs[1]))
        until(lambda: len(started[1].recorded()) > 20, explain=started[1].log)
        assert started[0].drain() == 0, started[0].log()
        seen = len(recipient.accepted)
        until(lambda: len(recipient.accepted) > seen + 50, explain=started[1].log)
        enough.set()
        load.join(60)
        until(lambda: queue.counts() == (0, 0), explain=started[1].log)
        assert started[1].drain() == 0, started[1].log()
    finally:
        enough.set()
        for run in started:
            run.kill()
    assert set(recipient.accepted) == set(sent)
    assert recipient.duplicates() == {}
    recorded = started[0].recorded() + started[1].recorded()
    assert set(recorded) == set(sent)
    assert set(recorded.values()) == {1}
    assert all(run.recorded() for run in started)


@pytest.mark.full
@pytest.mark.timeout(400)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_files_of_a_release_install_without_an_index_as_the_page_says(
    python: str, shared: Shared, tmp_path: Path
) -> None:
    (tmp_path / "wheels").symlink_to(wheels_for(python))
    for path in (shared.wheel(), ROOT / "requirements.lock"):
        shutil.copy(path, tmp_path)
    (summed,) = re.findall(r"cd dist && sha256sum (.*) >SHA256SUMS", (ROOT / "Makefile").read_text())
    assert summed == "courier-*.whl courier-*.tar.gz requirements.lock courier.cdx.json"
    subprocess.run("sha256sum courier-*.whl requirements.lock >SHA256SUMS", shell=True, cwd=tmp_path, check=True)
    (script,) = [block.text for block in blocks(PAGE) if "SHA256SUMS" in block.text]
    script = script.replace("python3 -m", f"python{python} -m") + "courier-env/bin/courier demo --messages 300\n"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"courier-{courier.__version__}-py3-none-any.whl: OK" in done.stdout
    assert "delivered 300 audited 300 deleted 300 duplicates 0 lost 0" in done.stdout


def test_the_page_installs_as_the_readme_does_whose_commands_are_run() -> None:
    first = blocks(PAGE)[0].text.splitlines()
    assert first[:3] == [
        line
        for block in blocks(ROOT / "README.md")
        if "make dist" in block.text
        for line in block.text.splitlines()[:3]
    ]
    assert first[3:] == ["courier-env/bin/courier demo"]
