"""deploy/systemd: the units, as far as systemd's own tools judge them, and that they fit the program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from courier.config.config import DEFAULTS, OPTIONS, Config
from courier.config.loading import read_file
from courier.errors import EXIT_USAGE
from courier.preflight import PREFLIGHT_SECONDS
from tests.unit.deploy.files import DEPLOY, seconds, unit, unknown
from tests.unit.deploy.tools import need

PLACE = DEPLOY / "systemd"
SERVICES = ("courier.service", "courier@.service")
INSTANCE = "orders"
MOST_EXPOSED = 15
"""Tenths of the exposure level that ``systemd-analyze security`` gives, from 0 to 100."""

WITHOUT_WRITABLE_CODE = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-m", "courier", "demo", "--messages", "20"])
"""

each_service = pytest.mark.parametrize("service", SERVICES)


def only(name: str, service: str = "courier.service") -> str:
    (value,) = unit(service)[name]
    return value


def settings(service: str) -> set[str]:
    """Return the lines of a unit that are no comments, with the names of the first service."""
    lines = (PLACE / service).read_text().splitlines()
    found = [line for line in lines if line and not line.startswith("#")]
    plain = [line.replace("/courier/%i", "/courier").replace("courier/%i", "courier") for line in found]
    return {line.replace("/etc/courier/%i.", "/etc/courier/courier.") for line in plain}


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    need("systemd-analyze")
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@each_service
def test_systemd_understands_the_unit(tmp_path: Path, service: str) -> None:
    # Where it is deployed the program is in the path; here another one stands in, since verify looks for it.
    text = (PLACE / service).read_text()
    changed, count = re.subn(r"^(Exec\w+)=courier\b", rf"\1={sys.executable} -m courier", text, flags=re.MULTILINE)
    assert count == 2
    placed = tmp_path / service.replace("@", f"@{INSTANCE}")
    placed.write_text(changed)
    (tmp_path / "system-courier.slice").write_text((PLACE / "system-courier.slice").read_text())
    verified = analyze("verify", "--man=no", placed, tmp_path / "system-courier.slice")
    assert verified.returncode == 0, verified.stderr
    assert "courier" not in verified.stderr


def test_systemd_says_so_when_it_does_not_understand_a_unit(tmp_path: Path) -> None:
    (tmp_path / "courier.service").write_text((PLACE / "courier.service").read_text().replace("OOMPolicy", "OOMPolice"))
    assert "OOMPolice" in analyze("verify", "--man=no", tmp_path / "courier.service").stderr


@each_service
def test_the_unit_exposes_little(service: str) -> None:
    judged = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", PLACE / service)
    assert judged.returncode == 0, judged.stdout[-300:] + judged.stderr


def test_both_services_differ_only_in_their_files_and_directories() -> None:
    one, several = settings("courier.service"), settings("courier@.service")
    assert one - several == {
        "Description=Courier: delivers Amazon SQS messages to an HTTP recipient",
        "ExecStart=courier --config /etc/courier/courier.toml",
        "EnvironmentFile=-/etc/courier/courier.env",
        "ImportCredential=courier.*",
        "RuntimeDirectoryPreserve=yes",
    }
    assert several - one == {
        "Description=Courier: delivers Amazon SQS messages to an HTTP recipient (%i)",
        "ExecStart=courier --config /etc/courier.toml",
        "EnvironmentFile=-/etc/courier.env",
        "ImportCredential=courier.%i.*",
    }


def test_a_stop_of_the_service_leaves_the_sockets_of_the_instances() -> None:
    inner, outer = only("RuntimeDirectory", "courier@.service"), only("RuntimeDirectory")
    assert inner.startswith(f"{outer}/")
    assert only("RuntimeDirectoryPreserve") == "yes"


@each_service
def test_one_worker_that_the_kernel_ends_for_its_memory_does_not_end_the_others(service: str) -> None:
    assert only("OOMPolicy", service) == "continue"


def test_all_services_share_the_limits_of_the_slice() -> None:
    assert {only("Slice", service) for service in SERVICES} == {"system-courier.slice"}
    assert {"MemoryMax", "MemorySwapMax", "TasksMax"} <= set(unit("system-courier.slice"))


