"""The image, really built, and its containers: Courier as PID 1 of a user who isn't root and may write nowhere."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

import courier
from courier.audit.reader import read_records
from courier.errors import EXIT_CANNOT_START, EXIT_USAGE
from tests.ports import reserved_port
from tests.process.containers import BUILD_SECONDS, Container, Image
from tests.process.world import OK, Queue, Recipient, after, bodies, children, totals, until
from tests.unit.deploy.files import ROOT, instructions
from tests.unit.deploy.test_dockerfile import pins
from tests.unit.deploy.tools import need

pytestmark = [
    pytest.mark.together,
    # The first one builds it.
    pytest.mark.timeout(BUILD_SECONDS + 120),
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image and entering it takes root"),
]

Run = Callable[..., Container]
STATE: Final = "/var/lib/courier"
AUDIT: Final = f"{STATE}/audit"

EVERYBODYS: Final = re.compile(r"/(tmp|var/tmp|run/lock|var/lock|dev/.*)$")
"""What everybody may write to in each image of Debian."""

# The packages of Python that the image has.
LOOK: Final = """
import importlib.metadata, json

found = {each.name: each.version for each in importlib.metadata.distributions(path=[%r])}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    need("buildah", "mmdebstrap", "unshare", "nsenter", "setpriv")
    image = Image()
    yield image
    image.close()


@pytest.fixture
def volume(tmp_path: Path, image: Image) -> Path:
    """A volume that Docker has made: a new one has the owner and the mode of the directory that it covers."""
    volume = tmp_path / "volume"
    volume.mkdir()
    covered = (image.root / STATE[1:]).stat()
    os.chown(volume, covered.st_uid, covered.st_gid)
    volume.chmod(covered.st_mode & 0o7777)
    return volume


@pytest.fixture
def port() -> Iterator[int]:
    with reserved_port() as port:
        yield port


@pytest.fixture
def run(tmp_path: Path, image: Image) -> Iterator[Run]:
    """Start a container; whatever is left is killed."""
    running: list[Container] = []

    def run(*arguments: str, **options: object) -> Container:
        log = tmp_path / f"container-{len(running)}.log"
        running.append(Container(image, *arguments, log=log, **options))  # type: ignore[arg-type]
        return running[-1]

    yield run
    for container in running:
        container.kill()


def variables(queue: Queue, recipient: Recipient) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "COURIER_QUEUE": queue.name,
        "COURIER_ENDPOINT_URL": queue.endpoint,
        "COURIER_RECIPIENT_URL": recipient.url,
        # The network is this machine's, where many of these run.
        "COURIER_API": "127.0.0.1:0",
    }


def recorded(volume: Path) -> list[str]:
    return sorted(record.message_id for record in read_records(volume))


def test_no_container_outlives_its_test(run: Run, queue: Queue, recipient: Recipient, volume: Path) -> None:
    container = run(variables=variables(queue, recipient), volumes={STATE: volume}).wait_ready()
    inside = [container.pid, *children(container.pid)]
    # As pytest's own end does when it is killed: nobody is left who would end the container.
    container.process.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in inside))


def test_the_demo_delivers_all_with_nothing_to_write_to_but_tmp(run: Run) -> None:
    demo = run("demo", "--messages", "1000", volumes={"/tmp": None})
    assert demo.wait() == 0, demo.log()
    assert "delivered 1000 audited 1000 deleted 1000 duplicates 0 lost 0" in demo.log()


