"""deploy/systemd: the unit, as far as systemd's own tools judge it, and that it fits the program."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from courier.config.config import DEFAULTS, OPTIONS, Config
from courier.errors import EXIT_USAGE
from courier.preflight import PREFLIGHT_SECONDS
from tests.unit.deploy.files import DEPLOY, environment_file, seconds, unit, unknown

UNIT = DEPLOY / "systemd" / "courier.service"
MOST_EXPOSED = 25
"""Tenths of the exposure level that ``systemd-analyze security`` gives, from 0 to 100."""

WITHOUT_WRITABLE_CODE = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-m", "courier", "demo", "--messages", "20"])
"""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def only(name: str) -> str:
    (value,) = unit()[name]
    return value


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@needs_systemd
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    # Where it is deployed the program is at its place; here another one stands in, since verify looks for it.
    content = UNIT.read_text().replace(f"ExecStart={only('ExecStart')}", f"ExecStart={sys.executable} -m courier")
    (tmp_path / "courier.service").write_text(content)
    verified = analyze("verify", "--man=no", tmp_path / "courier.service")
    assert verified.returncode == 0, verified.stderr
    assert "courier.service" not in verified.stderr


@needs_systemd
def test_the_unit_exposes_little() -> None:
    judged = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", UNIT)
    assert judged.returncode == 0, judged.stdout[-300:] + judged.stderr


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="needs systemd-sysusers")
def test_the_user_of_the_unit_is_the_one_that_sysusers_makes(tmp_path: Path) -> None:
    file = DEPLOY / "systemd" / "courier.sysusers"
    made = subprocess.run(
        ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", file],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert f"Creating user '{only('User')}'" in made.stderr + made.stdout


def test_systemd_waits_longer_for_the_end_than_the_drain_takes() -> None:
    drain = environment_file().get("COURIER_DRAIN_TIMEOUT", DEFAULTS["drain_timeout_seconds"])
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


def test_every_variable_is_one_that_is_read() -> None:
    variables = [value.partition("=")[0] for value in unit()["Environment"]]
    assert unknown([*variables, *environment_file()]) == set()


def test_it_delivers_to_no_private_address_but_those_that_are_named() -> None:
    variables = environment_file()
    values: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        if option.variables[0] in variables:
            value = option.kind.parse(variables[option.variables[0]])
            values[name] = (value,) if option.repeated else value
    config = Config(**values)
    assert config.guard is not None, "COURIER_DENY_PRIVATE isn't set"
    assert config.guard.denial(config.recipient.host) is None, "the example's own recipient can't be reached"
    for address in ("169.254.169.254", "10.0.0.1", "192.168.1.1", "127.0.0.2", "::1"):
        assert config.guard.denial(address), address


def test_the_audit_log_is_in_the_state_directory() -> None:
    audit = dict(value.split("=", 1) for value in unit()["Environment"])["COURIER_AUDIT_PATH"]
    assert audit.startswith(f"%S/{only('StateDirectory')}/")


def test_keys_come_as_a_credential_and_stand_in_no_file_of_ours() -> None:
    given = dict(value.split("=", 1) for value in unit()["Environment"])
    assert given["AWS_SHARED_CREDENTIALS_FILE"] == f"%d/{only('LoadCredential')}"
    assert not [name for name in {**given, **environment_file()} if "KEY" in name or "TOKEN" in name]


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
