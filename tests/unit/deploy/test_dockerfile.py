from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import courier
from tests.unit.deploy.files import ROOT, context, image_environment, instructions, unknown


def test_it_runs_as_somebody_who_is_not_root() -> None:
    (user,) = instructions("USER")
    uid, _, gid = user.text.partition(":")
    assert int(uid) > 0
    assert int(gid) > 0
    (make_user,) = [each.text for each in instructions("RUN") if "useradd" in each.text]
    assert f"--uid {uid} " in make_user
    assert f"groupadd --gid {gid} " in make_user


def test_it_is_stopped_by_the_signal_that_drains() -> None:
    assert [each.text for each in instructions("STOPSIGNAL")] == ["SIGTERM"]


def test_every_variable_is_an_option() -> None:
    variables = image_environment()
    assert unknown(set(variables) - {"PATH"}) == set()


def test_the_audit_log_is_in_a_volume() -> None:
    (volume,) = instructions("VOLUME")
    assert volume.text == image_environment()["COURIER_AUDIT_PATH"]


def test_the_port_that_is_exposed_is_that_of_the_api() -> None:
    assert image_environment()["COURIER_API"] == f"0.0.0.0:{instructions('EXPOSE')[0].text}"


def test_only_what_is_built_from_gets_into_the_build() -> None:
    files = {str(path) for path in context()}
    assert {"setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE", "courier/__main__.py"} <= files
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]
    assert {name.split("/")[0] for name in files if "/" in name} == {"courier"}


def test_its_build_commands_make_an_image_that_runs(tmp_path: Path) -> None:
    for path in context():
        (tmp_path / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, tmp_path / "source" / path)
    target = tmp_path / "opt" / "courier"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    builds = [each for each in instructions("RUN") if "useradd" not in each.text]
    assert [each.words()[0] for each in builds] == ["pip", "python", "pip"]
    for build in builds:
        words = [word.replace("/wheels", f"{tmp_path}/wheels") for word in build.words()]
        words = [word.replace("/opt/courier", str(target)) for word in words]
        if "pip" in words:
            # What it depends on is installed here already, and nothing is fetched.
            words += ["--no-deps", "--no-build-isolation"] if "wheel" in words else ["--no-deps"]
        command = [sys.executable, "-m", *words] if words[0] == "pip" else [sys.executable, *words[1:]]
        subprocess.run(command, cwd=tmp_path / "source", env=environment, check=True, capture_output=True, timeout=100)
    (entry,) = instructions("ENTRYPOINT")
    program = target / "bin" / entry.words()[0]
    environment["PYTHONPATH"] = sysconfig.get_path("purelib")
    shown = subprocess.run([program, "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert shown.stdout == f"courier {courier.__version__}\n"
    # All that stands beside the modules came along: a page, a stylesheet.
    (installed,) = target.glob("lib/python3*/site-packages/courier")
    package = ROOT / "courier"
    expected = {str(p.relative_to(package)) for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert {str(p.relative_to(installed)) for p in installed.rglob("*") if p.suffix != ".pyc"} >= expected


@pytest.mark.skipif(os.geteuid() != 0, reason="adding users takes root")
@pytest.mark.skipif(shutil.which("useradd") is None, reason="needs useradd")
def test_its_user_can_be_made_and_owns_the_audit_directory(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group", "shadow", "gshadow", "login.defs"):
        (tmp_path / "etc" / name).touch()
    (make_user,) = [each.text for each in instructions("RUN") if "useradd" in each.text]
    words = shlex.split(make_user)
    line: list[str] = []
    for word in [*words, "&&"]:
        if word != "&&":
            line.append(word)
            continue
        if line[0] == "install":
            line = [word.replace("/var/lib", f"{tmp_path}/var/lib") for word in line]
        else:
            line[1:1] = ["--prefix", str(tmp_path)]
        subprocess.run(line, check=True, capture_output=True, timeout=20)
        line = []
    (user,) = instructions("USER")
    assert f"courier:x:{user.text}:" in (tmp_path / "etc" / "passwd").read_text()
    audit = (tmp_path / image_environment()["COURIER_AUDIT_PATH"].lstrip("/")).stat()
    assert f"{audit.st_uid}:{audit.st_gid}" == user.text
    assert audit.st_mode & 0o007 == 0


def test_every_stage_is_of_one_python() -> None:
    images = {each.text.split()[0] for each in instructions("FROM")}
    assert images == {"python:3.13-slim"}
