from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.requirements import (
    LOCKS,
    MACHINES,
    PYTHONS,
    applies,
    build_required,
    floors,
    marked,
    python_of_the_image,
    required,
)
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
    assert PurePosixPath(image_environment()["COURIER_AUDIT_PATH"]).is_relative_to(volume.text)


def test_the_port_that_is_exposed_is_that_of_the_api() -> None:
    assert image_environment()["COURIER_API"] == f"0.0.0.0:{instructions('EXPOSE')[0].text}"


def test_only_what_is_built_from_gets_into_the_build() -> None:
    files = {str(path) for path in context()}
    assert {"setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE", "courier/__main__.py"} <= files
    assert set(LOCKS) <= files
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]
    assert {name.split("/")[0] for name in files if "/" in name} == {"courier"}


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
    entry = r"^([a-z0-9-]+)==(\S+)(?: ; [^\n\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)"
    text = (ROOT / lock).read_text()
    assert [line for line in re.sub(entry, "", text, flags=re.MULTILINE).splitlines() if not line.startswith("#")] == []
    found = re.findall(entry, text, re.MULTILINE)
    return {name: (version, re.findall(r"[0-9a-f]{64}", hashes)) for name, version, hashes in found}


def test_the_locks_have_all_that_is_required_and_name_no_place_to_fetch_it_from() -> None:
    for lock, requirements in ((LOCKS[0], required()), (LOCKS[1], build_required())):
        pinned = pins(lock)
        for requirement in map(Requirement, requirements):
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)][0]), requirement
        assert all(hashes for _, hashes in pinned.values())
        assert not re.search(r"//|\.org|index|https?:", (ROOT / lock).read_text())
    # Those with machine code have a wheel for each machine and Python.
    assert {len(pins(LOCKS[0])[name][1]) for name in ("uvloop", "httptools", "orjson")} == {
        len(MACHINES) * len(PYTHONS)
    }
    assert python_of_the_image() in PYTHONS
    classifiers = re.findall(r"Python :: (3\.\d+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert tuple(classifiers) == PYTHONS


def test_a_requirement_keeps_its_marker_in_the_lock() -> None:
    assert dict(marked(required())) == {"backports-zstd": 'python_version < "3.14"'}
    assert 'python_version < "3.14"' in (ROOT / LOCKS[0]).read_text()
    assert [applies('python_version < "3.14"', python) for python in PYTHONS] == [True, True, True, False]
    assert applies("", "3.14")
    with pytest.raises(SystemExit, match="a marker is written"):
        applies('sys_platform == "linux"', "3.13")


def test_the_floors_are_the_oldest_releases_that_are_admitted() -> None:
    pinned = dict(pin.split("==") for pin in floors(required()))
    assert pinned["httptools"] == "0.6.4", "older ones frame differently"
    for requirement in map(Requirement, required()):
        assert requirement.specifier.contains(pinned[requirement.name])
    for admitted in ("a", "a == 1", "a >= 1, < 2"):
        with pytest.raises(SystemExit, match="NAME >= VERSION"):
            list(floors([admitted]))
