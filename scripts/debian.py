"""The Debian package: ``make deb``. It is Courier's wheel and the wheels of the lock, in a place of their own.

``python -m scripts.debian TARGET``. The package is for one version of Python, by default that of Debian 13. The machine
that builds it needs debhelper, but not that Python; its C library must not be newer than that of the machines that
install it. The same source gives the same bytes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from email.utils import formatdate
from pathlib import Path
from typing import Final

import courier
from scripts.distributions import source_date
from scripts.requirements import PYTHONS, applies, python_of_the_image

ROOT: Final = Path(__file__).resolve().parents[1]
WHEELS: Final = ROOT / "build" / "wheels"
MAINTAINER: Final = "Courier maintainers <courier@packages.invalid>"
HOME: Final = Path("usr/lib/courier")
UNITS: Final = ("courier.service", "courier@.service", "system-courier.slice")
LAUNCHER: Final = f"""\
#!/{HOME}/bin/python
import sys

from courier.cli import main

sys.exit(main())
"""
ENVIRONMENT: Final = """\
home = /usr/bin
include-system-site-packages = false
version = {python}
"""
MOVED: Final = {
    "man": "usr/share/man",
    "bash-completion": "usr/share/bash-completion",
    "zsh/site-functions": "usr/share/zsh/vendor-completions",
    "fish": "usr/share/fish",
    "courier/docs": "usr/share/doc/courier/docs",
    "courier/deploy": "usr/share/doc/courier/deploy",
    "courier/README.md": "usr/share/doc/courier/README.md",
    "courier/CHANGELOG.md": "CHANGELOG.md",
}
"""Where what the wheel has below ``share`` belongs on Debian; the last one is packed by debhelper."""
CHANGELOG: Final = """\
courier ({version}-1) unstable; urgency=medium

  * New release; changelog.gz beside this file has the changes.

 -- {maintainer}  {date}
"""
_LOCKED: Final = re.compile(r"^(?P<pin>\S+)(?: ; (?P<marker>[^\\]*))? (?P<hashes>\\\n(?:    .*\n)+)", re.MULTILINE)
_PRERELEASE: Final = re.compile(r"(?<=\d)\.?(a|b|rc|dev)(?=\d)")


def debian_version(version: str) -> str:
    """Return a version so that dpkg sorts it as pip does: 0.2.0rc1 comes before 0.2.0."""
    return _PRERELEASE.sub(r"~\1", version)


def pins(python: str) -> str:
    """Return the lock for one version of Python. pip would apply the markers to the Python that it runs on."""
    locked = _LOCKED.finditer((ROOT / "requirements.lock").read_text())
    wanted = [each for each in locked if applies((each["marker"] or "").strip(), python)]
    return "".join(f"{each['pin']} {each['hashes']}" for each in wanted)


def download(directory: Path, python: str) -> list[Path]:
    """Return the wheels of the lock, downloaded once, for this machine and a version of Python."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [*_pip("download"), "--require-hashes", "--only-binary=:all:", f"--python-version={python}"]
    (directory / "requirements.lock").write_text(pins(python))
    command += [f"--dest={directory}", f"--requirement={directory / 'requirements.lock'}"]
    if subprocess.run(
        [*command, "--no-index", f"--find-links={directory}"], capture_output=True, check=False
    ).returncode:
        subprocess.run(command, check=True)
    return sorted(directory.glob("*.whl"))


