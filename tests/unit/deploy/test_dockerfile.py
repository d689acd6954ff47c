from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import courier
from scripts.requirements import LOCKS, build_required, floors, python_of_the_image, required
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
    assert set(LOCKS) <= files
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]
    assert {name.split("/")[0] for name in files if "/" in name} == {"courier"}


def test_its_build_commands_make_an_image_that_runs(tmp_path: Path) -> None:
    for path in context():
        (tmp_path / "source" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, tmp_path / "source" / path)
    target = tmp_path / "opt" / "courier"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    builds = [each for each in instructions("RUN") if "useradd" not in each.text]
    locked = [each for each in builds if "-r" in each.words()]
    builds = [each for each in builds if each not in locked]
    builds = [each for each in builds if "/usr/local/lib/python3.*" not in each.words()]
    assert [each.words()[0] for each in builds] == ["pip", "python", "pip", "/opt/courier/bin/python"]
    for build in builds:
        words = [word.replace("/wheels", f"{tmp_path}/wheels") for word in build.words()]
        words = [word.replace("/opt/courier", str(target)) for word in words]
        if "pip" in words:
            # What it depends on is installed here already, and nothing is fetched.
            words += ["--no-deps"]
        command = [sys.executable, "-m", *words] if words[0] == "pip" else [sys.executable, *words[1:]]
        subprocess.run(command, cwd=tmp_path / "source", env=environment, check=True, capture_output=True, timeout=100)
    (entry,) = instructions("ENTRYPOINT")
    program = target / "bin" / entry.words()[0]
    environment["PYTHONPATH"] = sysconfig.get_path("purelib")
    shown = subprocess.run([program, "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert shown.stdout == f"courier {courier.__version__}\n"
    assert compiled_at_start(target / "bin" / "python", environment) == []
    # All that stands beside the modules came along: a page, a stylesheet.
    (installed,) = target.glob("lib/python3*/site-packages/courier")
    package = ROOT / "courier"
    expected = {str(p.relative_to(package)) for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert {str(p.relative_to(installed)) for p in installed.rglob("*") if p.suffix != ".pyc"} >= expected


def compiled_at_start(python: Path, environment: dict[str, str]) -> list[str]:
    """Return the files of Courier and of the libraries beside it that Python compiles when the program starts."""
    command = [str(python), "-v", "-c", "import courier.cli, courier.pipeline, courier.api.server"]
    environment = {**environment, "PYTHONDONTWRITEBYTECODE": "1"}
    shown = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=60, check=True)
    root = str(python.parents[1])
    compiled = re.findall(r"^# code object from '(.*\.py)'$", shown.stderr, re.MULTILINE)
    return [path for path in compiled if path.startswith(root)]


def test_the_standard_library_is_compiled_though_its_files_change_their_times(tmp_path: Path) -> None:
    (compile_library,) = [each.words() for each in instructions("RUN") if "/usr/local/lib/python3.*" in each.words()]
    library = tmp_path / "lib" / "python3.13"
    for name in ("json", "test"):
        (library / name).mkdir(parents=True)
    for name in ("json/__init__.py", "json/decoder.py", "test/__init__.py"):
        (library / name).write_text(f"name = {name!r}\n")
    words = [str(library) if word.startswith("/usr") else word for word in compile_library]
    subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True, timeout=60)
    assert sorted(path.parent.parent.name for path in library.rglob("*.pyc")) == ["json", "json"]
    for path in library.rglob("*.py"):
        path.write_text("raise SystemExit(1)\n")
    imported = f"import sys; sys.path.insert(0, {str(library)!r}); import json, json.decoder; print(json.name)"
    shown = subprocess.run([sys.executable, "-I", "-S", "-c", imported], capture_output=True, text=True, timeout=60)
    assert shown.stdout == "json/__init__.py\n"


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


def test_every_stage_is_of_one_python_that_can_be_pinned() -> None:
    assert [each.text for each in instructions("ARG")] == ["PYTHON=python:3.13-slim"]
    assert {each.text.split()[0] for each in instructions("FROM")} == {"${PYTHON}"}


def test_nothing_is_fetched_but_by_its_hash() -> None:
    fetching = [each.words() for each in instructions("RUN") if "pip" in each.words()]
    for words in fetching:
        held = "--require-hashes" in words and words[words.index("--only-binary") + 1] == ":all:"
        assert held or "--no-index" in words or {"--no-deps", "--no-build-isolation"} <= set(words), words
    assert {words[words.index("-r") + 1] for words in fetching if "-r" in words} == set(LOCKS)


def pins(lock: str) -> dict[str, tuple[str, list[str]]]:
    """Give version and hashes by name; all that the file has must be those."""
    text = (ROOT / lock).read_text()
    found = re.findall(r"^([a-z0-9-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    rest = text
    for name, version, hashes in found:
        rest = rest.replace(f"{name}=={version} \\\n{hashes}", "", 1)
    assert [line for line in rest.splitlines() if not line.startswith("#")] == []
    return {name: (version, re.findall(r"[0-9a-f]{64}", hashes)) for name, version, hashes in found}


def test_the_locks_have_all_that_is_required_and_name_no_place_to_fetch_it_from() -> None:
    for lock, requirements in ((LOCKS[0], required()), (LOCKS[1], build_required())):
        pinned = pins(lock)
        for requirement in map(Requirement, requirements):
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)][0]), requirement
        assert all(hashes for _, hashes in pinned.values())
        assert not re.search(r"//|\.org|index|https?:", (ROOT / lock).read_text())
    # Those with machine code have a wheel for each of the two machines.
    compiled = ("uvloop", "httptools", "orjson", "cryptography", "backports-zstd")
    assert {len(pins(LOCKS[0])[name][1]) for name in compiled} == {2}
    assert f"Python {python_of_the_image()} on" in (ROOT / LOCKS[0]).read_text()


def test_the_floors_are_the_oldest_releases_that_are_admitted() -> None:
    pinned = dict(pin.split("==") for pin in floors(required()))
    assert pinned["httptools"] == "0.6.4", "older ones frame differently"
    for requirement in map(Requirement, required()):
        assert requirement.specifier.contains(pinned[requirement.name])
    for admitted in ("a", "a == 1", "a >= 1, < 2"):
        with pytest.raises(SystemExit, match="NAME >= VERSION"):
            list(floors([admitted]))
