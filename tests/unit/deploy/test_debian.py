"""deploy/debian: what the Debian package holds and what its scripts do; tests/process/test_debian.py installs it."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

import pytest

import courier
from scripts import debian
from scripts.requirements import PYTHONS, python_of_the_image
from scripts.write_share import shared_files
from tests.unit.deploy.files import DEPLOY, ROOT, unit
from tests.unit.deploy.tools import need

PLACE = DEPLOY / "debian"
SCRIPTS = ("courier.postinst", "courier.prerm", "courier.postrm")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("package"))


def built(directory: Path) -> Path:
    """Build the package without the libraries, which take most of the time."""
    need("dpkg-buildpackage", "dh")
    wheel = directory / f"courier-{courier.__version__}-py3-none-any.whl"
    metadata = f"courier-{courier.__version__}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in (ROOT / "courier").rglob("*.py"):
            archive.write(path, path.relative_to(ROOT))
        for name, content in shared_files(0).items():
            archive.writestr(f"courier-{courier.__version__}.data/data/share/{name}", content)
        archive.writestr(
            f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: courier\nVersion: {courier.__version__}\n"
        )
        archive.writestr(f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{metadata}/RECORD", "")
    return debian.build(directory, [wheel], "-Znone")


def shown(package: Path, *options: str) -> str:
    return subprocess.run(
        ["dpkg-deb", *options, package], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_the_package_depends_on_the_python_of_the_lock(package: Path) -> None:
    python = python_of_the_image()
    depends = shown(package, "--field").split("Depends: ")[1].split("\n")[0]
    following = f"3.{int(python.removeprefix('3.')) + 1}"
    assert f"python3 (>= {python}~), python3 (<< {following}~)" in depends
    assert "sysusers" in depends


def test_every_file_is_where_the_units_and_the_shells_look_for_it(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True, timeout=60)
    assert (tmp_path / "usr/bin/courier").resolve() == (tmp_path / "usr/lib/courier/bin/courier").resolve()
    assert (tmp_path / "usr/lib/courier/bin/python").readlink() == Path(f"../../../bin/python{python_of_the_image()}")
    for name in debian.UNITS:
        assert (tmp_path / "usr/lib/systemd/system" / name).read_text() == (DEPLOY / "systemd" / name).read_text()
    for kind in ("sysusers", "tmpfiles"):
        text = (tmp_path / f"usr/lib/{kind}.d/courier.conf").read_text()
        assert text == (DEPLOY / "systemd" / f"courier.{kind}").read_text()
    for path in (
        "share/man/man1/courier.1.gz",
        "share/man/man1/courier-status.1.gz",
        "share/bash-completion/completions/courier",
        "share/zsh/vendor-completions/_courier",
        "share/fish/vendor_completions.d/courier.fish",
        "share/doc/courier/docs/operating.md",
        "share/doc/courier/deploy/iam/courier-consume.json",
        "share/doc/courier/copyright",
        "share/doc/courier/changelog.gz",
    ):
        assert (tmp_path / "usr" / path).is_file(), path
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".pyc" or path.name == "tests"]


def test_the_configuration_is_kept_and_nothing_of_the_audit_log_belongs_to_the_package(package: Path) -> None:
    files = [line.split()[-1] for line in shown(package, "--contents").splitlines()]
    conffiles = subprocess.run(
        ["dpkg-deb", "--info", package, "conffiles"], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert sorted(conffiles) == ["/etc/courier/courier.env", "/etc/courier/courier.toml"]
    assert unit()["ExecStart"] == ["courier --config /etc/courier/courier.toml"]
    assert not [name for name in files if name.startswith(("./var", "./run"))]
    assert not re.search(r"\brm\b.*(/var|/etc|-r)", "".join((PLACE / name).read_text() for name in SCRIPTS))


@pytest.mark.full
def test_the_same_source_gives_the_same_bytes_in_another_directory(package: Path, tmp_path: Path) -> None:
    assert built(tmp_path).read_bytes() == package.read_bytes()


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_are_shell_and_end_at_the_first_error(name: str) -> None:
    text = (PLACE / name).read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "\nset -e\n" in text
    assert text.count("\n#DEBHELPER#\n") == 1
    subprocess.run(["sh", "-n", PLACE / name], check=True, timeout=60)


def test_an_upgrade_starts_every_service_that_ran_and_ends_well_if_one_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    called = tmp_path / "called"
    # The names of units have the escapes of systemd-escape, which are none for anybody else. One has been masked since.
    for name, body in (("py3compile", ""), ("systemctl", f'printf "%s\\n" "$@" >>{called}\n[ "$2" != start ]')):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    names = ["courier.service", r"courier@a\x2db.service", "courier@c.service"]
    (tmp_path / "run/courier-stopped").write_text("".join(f"{name}\n" for name in [*names, names[0]]))
    script = (PLACE / "courier.postinst").read_text().replace("/run/", f"{tmp_path}/run/")
    subprocess.run(
        ["sh", "-c", script, "postinst", "configure", "0.1.0-1"],
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        check=True,
        timeout=60,
    )
    assert [word for word in called.read_text().splitlines() if word.endswith(".service")] == names
    assert not (tmp_path / "run/courier-stopped").exists()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("0.2.0", "0.2.0"),
        ("1.0rc1", "1.0~rc1"),
        ("1.0.0b2", "1.0.0~b2"),
        ("1.0.dev3", "1.0~dev3"),
        ("1.0.post1", "1.0.post1"),
    ],
)
def test_a_version_is_sorted_by_dpkg_as_by_pip(ours: str, theirs: str) -> None:
    assert debian.debian_version(ours) == theirs


@pytest.mark.parametrize("python", PYTHONS)
def test_the_libraries_are_those_that_the_lock_has_for_a_python(python: str) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pins = debian.pins(python)
    names = re.findall(r"^(\S+)==", pins, re.MULTILINE)
    everything = re.findall(r"^(\S+)==", lock, re.MULTILINE)
    assert set(everything) - set(names) <= {"backports-zstd"}
    assert ("backports-zstd" in names) == (int(python.removeprefix("3.")) < 14)
    assert pins.count("--hash=sha256:") >= len(names)
    assert ";" not in pins


def test_the_licence_of_the_package_is_that_of_the_program() -> None:
    (_, text) = (PLACE / "copyright").read_text().split("License: Expat\n", 1)[1].split("License: Expat\n")
    said = " ".join(text.replace("\n .\n", "\n").split())
    assert said == " ".join((ROOT / "LICENSE").read_text().split("\n\n", 2)[2].split())
