"""What goes into the source distribution, the wheel and ``share``."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import click
import pytest

import courier
from courier import cli
from courier.config.config import OPTIONS
from scripts import distributions
from scripts.manual_pages import manual_pages
from scripts.write_share import shared_files
from tests.unit.deploy.files import ROOT

PAGES = manual_pages("2026-11-26")


def plain(page: str) -> str:
    return page.replace("\\-", "-").replace("\\fB", "").replace("\\fR", "").replace("\\fI", "")


def test_there_is_a_manual_page_for_the_program_and_each_command_and_they_refer_to_each_other() -> None:
    assert set(PAGES) == {"courier.1", *(f"courier-{name}.1" for name in cli.COMMANDS)}
    for name, page in PAGES.items():
        text = plain(page)
        assert f'"2026-11-26" "courier {courier.__version__}"' in text
        for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"):
            described = title == "EXIT STATUS" and "xit code" in text
            assert described or f".SH {title}\n" in text, (name, title)
    for name in cli.COMMANDS:
        assert f".BR courier-{name} (1)" in plain(PAGES["courier.1"])
        assert ".BR courier (1)" in plain(PAGES[f"courier-{name}.1"])


def test_the_manual_page_of_run_explains_every_option_with_its_variable_and_key() -> None:
    text = plain(PAGES["courier-run.1"])
    for option in OPTIONS.values():
        assert f"\n{option.flag} {option.kind.metavar}\n" in text
        assert f"Key: {option.key}." in text
        assert all(variable in text for variable in option.variables)


@pytest.mark.skipif(shutil.which("groff") is None or shutil.which("man") is None, reason="needs man and groff")
@pytest.mark.parametrize("name", ["courier.1", "courier-run.1", "courier-audit.1"])
def test_man_shows_a_page_without_a_warning(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(PAGES[name])
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "HOME": str(tmp_path)}
    command = ["man", "--warnings", "-l", str(tmp_path / name)]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert shown.stderr == ""
    assert shown.stdout.startswith(name.removesuffix(".1").upper() + "(1)")
    assert "\\" not in shown.stdout.replace("\\n", "").replace("\\r", "")


def test_texts_with_signs_of_roff_are_printed_as_they_are() -> None:
    page = click.Command("run", params=[], help=".TH 'x' \\fB -- ~ ^ \"\n\n'quoted' first")
    from scripts.manual_pages import _help

    assert _help(page) == "\\&.TH 'x' \\efB \\-\\- \\(ti \\(ha \\(dq\n.PP\n\\&'quoted' first\n"


def test_what_errors_and_alerts_name_is_in_share() -> None:
    files = shared_files(0.0)
    for name in ("deploy/iam/courier-consume.json", "docs/operating.md", "deploy/systemd/courier.service"):
        assert files[f"courier/{name}"] == (ROOT / name).read_bytes()
    assert {"man/man1/courier.1", "bash-completion/completions/courier", "zsh/site-functions/_courier"} <= set(files)


def test_the_date_of_the_source_is_given_or_that_of_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert distributions.source_date(tmp_path) == 1_700_000_000
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [0.2.0] - 2026-11-26\n\n## [0.1.0] - 2026-11-24\n")
    assert distributions.source_date(tmp_path) == 1_795_651_200
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n")
    with pytest.raises(SystemExit, match="SOURCE_DATE_EPOCH"):
        distributions.source_date(tmp_path)


def test_an_archive_tells_nothing_of_who_packed_it() -> None:
    def packed(order: list[str], uid: int, mode: int, now: float) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for name in order:
                member = tarfile.TarInfo(name)
                member.uid, member.uname, member.mode, member.mtime, member.size = uid, f"u{uid}", mode, now, 3
                archive.addfile(member, io.BytesIO(name.encode()[:3]))
        return out.getvalue()

    one = distributions._normal(packed(["abc", "xyz"], 0, 0o644, 1.0), 7)
    assert one == distributions._normal(packed(["xyz", "abc"], 1000, 0o600, 2.5), 7)
    with tarfile.open(fileobj=io.BytesIO(one)) as archive:
        assert [(each.name, each.mtime, each.mode, each.uname) for each in archive] == [
            ("abc", 7, 0o644, ""),
            ("xyz", 7, 0o644, ""),
        ]
