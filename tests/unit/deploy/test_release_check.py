"""make release-check: each thing that is missing for a release is named, with what to do about it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import pytest

from scripts.release_check import LOCK_DAYS, checks, main, steps
from tests.unit.deploy.files import ROOT

TODAY: Final = date.today()


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout of which nothing is missing."""
    (tmp_path / "courier").mkdir()
    (tmp_path / "courier" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-11-01\n\n- All.\n")
    (tmp_path / "SECURITY.md").write_text("| version | supported |\n|---|---|\n| 1.2 | yes |\n")
    (tmp_path / "CONTRIBUTING.md").write_text("## Releases\n\n1. Test\n   it.\n2. Tag it.\n")
    (tmp_path / "requirements.lock").write_text("click==8.2\n")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "All")
    return tmp_path


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / file
        path.write_text(path.read_text().replace(old, new))
        git(root, "commit", "-am", "Change")

    return change


def test_where_nothing_is_missing_the_steps_are_left(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(checkout) == 0
    shown = capsys.readouterr().out
    assert "FAIL" not in shown
    assert shown.endswith("Then:\n1. Test it.\n2. Tag it.\n")


@pytest.mark.parametrize(
    ("change", "to_do"),
    [
        (replace("courier/__init__.py", "1.2.3", "1.2"), "correct __version__"),
        (replace("courier/__init__.py", "1.2.3", "1.2.4"), f"name what is in [Unreleased] `## [1.2.4] - {TODAY}`"),
        (replace("CHANGELOG.md", "[Unreleased]\n", "[Unreleased]\n\n- More.\n"), "move what is in [Unreleased]"),
        (replace("CHANGELOG.md", " - 2026-11-01", ""), "name what is in [Unreleased]"),
        (replace("SECURITY.md", "1.2", "1.1"), "write | 1.2 | yes |"),
        (lambda root: (root / "new").write_text(""), "commit or remove: ?? new"),
        (lambda root: git(root, "tag", "v1.2.3"), "raise __version__: v1.2.3 exists"),
    ],
    ids=["version", "no section", "unreleased", "no date", "security", "uncommitted", "tag"],
)
def test_what_is_missing_is_named(
    checkout: Path, change: Callable[[Path], None], to_do: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(checkout)
    assert main(checkout) == 1
    shown = capsys.readouterr().out
    assert shown.count("FAIL") == 1
    assert f"to do: {to_do}" in shown


def test_an_old_lock_is_made_anew(checkout: Path) -> None:
    def missing(days: int) -> list[str]:
        return [check.to_do for check in checks(checkout, TODAY + timedelta(days=days)) if check.to_do]

    assert missing(LOCK_DAYS - 1) == []
    assert missing(LOCK_DAYS + 2) == ["run make lock, and commit its change"]


def test_without_git_it_says_so(checkout: Path) -> None:
    subprocess.run(["rm", "-rf", ".git"], cwd=checkout, check=True)
    to_do = [check.to_do for check in checks(checkout, TODAY)]
    assert any(each.startswith("run it in a git checkout: ") for each in to_do)


def test_where_git_is_not_installed_it_says_so(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    to_do = [check.to_do for check in checks(checkout, TODAY) if check.to_do]
    assert len(to_do) == 3
    assert all(each.startswith("install git") for each in to_do)


def test_the_steps_of_this_project_are_found() -> None:
    found = steps(ROOT)
    assert len(found) > 3
    assert found[0].startswith("1. `make test-full`")