def test_it_delivers_as_pid_1_of_another_user_and_drains_when_it_is_stopped(
    run: Run, queue: Queue, recipient: Recipient, volume: Path, port: int
) -> None:
    given = {**variables(queue, recipient), "COURIER_API": f"127.0.0.1:{port}"}
    checked = run("check", variables=given, volumes={STATE: volume})
    assert checked.wait() == 0, checked.log()
    container = run(variables=given, volumes={STATE: volume, "/tmp": None}).wait_ready()
    status = Path(f"/proc/{container.pid}/status").read_text()
    assert re.search(r"^NSpid:(\s+\d+)+\s+1$", status, re.MULTILINE)
    uid, _, gid = container.image.config["User"].partition(":")
    assert re.search(rf"^Uid:(\s+{uid}){{4}}$", status, re.MULTILINE)
    assert re.search(rf"^Gid:(\s+{gid}){{4}}$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    # docker exec, with what the image sets.
    assert container.check_health().returncode == 0
    shown = container.execute("courier", "status")
    assert shown.returncode == 0, shown.stderr
    assert container.execute("courier", "pause", "--reason", "a test").returncode == 0
    assert container.execute("courier", "status", "--check").stdout.startswith("ready, paused")
    # What is under way when it is stopped takes a second.
    recipient.behave = after(1.0)
    sent = queue.send(bodies(100))
    assert container.execute("courier", "resume").returncode == 0
    until(lambda: len(recipient.deliveries) >= 20, explain=container.log)
    assert container.stop() == 0, container.log()
    delivered = sorted(recipient.accepted)
    assert delivered
    assert not recipient.open
    assert recipient.duplicates() == {}
    assert recorded(volume / "audit") == delivered
    assert totals(container.log())["deleted"] == len(delivered)
    # The volume goes on with the next container, which gets what the first one gave back.
    recipient.behave = lambda delivery: OK
    container = run(variables=given, volumes={STATE: volume, "/tmp": None})
    until(lambda: set(recipient.accepted) == set(sent), explain=container.log)
    assert container.stop() == 0, container.log()
    assert recipient.duplicates() == {}
    assert recorded(volume / "audit") == sorted(sent)


def test_the_health_check_fails_while_the_supervisor_stands_still(
    run: Run, queue: Queue, recipient: Recipient, volume: Path
) -> None:
    given = {**variables(queue, recipient), "COURIER_API": "none"}
    # Without anything else to write to, /tmp too.
    container = run(variables=given, volumes={STATE: volume}).wait_ready()
    assert container.check_health().returncode == 0
    container.signal(signal.SIGSTOP)
    found = container.check_health()
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.startswith("unhealthy: supervisor 1 ")
    container.signal(signal.SIGCONT)
    until(lambda: container.check_health().returncode == 0, explain=container.log)
    # An outage of the recipient is no fault of the container: a new one would change nothing.
    recipient.stop()
    queue.send(bodies(100))
    until(lambda: "breaker" in container.log(), explain=container.log)
    assert container.check_health().returncode == 0
    assert container.stop() == 0, container.log()


TABLES: Final = """
[[queue]]
name = "orders"
queue = "%s"

[[queue]]
name = "mails"
queue = "%s"
"""


def test_several_queues_of_a_mounted_file_keep_their_audit_logs_in_the_volume(
    run: Run, virtual_queue: str, recipient: Recipient, volume: Path, tmp_path: Path
) -> None:
    queues = {"orders": Queue(virtual_queue), "mails": Queue(virtual_queue)}
    given = variables(queues["orders"], recipient)
    del given["COURIER_QUEUE"]
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "courier.toml"
    file.write_text(TABLES % tuple(queue.name for queue in queues.values()))
    mounted = {STATE: volume, "/etc/courier": file.parent, "/tmp": None}
    container = run("--config", "/etc/courier/courier.toml", variables=given, volumes=mounted).wait_ready()
    sent = {name: queue.send(bodies(20)) for name, queue in queues.items()}
    until(lambda: set(recipient.accepted) == {each for ids in sent.values() for each in ids}, explain=container.log)
    assert container.check_health().returncode == 0
    # The file changes where it is mounted from, and docker kill -s HUP tells it.
    file.write_text(file.read_text().partition('\n[[queue]]\nname = "mails"')[0])
    container.signal(signal.SIGHUP)
    until(lambda: 'event="queue left" queue=mails' in container.log(), explain=container.log)
    assert container.check_health().returncode == 0
    assert container.stop() == 0, container.log()
    assert {name: recorded(volume / "queues" / name / "audit") for name in queues} == {
        name: sorted(ids) for name, ids in sent.items()
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_before_it_has_started_ends_it(
    run: Run, queue: Queue, recipient: Recipient, volume: Path, number: int
) -> None:
    # 192.0.2.0 is reserved for documentation: nobody answers.
    given = {**variables(queue, recipient), "COURIER_ENDPOINT_URL": "http://192.0.2.1:9324"}
    container = run(variables=given, volumes={STATE: volume})
    until(lambda: "event=starting" in container.log(), explain=container.log)
    container.signal(number)
    assert container.wait(30) == 0, container.log()


def test_what_it_lacks_is_said_in_one_line(run: Run, queue: Queue, recipient: Recipient, tmp_path: Path) -> None:
    given = variables(queue, recipient)
    without = run(volumes={"/tmp": None})
    assert without.wait() == EXIT_USAGE
    assert len(without.log().splitlines()) == 1
    assert "COURIER_QUEUE" in without.log()
    # A directory of the machine that belongs to root, which Docker makes for a bind mount that isn't there.
    (tmp_path / "owned by root").mkdir(mode=0o755)
    for volumes in ({}, {AUDIT: tmp_path / "owned by root"}):
        container = run(variables=given, volumes=volumes)
        assert container.wait() == EXIT_CANNOT_START, container.log()
        assert AUDIT in container.log().splitlines()[-1]
        assert "Traceback" not in container.log()


class Setting(NamedTuple):
    """How somebody may run a container, well or not so well."""

    read_only: bool
    has_tmp: bool
    has_volume: bool
    api: str
    control: str
    audit: str
    signal: int


SETTINGS: Final = [
    setting
    for setting in itertools.starmap(
        Setting,
        itertools.product(
            *((True, False), (True, False), (True, False)),
            *(("none", "127.0.0.1:0"), ("none", "/tmp/control.sock", "/run/courier/control.sock")),
            *(("files", "none"), (signal.SIGTERM, signal.SIGINT)),
        ),
    )
    # Where there is nothing to write to, it can't keep an audit log: another test has what it says then.
    if setting.has_volume or setting.audit == "none" or not setting.read_only
]
FEW: Final = random.Random(2).sample(SETTINGS, 4)


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(setting, marks=[] if setting in FEW else [pytest.mark.full], id="-".join(map(str, setting)))
        for setting in SETTINGS
    ],
)
def test_however_it_is_run_it_delivers_all_is_healthy_and_drains(
    run: Run, queue: Queue, recipient: Recipient, volume: Path, setting: Setting
) -> None:
    given = variables(queue, recipient) | {
        "COURIER_API": setting.api,
        "COURIER_CONTROL": setting.control,
        "COURIER_AUDIT": setting.audit,
    }
    volumes = ({"/tmp": None} if setting.has_tmp else {}) | ({STATE: volume} if setting.has_volume else {})
    container = run(variables=given, volumes=volumes, read_only=setting.read_only).wait_ready()
    sent = queue.send(bodies(20))
    until(lambda: set(recipient.accepted) == set(sent), explain=container.log)
    assert container.check_health().returncode == 0
    container.signal(setting.signal)
    assert container.wait() == 0, container.log()
    assert recipient.duplicates() == {}
    assert queue.counts() == (0, 0)
    assert "Traceback" not in container.log()
    if setting.has_volume and setting.audit == "files":
        assert recorded(volume / "audit") == sorted(sent)


