"""Courier as a user installs it: a wheel in an environment of its own, for any Python, without an index."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import courier
from scripts import distributions

ROOT: Final = Path(__file__).parents[2]
WHEELS: Final = Path(sys.prefix) / "wheels"
"""Where ``make wheels`` puts the wheels of requirements.lock, in a directory for each Python."""
PYTHONS: Final = ("3.11", "3.13", "3.14")
_VERSION: Final = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_HEADING: Final = re.compile(r"^## \[(\d[^]]*)\]", re.MULTILINE)


class Installation:
    """An environment with Courier in it, on which nothing of the checkout can be found."""

    def __init__(self, directory: Path, python: str) -> None:
        self.directory = directory
        self._python = python

    def make(self, libraries: Installation | None = None) -> Installation:
        """Make the environment, with all that Courier depends on: from wheels, or where it lies in another one."""
        command = [f"python{self._python}", "-m", "venv", "--without-pip", str(self.directory)]
        subprocess.run(command, check=True, timeout=100)
        if libraries is None:
            self._pip("--require-hashes", "--requirement", str(ROOT / "requirements.lock"))
        else:
            # Looked through after the environment's own, so that its Courier counts.
            (self._packages / "libraries.pth").write_text(f"{libraries._packages}\n")
        return self

    def install(self, wheel: Path) -> None:
        """Install a wheel of Courier, in the place of the one that is there."""
        self._pip("--force-reinstall", str(wheel))

    @property
    def _packages(self) -> Path:
        return self.directory / "lib" / f"python{self._python}" / "site-packages"

    def run(self, *words: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment until it ends; its exit code must be 0."""
        done = self.ask(*words, cwd=cwd, **environ)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def ask(self, *words: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment until it ends."""
        environment = self.environment(HOME=str(cwd), **environ)
        return subprocess.run(
            words, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=100
        )

    def environment(self, **environ: str) -> dict[str, str]:
        """Return the variables of somebody who has activated the environment."""
        return {
            "PATH": f"{self.directory}/bin:/usr/bin:/bin",
            "HOME": str(self.directory),
            "LC_ALL": "C.UTF-8",
            **environ,
        }

    @property
    def program(self) -> tuple[str]:
        """The command that runs Courier."""
        return (str(self.directory / "bin" / "courier"),)

    def _pip(self, *arguments: str) -> None:
        # Compiling what a test never imports takes most of the time of an installation.
        command = [
            sys.executable,
            "-m",
            "pip",
            f"--python={self.directory}/bin/python",
            "install",
            "--quiet",
            "--no-deps",
        ]
        command += [
            "--no-index",
            f"--find-links={wheels_for(self._python)}",
            "--no-compile",
            "--disable-pip-version-check",
        ]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr


def wheels_for(python: str) -> Path:
    """Return the directory of the wheels for a Python. Skip the test if that isn't here, in CI fail it."""
    wheels = WHEELS / python
    if shutil.which(f"python{python}") is None or not _runs(python):
        pytest.skip(f"there is no Python {python}")
    if not any(wheels.glob("*.whl")):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "the wheels of the lock are missing: make wheels"
        )
    return wheels


def _runs(python: str) -> bool:
    done = subprocess.run([f"python{python}", "-c", "import venv"], capture_output=True, timeout=60)
    return done.returncode == 0


class Shared:
    """What is made once for all workers of a run of the tests, in a directory that they share."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def wheel(self, *, old: bool = False) -> Path:
        """Return the wheel of this source, or that of the version before."""
        name = "old-wheel" if old else "wheel"
        directory = self._once(name, _build_old if old else distributions.build)
        (wheel,) = directory.glob("*.whl")
        return wheel

    def installation(self, python: str, *, old: bool = False) -> Installation:
        """Return an environment in which the wheel of this source, or of the version before, is installed."""
        wheels_for(python)
        wheel = self.wheel(old=old)
        libraries = self.installation(python) if old else None
        name = f"{'old-' if old else ''}{python}"
        self._once(
            f"made-{name}", lambda _: Installation(self._directory / name, python).make(libraries).install(wheel)
        )
        return Installation(self._directory / name, python)

    def _once(self, name: str, make: Callable[[Path], object]) -> Path:
        directory = self._directory / name
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not directory.exists():
                part = self._directory / f"{name}.part"
                part.mkdir()
                make(part)
                part.rename(directory)
        return directory


def _build_old(target: Path) -> None:
    """Build the last release before this version; without a history, this source under the number of that release."""
    before = next(each for each in _HEADING.findall((ROOT / "CHANGELOG.md").read_text()) if each != courier.__version__)
    source = target / "source"
    source.mkdir()
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%H", f"-S## [{before}]", "--", "CHANGELOG.md"]
    asked = subprocess.run(command, capture_output=True, text=True)
    if asked.returncode == 0 and asked.stdout.strip():
        with subprocess.Popen(
            ["git", "-C", str(ROOT), "archive", asked.stdout.strip()], stdout=subprocess.PIPE
        ) as packed:
            subprocess.run(["tar", "-x", "-C", str(source)], stdin=packed.stdout, check=True, timeout=100)
    if _version(source) != before:
        shutil.rmtree(source)
        shutil.copytree(
            ROOT, source, ignore=shutil.ignore_patterns(".*", "tests", "docs", "build", "dist", "__pycache__")
        )
        init = source / "courier" / "__init__.py"
        init.write_text(_VERSION.sub(f'__version__ = "{before}"', init.read_text()))
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", f"--outdir={target}", str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=200)


def _version(source: Path) -> str:
    init = source / "courier" / "__init__.py"
    found = _VERSION.search(init.read_text()) if init.exists() else None
    return "" if found is None else found[1]