def lay_out(root: Path, wheels: list[Path], python: str) -> None:
    """Write what the package installs below ``root``, as far as debhelper doesn't."""
    packages = root / HOME / "lib" / f"python{python}" / "site-packages"
    command = [*_pip("install"), "--no-index", "--no-deps", "--no-compile", "--only-binary=:all:"]
    # By name: of a wheel named by its path, pip notes the path.
    command += [f"--find-links={directory}" for directory in {wheel.parent for wheel in wheels}]
    command += [f"--python-version={python}", f"--target={packages}"]
    command += ["==".join(wheel.name.split("-")[:2]) for wheel in wheels]
    subprocess.run(command, check=True)
    for path in packages.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    # The commands of the libraries, and ours for the Python that ran pip.
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for name, place in MOVED.items():
        source = packages / "share" / name
        if source.exists():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            source.rename(root / place)
    shutil.rmtree(packages / "share", ignore_errors=True)
    binaries = root / HOME / "bin"
    binaries.mkdir()
    (binaries / "python").symlink_to(f"../../../bin/python{python}")
    (binaries / "courier").write_text(LAUNCHER)
    (binaries / "courier").chmod(0o755)
    (root / HOME / "pyvenv.cfg").write_text(ENVIRONMENT.format(python=python))
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/courier").symlink_to("../lib/courier/bin/courier")
    for directory, names, mode in (
        ("usr/lib/systemd/system", UNITS, 0o644),
        ("etc/courier", ("courier.toml", "courier.env"), 0o644),
    ):
        (root / directory).mkdir(parents=True)
        for name in names:
            shutil.copy(ROOT / "deploy" / "systemd" / name, root / directory / name)
            (root / directory / name).chmod(mode)


def prepare(tree: Path, wheels: list[Path], python: str, version: str, now: int) -> None:
    """Write the directory that dpkg-buildpackage works in."""
    debian = tree / "debian"
    shutil.copytree(ROOT / "deploy" / "debian", debian)
    major, minor = map(int, python.split("."))
    values = {
        "@MAINTAINER@": MAINTAINER,
        "@PYTHON@": f"python3 (>= {python}~), python3 (<< {major}.{minor + 1}~)",
        "@VERSION@": python,
    }
    for name in ("control", "courier.postinst"):
        text = (debian / name).read_text()
        for mark, value in values.items():
            text = text.replace(mark, value)
        (debian / name).write_text(text)
    date = formatdate(now)
    changelog = CHANGELOG.format(version=debian_version(version), maintainer=MAINTAINER, date=date)
    (debian / "changelog").write_text(changelog)
    for kind in ("sysusers", "tmpfiles"):
        shutil.copy(ROOT / "deploy" / "systemd" / f"courier.{kind}", debian)
    lay_out(tree / "root", wheels, python)
    if (tree / "root/CHANGELOG.md").exists():
        (tree / "root/CHANGELOG.md").rename(tree / "CHANGELOG.md")


def build(
    target: Path,
    wheels: list[Path],
    options: str = "",
    version: str = courier.__version__,
    python: str = "",
) -> Path:
    """Build the package of some wheels into ``target`` and return its path. ``options`` are those of dpkg-deb."""
    if shutil.which("dpkg-buildpackage") is None or shutil.which("dh") is None:
        raise SystemExit("make: dpkg-buildpackage or dh is missing; install them: apt-get install dpkg-dev debhelper")
    now = source_date(ROOT)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(now), "DEB_BUILDER_OPTIONS": options, "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / f"courier-{version}"
        tree.mkdir()
        prepare(tree, wheels, python or python_of_the_image(), version, now)
        command = ["dpkg-buildpackage", "--build=binary", "--no-sign", "--no-check-builddeps"]
        done = subprocess.run(
            command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{done.stdout}\nmake: the Debian package can't be built")
        (built,) = Path(directory).glob("courier_*.deb")
        target.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(built, target))


def _pip(command: str) -> list[str]:
    return [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check"]


def main(arguments: list[str]) -> None:
    """Build the package from the wheel in a directory, and put it there."""
    parser = argparse.ArgumentParser(prog="scripts.debian", description=__doc__)
    parser.add_argument("target", type=Path, help="directory that has Courier's wheel and gets the package")
    parser.add_argument("--python", choices=PYTHONS, default=python_of_the_image(), help="the distribution's Python")
    given = parser.parse_args(arguments)
    ours = given.target / f"courier-{courier.__version__}-py3-none-any.whl"
    if not ours.exists():
        raise SystemExit(f"make: {ours} is missing; make dist builds it")
    print(build(given.target, [ours, *download(WHEELS / given.python, given.python)], python=given.python))


if __name__ == "__main__":
    main(sys.argv[1:])
