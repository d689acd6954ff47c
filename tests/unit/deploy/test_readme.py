"""What the README says: its commands are taken by the program, its options and links exist."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path

import click
import pytest

import courier
from courier import cli
from courier.config.config import OPTIONS, Config
from scripts.faults.ports import held_port
from tests.unit.deploy.documents import blocks

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def parse(arguments: list[str]) -> click.Context:
    """Parse as the program does, as far as the command's options, without running it."""
    group = cli.courier.make_context(cli.PROGRAM, arguments)
    name, command, rest = cli.courier.resolve_command(group, [*group._protected_args, *group.args])
    assert command is not None
    return command.make_context(name, rest, parent=group)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_commands_are_taken_by_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for words in (words for block in blocks(ROOT / "README.md") for words in block.commands()):
        if words[0] == "export":
            for name, _, value in (word.partition("=") for word in words[1:]):
                monkeypatch.setenv(name, value)
        elif words[0] == "make":
            assert set(words[1:]) <= targets()
        elif words[0] == "courier" and words[1:] != ["--version"]:
            context = parse([word for word in words[1:] if word != "&"])
            taken.append(context.info_name)
            if context.info_name in ("run", "check"):
                Config(**context.params)
    assert {"run", "check", "virtual", "harness"} <= set(taken)


@pytest.mark.timeout(400)
@pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl", "make"))), reason="needs bash, curl and make")
def test_every_block_works_when_all_are_pasted_into_one_shell(tmp_path: Path) -> None:
    """Those that need Docker or AWS are left out; what is installed is used in another directory in the end."""
    checkout, home = tmp_path / "checkout", tmp_path / "home"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__"))
    home.mkdir()
    made_before(checkout)
    dependencies = without_courier(tmp_path / "dependencies")
    script = "".join(block.text for block in blocks(ROOT / "README.md") if not block.needs)
    held = {port: held_port() for port in ("9324", "8081", "8080")}
    ports = {port: str(holder.getsockname()[1]) for port, holder in held.items()}
    script = re.sub(rf"\b({'|'.join(ports)})\b", lambda found: ports[found[1]], script)
    script += "cd ..\ncourier demo --messages 300\npython -c 'import courier; print(courier.__file__)'\n"
    environment = {
        "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
        "HOME": str(home),
        # There is one default port, and others may have it.
        "COURIER_API": f"127.0.0.1:{ports['8080']}",
        # Nothing is fetched: what Courier depends on lies here already.
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONPATH": str(dependencies),
    }
    shell = subprocess.Popen(
        ["bash", "-e", "-c", script],
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=300)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        for holder in held.values():
            holder.close()
    assert shell.returncode == 0, output[-4000:]
    assert "delivered 5000 audited 5000 deleted 5000 duplicates 0 lost 0" in output
    assert f"courier {courier.__version__}\n" in output
    assert "FAIL" not in output
    assert '{"ready":true}' in output
    assert "event=stopped" in output
    assert "delivered 300 audited 300 deleted 300 duplicates 0 lost 0" in output
    assert output.rstrip().endswith(f"{checkout}/courier-env/lib/python{PYTHON}/site-packages/courier/__init__.py")


def made_before(checkout: Path) -> None:
    """Let make find its virtual environment made already: this one."""
    (checkout / ".venv").mkdir()
    for name in ("bin", "lib"):
        (checkout / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", checkout / ".venv")
    for name in ("courier", "dist"):
        (checkout / ".venv" / f"{name}.stamp").touch()


def without_courier(directory: Path) -> Path:
    """Return a directory with all that is installed here but Courier."""
    directory.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "courier" not in path.name and path.suffix != ".pth":
            (directory / path.name).symlink_to(path)
    return directory


def test_every_option_and_command_that_is_named_is_there() -> None:
    known = {option.flag for option in OPTIONS.values()} | {"--config", "--help"}
    assert set(re.findall(r"`(--[a-z-]+)", README)) <= known
    assert set(re.findall(r"`courier ([a-z]+)", README)) <= set(cli.COMMANDS)


def test_it_is_two_screens_long() -> None:
    assert len(README.splitlines()) <= 140


def test_the_index_has_every_page_and_each_says_when_to_read_it() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == pages
    for page in sorted(pages):
        first = re.search(r"^# [^\n]+\n\n([^\n]+)", (ROOT / "docs" / page).read_text(), re.MULTILINE)
        assert first is not None
        assert first[1].startswith(("Read this when ", "Read this before ")), page


def test_every_link_leads_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert link.startswith("https://") or (document.parent / link).exists(), f"{document}: {link}"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert set(re.findall(r"^make ([a-z-]+)", shown, re.MULTILINE)) == targets()
    assert {"help", "demo", "test", "check", "clean"} <= targets()


def test_ci_runs_make_check() -> None:
    assert "exec make check" in (ROOT / ".ci" / "run").read_text()
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
