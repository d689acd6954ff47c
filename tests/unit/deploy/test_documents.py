"""Every document: the commands, targets, options and files that it names are there, and its blocks are shell."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import click
import pytest

from courier import cli
from courier.config.config import OPTIONS
from tests.unit.deploy.documents import DOCUMENTS, NEEDS, blocks, code
from tests.unit.deploy.files import ROOT

NOT_THERE = {"commands-that-are-not-there.md": {"audit"}, "from-trussle-courier.md": {"ingest"}}
"""Commands that a document says not to be there, or of which it says what stands in their place."""
PATHS = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in DOCUMENTS]


def within(group: click.Group, context: click.Context) -> list[click.Command]:
    """Return the commands of a group."""
    return list(filter(None, (group.get_command(context, name) for name in group.list_commands(context))))


def options() -> set[str]:
    """Return the options of all commands, and those of the programs under scripts/."""
    with click.Context(cli.courier) as context:
        commands = [cli.courier, *within(cli.courier, context)]
        commands += [
            each for group in commands[1:] if isinstance(group, click.Group) for each in within(group, context)
        ]
        found = {flag for each in commands for p in each.get_params(context) for flag in (*p.opts, *p.secondary_opts)}
    for script in (ROOT / "scripts").rglob("*.py"):
        found |= set(re.findall(r'"(--[a-z][a-z-]*)"', script.read_text()))
    return found | {option.flag for option in OPTIONS.values()} | {"--config"}


def targets() -> set[str]:
    text = (ROOT / "Makefile").read_text()
    (scenarios,) = re.findall(r"^SCENARIOS = (.*)$", text, re.MULTILINE)
    return set(re.findall(r"^([a-z-]+):", text, re.MULTILINE)) | {f"bench-{name}" for name in scenarios.split()}


@pytest.mark.parametrize("path", PATHS)
def test_every_command_and_every_target_that_is_named_is_there(path: Path) -> None:
    for text in code(path):
        for name in re.findall(r"(?:^|[;&|=]\s*|bin/|python3? -m )courier ([a-z][a-z-]*)\b(?![./=:])", text.strip()):
            assert name in {*cli.COMMANDS, *NOT_THERE.get(path.name, ())}, f"courier {name}"
        for line in re.findall(r"(?:^|[;&|]\s*)make ((?:[A-Z]+=\S+ )*[a-z][a-z-]*)(?![\w-])", text.strip()):
            assert line.split()[-1] in targets(), f"make {line}"


@pytest.mark.parametrize("path", PATHS)
def test_every_option_that_stands_alone_or_behind_courier_is_there(path: Path) -> None:
    known = options()
    for text in code(path):
        if re.match(r"\s*(--[a-z]|courier(?![\w-])|python3? -m courier\b)", text):
            ours = re.split(r"[;&|]", text)[0]
            assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*[a-z]", ours)) <= known, text


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("path", [each for each in PATHS if str(each.id).endswith(".md")])
def test_every_block_is_shell(path: Path) -> None:
    for block in blocks(path):
        assert not block.needs or block.needs in NEEDS
        checked = subprocess.run(
            ["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=60, check=False
        )
        assert checked.returncode == 0, f"{block.text}{checked.stderr}"


@pytest.mark.parametrize("path", PATHS)
def test_every_file_of_ours_that_is_named_is_there(path: Path) -> None:
    for text in code(path):
        for name in re.findall(r"(?<![\w./-])((?:deploy|docs|scripts|tests|courier)/[\w./-]*\w)", text):
            if "/" in name and not name.startswith("courier/audit") and path.name != "CHANGELOG.md":
                assert (ROOT / name).exists() or any(ROOT.glob(f"{name}*")), name


CALLED = ("systemctl", "systemd-sysusers", "systemd-tmpfiles", "systemd-creds", "make", "python3", "pip", "courier")
"""What the commands that install the unit call; what the system would do is only written down."""


def stub(directory: Path, name: str, text: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(stat.S_IRWXU)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_what_installs_the_unit_puts_every_file_where_the_unit_looks_for_it(tmp_path: Path) -> None:
    script = "".join(
        block.text
        for block in blocks(ROOT / "docs" / "systemd.md")
        if block.needs == "systemd" and "make deb" not in block.text
    )
    root, tools, home = tmp_path / "root", tmp_path / "tools", tmp_path / "home"
    for made in (root / "usr/local/bin", tools, home / ".aws"):
        made.mkdir(parents=True)
    (home / ".aws" / "credentials").write_text("[default]\n")
    # The wheel, the environment and pip have tests of their own. There is no group of that name here.
    for name in CALLED:
        stub(tools, name, f'echo "{name} $*" >>"{tmp_path}/called"')
    script = script.replace("/opt/courier/bin/pip", "pip").replace(" -g courier", "")
    script = re.sub(r"(?<=\s)/(opt|etc|usr)/", rf"{root}/\1/", script)
    ran = subprocess.run(
        ["bash", "-e"],
        input=script,
        cwd=ROOT,
        env={"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    put = {str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()}
    assert put == {
        "usr/lib/sysusers.d/courier.conf": 0o644,
        "usr/lib/tmpfiles.d/courier.conf": 0o644,
        "etc/courier/courier.toml": 0o640,
        "etc/courier/orders.toml": 0o640,
        "etc/systemd/system/courier.service": 0o644,
        "etc/systemd/system/courier@.service": 0o644,
        "etc/systemd/system/system-courier.slice": 0o644,
        "etc/credstore/courier.aws": 0o600,
    }
    unit = (root / "etc/systemd/system/courier.service").read_text()
    assert "--config /etc/courier/courier.toml\n" in unit
    assert "LoadCredential=courier.aws\n" in unit
    called = (tmp_path / "called").read_text().splitlines()
    assert called[0] == "make dist"
    assert any(line.startswith("pip install dist/courier-") for line in called)
    assert called.index("systemctl daemon-reload") < called.index("systemctl enable --now courier")


def test_each_release_in_the_changelog_has_each_heading_once_and_in_order() -> None:
    order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    for release in re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]:
        headings = re.findall(r"^### (.*)$", release, re.MULTILINE)
        assert headings == [name for name in order if name in headings], release.splitlines()[0]