def test_it_has_what_the_lock_lists_and_nothing_else(run: Run, image: Image) -> None:
    (library,) = image.root.glob("opt/courier/lib/python3.*/site-packages")
    inside = "/" + str(library.relative_to(image.root))
    looked = run("-c", LOOK % inside, entrypoint=["python"])
    assert looked.wait() == 0, looked.log()
    found = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in json.loads(looked.log()).items()}
    locked = {name: version for name, (version, _) in pins("requirements.lock").items()}
    assert found == locked | {"courier": courier.__version__}
    # All that stands beside the modules came along: a page, a stylesheet.
    assert files_beside_modules(library / "courier") == files_beside_modules(ROOT / "courier")


def files_beside_modules(package: Path) -> set[str]:
    """Return the files of a package that aren't compiled."""
    return {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_nothing_is_compiled_at_a_start(run: Run) -> None:
    looked = run(
        *("-v", "-c", "import courier.cli, courier.pipeline, courier.api.server, courier.health"),
        entrypoint=["python"],
        variables={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert looked.wait() == 0, looked.log()
    assert re.findall(r"^# code object from '(.*\.py)'$", looked.log(), re.MULTILINE) == []


def test_its_user_owns_nothing_but_its_directory_and_may_write_nowhere_else(image: Image) -> None:
    uid = int(image.config["User"].partition(":")[0])
    own, writable = set(), set()
    for directory, names, files in os.walk(image.root):
        for path in (Path(directory, name) for name in [*names, *files]):
            found = path.lstat()
            inside = "/" + str(path.relative_to(image.root))
            if found.st_uid == uid or found.st_gid == uid:
                own.add(inside)
            elif found.st_mode & 0o002 and not path.is_symlink():
                writable.add(inside)
    assert own == {"/var/lib/courier", AUDIT}
    assert {path for path in writable if not EVERYBODYS.match(path)} == set()


def test_it_is_configured_as_the_dockerfile_says(image: Image) -> None:
    config = image.config
    for name, key in (("USER", "User"), ("WORKDIR", "WorkingDir"), ("STOPSIGNAL", "StopSignal")):
        assert instructions(name)[-1].text == config[key]
    assert instructions("ENTRYPOINT")[-1].words() == config["Entrypoint"]
    assert set(config["Volumes"]) == {STATE}
    assert set(config["ExposedPorts"]) == {"8080/tcp"}
    assert not config.get("Cmd")
