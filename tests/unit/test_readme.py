"""What the README says: its commands are taken by the program, its options and links exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from courier import cli, errors
from courier.config import OPTIONS, Config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks() -> Iterator[list[str]]:
    for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        yield block.replace("\\\n", " ").splitlines()


def parse(arguments: list[str]) -> click.Context:
    """Parse as the program does, as far as the command's options, without running it."""
    group = cli.courier.make_context(cli.PROGRAM, arguments)
    name, command, rest = cli.courier.resolve_command(group, [*group._protected_args, *group.args])
    assert command is not None
    return command.make_context(name, rest, parent=group)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("lines", list(blocks()))
def test_the_commands_are_taken_by_the_program(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for line in lines:
        words = shlex.split(line)
        if words[0] == "export":
            for name, _, value in (word.partition("=") for word in words[1:]):
                monkeypatch.setenv(name, value)
        elif words[0] == "make":
            assert set(words[1:]) <= targets()
        else:
            assert words[0] == "courier" or words[:3] == ["python", "-m", "courier"], line
            context = parse(words[1:] if words[0] == "courier" else words[3:])
            if context.info_name in ("run", "check"):
                Config(**context.params)


def test_every_option_is_in_the_table_and_every_flag_exists() -> None:
    flags = {flag for flag in re.findall(r"`(--[a-z-]+)", README) if flag != "--help"}
    assert {option.flag for option in OPTIONS.values()} <= flags
    known = {option.flag for option in OPTIONS.values()} | {"--config"}
    assert flags <= known


def test_every_command_is_told() -> None:
    assert {name for name in cli.COMMANDS if name != "run"} <= set(re.findall(r"`courier ([a-z]+)`", README))


def test_every_exit_code_is_told() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert {int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)} == codes


def test_every_link_leads_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
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