def test_the_user_of_the_unit_is_the_one_that_sysusers_makes(tmp_path: Path) -> None:
    need("systemd-sysusers")
    file = PLACE / "courier.sysusers"
    made = subprocess.run(
        ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", file],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert f"Creating user '{only('User')}'" in made.stderr + made.stdout


def test_what_tmpfiles_makes_is_the_parent_of_what_the_units_make() -> None:
    lines = [each for each in (PLACE / "courier.tmpfiles").read_text().splitlines() if not each.startswith("#")]
    made = {path: (mode, user) for _, path, mode, user, _ in map(str.split, lines)}
    mode, user = only("StateDirectoryMode"), only("User")
    assert made == {"/var/lib/courier": (mode, user), "/run/courier": (only("RuntimeDirectoryMode"), user)}


def test_systemd_waits_longer_for_the_end_than_the_drain_takes() -> None:
    drain = read_file(PLACE / "courier.toml").get("drain_timeout_seconds", DEFAULTS["drain_timeout_seconds"])
    assert seconds(only("TimeoutStopSec")) >= seconds(drain) + 10
    assert seconds(drain) == DEFAULTS["drain_timeout_seconds"]


def test_systemd_waits_longer_for_the_start_than_the_preflight_takes() -> None:
    assert seconds(only("TimeoutStartSec")) > PREFLIGHT_SECONDS + DEFAULTS["drain_timeout_seconds"]


def test_it_is_told_by_the_main_process_and_watches_it() -> None:
    assert only("Type") == "notify"
    assert only("NotifyAccess") == "main"
    assert seconds(only("WatchdogSec")) >= 10
    assert only("KillMode") == "mixed"


def test_it_starts_again_unless_the_configuration_is_wrong() -> None:
    assert only("Restart") == "always"
    assert only("RestartPreventExitStatus") == str(EXIT_USAGE)
    assert only("StartLimitIntervalSec") == "0"


@each_service
def test_no_variable_of_the_unit_beats_an_option_of_the_file(service: str) -> None:
    variables = [value.partition("=")[0] for value in unit(service)["Environment"]]
    assert unknown(variables) == set()
    assert not [name for name in variables if name.startswith("COURIER_")]


def test_every_variable_of_the_example_is_one_of_boto3() -> None:
    examples = re.findall(r"^# ([A-Z_]+)=", (PLACE / "courier.env").read_text(), re.MULTILINE)
    assert examples
    assert all(name.startswith("AWS_") for name in examples)


def test_it_delivers_to_no_private_address_but_those_that_are_named() -> None:
    values: dict[str, Any] = {}
    for name, value in read_file(PLACE / "courier.toml").items():
        option = OPTIONS[name]
        parsed = [option.kind.parse(str(each).lower()) for each in (value if option.repeated else [value])]
        values[name] = tuple(parsed) if option.repeated else parsed[0]
    config = Config(**values)
    assert config.guard is not None, "deny-private isn't set"
    assert config.guard.denial(config.recipient.host) is None, "the example's own recipient can't be reached"
    for address in ("169.254.169.254", "10.0.0.1", "192.168.1.1", "127.0.0.2", "::1"):
        assert config.guard.denial(address), address


@each_service
def test_the_audit_log_is_in_the_state_directory(service: str) -> None:
    assert str(DEFAULTS["audit_path"]) == "audit"
    assert "audit_path" not in read_file(PLACE / "courier.toml")
    assert only("WorkingDirectory", service) == f"%S/{only('StateDirectory', service)}"


@each_service
def test_keys_come_as_a_credential_and_stand_in_no_file_of_ours(service: str) -> None:
    given = dict(value.split("=", 1) for value in unit(service)["Environment"])
    assert given["AWS_SHARED_CREDENTIALS_FILE"] == f"%d/{only('LoadCredential', service)}"
    assert not [name for name in given if "KEY" in name or "TOKEN" in name]


def test_it_may_open_the_sockets_that_it_needs_and_no_others() -> None:
    assert set(only("RestrictAddressFamilies").split()) == {"AF_UNIX", "AF_INET", "AF_INET6"}


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
def test_it_runs_where_no_memory_may_be_written_and_executed(tmp_path: Path) -> None:
    assert only("MemoryDenyWriteExecute") == "yes"
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_WRITABLE_CODE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if ran.returncode == 77:
        pytest.skip("the kernel has no PR_SET_MDWE (Linux 6.3)")
    assert ran.returncode == 0, ran.stderr
    assert "lost 0" in ran.stdout
