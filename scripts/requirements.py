"""Courier's dependencies: ``floors`` prints the oldest releases that setup.cfg allows, ``lock`` writes both locks.

A lock has one release of each distribution, with the hashes of its wheels for each Python that Courier runs on, on
linux/amd64 and linux/arm64. The pip of the Dockerfile's Python chooses the releases, because pip applies markers to the
Python that it runs on; a requirement of setup.cfg keeps its marker. It uses pip's configured indexes, and the lock
doesn't mention them.
"""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = ("requirements.lock", "requirements-build.lock")
MACHINES: Final = ("x86_64", "aarch64")
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
NEWEST_GLIBC: Final = 41
"""Minor version of the glibc of Debian 13, which the image stands on."""
_NOT_WINDOWS: Final = 'sys_platform != "win32"'
_OLDER_PYTHON: Final = re.compile(r'python_version < "3\.(\d+)"')
HEAD: Final = """\
# {purpose}; for Python {first} to {last} on linux/amd64 and linux/arm64.
# Written by make lock.
"""


def required() -> list[str]:
    """Return the requirements of the program, as setup.cfg has them."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config["options"]["install_requires"].split("\n")[1:]


def floors(requirements: Iterable[str]) -> Iterator[str]:
    """Pin each requirement to the oldest release that it admits, for every Python."""
    for requirement in requirements:
        name, found, oldest = requirement.partition(";")[0].partition(">=")
        if not found or "," in oldest:
            raise SystemExit(f"setup.cfg: {requirement}: a floor is written NAME >= VERSION")
        yield f"{name.strip()}=={oldest.strip()}"


def build_required() -> list[str]:
    """Return what the wheel is built with, as pyproject.toml has it."""
    import tomllib

    system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    return [str(each) for each in system["requires"]]


def python_of_the_image() -> str:
    """Return the version of the Dockerfile's Python, as 3.13."""
    found = re.search(r"python:(3\.\d+)", (ROOT / "Dockerfile").read_text())
    if found is None:
        raise SystemExit("Dockerfile: no image of Python is named")
    return found[1]


def resolve(requirements: Iterable[str], pip: Path, machine: str, python: str = "") -> dict[str, tuple[str, str]]:
    """Let pip choose the releases for a machine; gives version and hash of each wheel by the name of its project.

    With ``python`` the requirements are all there is, and the wheels are those of that Python.
    """
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, 16, -1)]
    with tempfile.TemporaryDirectory() as nowhere:
        report = Path(nowhere) / "report.json"
        command = [str(pip), "install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
        command += [f"--target={nowhere}/target", f"--report={report}"]
        command += [f"--platform={each}" for each in (*platforms, f"manylinux2014_{machine}")]
        command += ["--no-deps", f"--python-version={python}"] if python else []
        subprocess.run([*command, *requirements], check=True)
        chosen = json.loads(report.read_text())["install"]
    found = {}
    for each in chosen:
        name = plain_name(each["metadata"]["name"])
        found[name] = each["metadata"]["version"], each["download_info"]["archive_info"]["hashes"]["sha256"]
    return found


def plain_name(name: str) -> str:
    """Return the name of a project as locks spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock(requirements: list[str], pip: Path) -> Iterator[str]:
    """Return the lines of a lock."""
    releases = {name: version for name, (version, _) in resolve(requirements, pip, MACHINES[0]).items()}
    markers = dict(marked(requirements))
    hashes: dict[str, set[str]] = {name: set() for name in releases}
    for python in PYTHONS:
        pins = [f"{name}=={version}" for name, version in releases.items() if applies(markers.get(name, ""), python)]
        for machine in MACHINES:
            for name, (_, found) in resolve(pins, pip, machine, python).items():
                hashes[name].add(found)
    for name, version in sorted(releases.items()):
        marker = f" ; {markers[name]}" if name in markers else ""
        lines = " \\\n".join(f"    --hash=sha256:{each}" for each in sorted(hashes[name]))
        yield f"{name}=={version}{marker} \\\n{lines}\n"


def marked(requirements: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Return the requirements that have a marker on the Python, by the name of the project."""
    for requirement in requirements:
        needed, found, marker = requirement.partition(";")
        if found and marker.strip() != _NOT_WINDOWS:
            yield plain_name(re.split(r"[ <>=]", needed)[0]), marker.strip()


def applies(marker: str, python: str) -> bool:
    """Tell whether a marker holds on a Python, given as 3.14. The only markers are those on older ones."""
    if not marker:
        return True
    found = _OLDER_PYTHON.fullmatch(marker)
    if found is None:
        raise SystemExit(f'setup.cfg: {marker}: a marker is written python_version < "3.14"')
    return int(python.partition(".")[2]) < int(found[1])


def write_locks() -> None:
    """Write both locks."""
    python = python_of_the_image()
    program, building = LOCKS
    with tempfile.TemporaryDirectory() as directory:
        interpreter = shutil.which(f"python{python}")
        if interpreter is None:
            raise SystemExit(f"the image's Python is {python}: install python{python}, with its venv module")
        subprocess.run([interpreter, "-m", "venv", directory], check=True)
        pip = Path(directory) / "bin" / "pip"
        for name, purpose, needed in (
            (program, "What the image runs with", required()),
            (building, "What the image's wheel is built with", build_required()),
        ):
            (ROOT / name).write_text(
                HEAD.format(purpose=purpose, first=PYTHONS[0], last=PYTHONS[-1]) + "".join(lock(needed, pip))
            )


def main(arguments: list[str]) -> None:
    """Run one of the two commands."""
    if arguments == ["floors"]:
        print("\n".join(floors(required())))
    elif arguments == ["lock"]:
        write_locks()
    else:
        raise SystemExit("usage: requirements.py floors | lock")


if __name__ == "__main__":
    main(sys.argv[1:])
