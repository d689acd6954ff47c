"""The Debian package on a machine with systemd: installed, started, upgraded under load, removed and purged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import courier
from courier.audit.reader import read_records
from scripts import debian, distributions
from scripts.requirements import python_of_the_image
from tests.process.machine import Machine, booted, why_not
from tests.process.world import until
from tests.unit.deploy.tools import need

NEWER = f"{courier.__version__}.1"
MESSAGES = 1000
"""Of each queue before the upgrade, and after it. The recipient takes half a second for each."""

QUEUE = "http://127.0.0.1:9324"
FILE = """\
queue = "{queue}"
region = "us-east-1"
endpoint-url = "http://127.0.0.1:9324"
recipient-url = "http://127.0.0.1:{port}/"
bearer-token-file = "/run/credentials/{unit}/{credential}"
deny-private = true
allow-cidr = ["127.0.0.1/32"]
api = "127.0.0.1:{api}"
"""
KEYS = "[default]\naws_access_key_id = none\naws_secret_access_key = none\n"
RECIPIENT = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Recipient(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.5)
        with open(sys.argv[2], "ab") as file:
            file.write(self.headers["Authorization"].encode() + b" " + body + b"\\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

ThreadingHTTPServer.request_queue_size = 256
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Recipient).serve_forever()
"""
SEND = """
import sys, boto3
sqs = boto3.client("sqs", endpoint_url="http://127.0.0.1:9324", region_name="us-east-1",
                   aws_access_key_id="none", aws_secret_access_key="none")
queue, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for start in range(first, last, 10):
    entries = [{"Id": str(n), "MessageBody": f"{queue}-{n}"} for n in range(start, min(start + 10, last))]
    sqs.send_message_batch(QueueUrl=f"http://127.0.0.1:9324/000000000000/{queue}", Entries=entries)
"""

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build the package twice, of this version and of a newer one."""
    need("dpkg-buildpackage", "dh", "mmdebstrap")
    directory = tmp_path_factory.mktemp("packages")
    (wheel,) = [path for path in distributions.build(directory) if path.suffix == ".whl"]
    wheels = [wheel, *debian.download(debian.WHEELS / python_of_the_image(), python_of_the_image())]
    older, newer = (debian.build(directory, wheels, "-Znone", each) for each in (courier.__version__, NEWER))
    return older, newer


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if why := why_not():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    (tmp_path / "machine").mkdir()
    with booted(tmp_path / "machine", sys.executable) as machine:
        yield machine


def delivered(machine: Machine, queue: str) -> list[str]:
    return machine.run(f"cat /tmp/{queue}.delivered", check=False).splitlines()


def send(machine: Machine, queue: str, first: int, last: int) -> None:
    machine.run(f"/usr/lib/courier/bin/python /tmp/send.py {queue} {first} {last}")


def recorded(machine: Machine, directory: str) -> list[str]:
    """Return the bodies in an audit directory of the machine, as the program of this checkout reads them."""
    with tempfile.TemporaryDirectory() as copy:
        packed = subprocess.run(
            machine.command(f"tar -C /var/lib/courier/{directory} -c ."), capture_output=True, timeout=60, check=True
        ).stdout
        subprocess.run(["tar", "-C", copy, "-x"], input=packed, timeout=60, check=True)
        command = [sys.executable, "-m", "courier", "audit", "verify", copy]
        subprocess.run(command, capture_output=True, timeout=60, check=True)
        return sorted(bytes(record.body).decode() for record in read_records(Path(copy)))


def configure(machine: Machine, unit: str, queue: str, api: int) -> None:
    """Give a unit its recipient, its file and its token."""
    name = "courier" if unit == "courier.service" else queue
    credential = f"courier.{queue}.token"
    machine.start(f"python3 /tmp/recipient.py {api + 1} /tmp/{queue}.delivered")
    machine.write(f"/etc/credstore/{credential}", f"secret-of-{queue}", 0o600)
    file = FILE.format(queue=queue, unit=unit, credential=credential, port=api + 1, api=api)
    machine.write(f"/etc/courier/{name}.toml", file)


def test_lintian_finds_nothing(packages: tuple[Path, Path]) -> None:
    need("lintian")
    # The tests don't take the time that packing takes.
    plain = "--suppress-tags=uses-no-compression-for-control-tarball,uses-no-compression-for-data-tarball"
    command = ["lintian", "--allow-root", "--fail-on=error,warning", plain, str(packages[0])]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "unused-override" not in judged.stdout


def test_it_is_installed_started_upgraded_under_load_removed_and_purged(
    machine: Machine, packages: tuple[Path, Path]
) -> None:
    for path in packages:
        machine.write(f"/root/{path.name}", path.read_bytes())
    older, newer = (f"/root/{path.name}" for path in packages)

    machine.run(f"dpkg -i {older}")
    assert machine.run("courier --version").strip().endswith(courier.__version__)
    assert machine.run("systemctl is-enabled courier", check=False).strip() == "disabled"
    assert not machine.succeeds("systemctl is-active courier"), "it must not start before it is configured"
    assert machine.run("stat -c '%U %G %a' /etc/courier /var/lib/courier").splitlines() == [
        "root courier 750",
        "courier courier 750",
    ]
    assert machine.succeeds("setpriv --reuid courier --regid courier --clear-groups cat /etc/courier/courier.toml")
    assert "courier-status" in machine.run("man -w courier-status 2>/dev/null || ls /usr/share/man/man1")

    machine.write("/tmp/recipient.py", RECIPIENT)
    machine.write("/tmp/send.py", SEND)
    machine.write("/etc/credstore/courier.aws", KEYS, 0o600)
    machine.start("courier virtual --port 9324 --queue orders --queue bills")
    units = {"courier.service": ("orders", 8080), "courier@bills.service": ("bills", 8180)}
    for unit, (queue, api) in units.items():
        configure(machine, unit, queue, api)
    kept = machine.run("sha256sum /etc/courier/*.toml")
    # One is enabled, the other was only started: both ran.
    machine.run("systemctl enable --now courier")
    machine.run("systemctl start courier@bills")
    log = "journalctl --no-pager -u courier -u 'courier@*'"
    for socket in ("/run/courier/control.sock", "/run/courier/bills/control.sock"):
        assert "ready" in machine.run(f"courier status --check --control {socket}")
    pids = [machine.run(f"systemctl show --value -p MainPID {unit}") for unit in units]
    for queue in ("orders", "bills"):
        send(machine, queue, 0, MESSAGES)

    output = machine.run(f"dpkg -i {newer}")
    for queue in ("orders", "bills"):
        send(machine, queue, MESSAGES, 2 * MESSAGES)
    for unit, (queue, _) in units.items():
        until(
            lambda unit=unit: machine.succeeds(f"systemctl is-active {unit}"),  # type: ignore[misc]
            60,
            explain=lambda: output + machine.run(log),
        )
        until(
            lambda queue=queue: len(delivered(machine, queue)) >= 2 * MESSAGES,  # type: ignore[misc]
            120,
            explain=lambda: machine.run(log),
        )
        wanted = sorted(f"Bearer secret-of-{queue} {queue}-{n}" for n in range(2 * MESSAGES))
        assert sorted(delivered(machine, queue)) == wanted, "each once: an upgrade drains"
    assert machine.run("dpkg-query --show --showformat='${Version}' courier") == f"{NEWER}-1"
    assert not set(pids) & {machine.run(f"systemctl show --value -p MainPID {unit}") for unit in units}
    assert machine.run("sha256sum /etc/courier/*.toml") == kept
    said = machine.run(log)
    assert "Traceback" not in said
    first = re.findall(r"event=stopped .*? delivered=(\d+)", said)[:2]
    assert all(int(count) < MESSAGES for count in first), "the upgrade came in the middle"

    # A stop of one service leaves the control socket of the other.
    machine.run("systemctl stop courier")
    assert "ready" in machine.run("courier status --check --control /run/courier/bills/control.sock")
    machine.run("systemctl start courier")

    machine.run("dpkg -r courier")
    for unit in units:
        assert not machine.succeeds(f"systemctl is-active {unit}")
    assert machine.run("grep -l '^courier: ' /proc/[0-9]*/cmdline || true") == ""
    assert machine.run("sha256sum /etc/courier/*.toml") == kept
    assert not machine.succeeds("test -e /usr/lib/courier")
    machine.run("dpkg -P courier")
    assert machine.run("ls /etc/courier").split() == ["bills.toml"], "the package purges only what is its own"
    for directory, queue in (("audit", "orders"), ("bills/audit", "bills")):
        assert recorded(machine, directory) == sorted(f"{queue}-{n}" for n in range(2 * MESSAGES))
    assert machine.run("stat -c %U /var/lib/courier/audit").strip() == "courier"


@pytest.fixture
def service(machine: Machine, packages: tuple[Path, Path]) -> Machine:
    """Install and start courier.service."""
    older, _ = packages
    machine.write(f"/root/{older.name}", older.read_bytes())
    machine.run(f"dpkg -i /root/{older.name}")
    machine.write("/tmp/recipient.py", RECIPIENT)
    machine.write("/tmp/send.py", SEND)
    machine.write("/etc/credstore/courier.aws", KEYS, 0o600)
    machine.start("courier virtual --port 9324 --queue orders")
    configure(machine, "courier.service", "orders", 8080)
    machine.run("systemctl start courier")
    return machine


def main_pid(machine: Machine) -> str:
    return machine.run("systemctl show --value -p MainPID courier").strip()


def processes(machine: Machine, role: str) -> int:
    return len(machine.run(f"grep -l '^courier: {role} ' /proc/[0-9]*/cmdline || true").split())


def test_an_upgrade_that_fails_starts_the_old_version_again(service: Machine, packages: tuple[Path, Path]) -> None:
    _, newer = packages
    service.write(f"/root/{newer.name}", newer.read_bytes()[: newer.stat().st_size // 2])
    before = main_pid(service)
    assert not service.succeeds(f"dpkg -i /root/{newer.name}")
    until(lambda: service.succeeds("systemctl is-active courier"), 60, explain=lambda: service.run("dpkg -l courier"))
    assert main_pid(service) != before, "dpkg gave up before it stopped the service, which tests nothing"
    assert service.run("dpkg-query --show --showformat='${Version}' courier") == f"{courier.__version__}-1"
    assert not service.succeeds("test -e /run/courier-stopped")


def test_the_service_reloads_comes_back_after_a_kill_and_stops_at_a_wrong_file(service: Machine) -> None:
    text = service.run("cat /etc/courier/courier.toml")
    service.write("/etc/courier/courier.toml", f"{text}senders = 6\n")
    service.run("systemctl reload courier")
    until(
        lambda: processes(service, "sender") == 6, 60, explain=lambda: service.run("journalctl --no-pager -u courier")
    )

    killed = main_pid(service)
    service.run(f"kill -9 {killed}")
    until(lambda: main_pid(service) not in (killed, "0"), 60)
    until(
        lambda: service.succeeds("courier status --check"), 60, explain=lambda: service.run("systemctl status courier")
    )
    send(service, "orders", 0, 20)
    until(lambda: len(delivered(service, "orders")) >= 20, 60)

    service.write("/etc/courier/courier.toml", f"{text}sender = 6\n")
    restarts = service.run("systemctl show --value -p NRestarts courier")
    assert not service.succeeds("systemctl reload courier")
    assert service.succeeds("courier status --check"), "what is refused changes nothing"
    assert not service.succeeds("systemctl restart courier")
    said = service.run("systemctl status courier", check=False)
    assert "did you mean 'senders'?" in said
    assert service.run("systemctl show --value -p ActiveState courier").strip() == "failed"
    assert service.run("systemctl show --value -p NRestarts courier") in (restarts, "0\n")


def test_one_service_serves_several_queues_within_the_limits_of_the_unit(service: Machine) -> None:
    machine = service
    machine.run("systemctl stop courier")
    text = machine.run("cat /etc/courier/courier.toml").replace('queue = "orders"\n', "")
    tables = "".join(f'[[queue]]\nname = "{name}"\nqueue = "{name}"\n' for name in ("orders", "bills"))
    machine.write("/etc/courier/courier.toml", f"{text}{tables}")
    machine.start("courier virtual --port 9325 --queue bills")
    machine.write("/etc/courier/courier.toml", f'{text}{tables}endpoint-url = "http://127.0.0.1:9325"\n')
    log = "journalctl --no-pager -u courier"
    machine.run("systemctl start courier")
    assert "ready" in machine.run("courier status --check --control /run/courier/control.sock")
    send(machine, "orders", 0, 50)
    machine.run("sed s/9324/9325/ /tmp/send.py >/tmp/send-bills.py")
    machine.run("/usr/lib/courier/bin/python /tmp/send-bills.py bills 0 50")
    until(lambda: len(delivered(machine, "orders")) >= 100, 60, explain=lambda: machine.run(log))
    machine.run("systemctl reload courier")
    machine.run("systemctl stop courier")
    for name in ("orders", "bills"):
        assert recorded(machine, f"queues/{name}/audit") == sorted(f"{name}-{n}" for n in range(50))
