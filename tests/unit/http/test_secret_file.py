from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from courier.errors import CannotStart
from courier.http.secret_file import MAX_BYTES, SecretFile


def word(text: str) -> str:
    if " " in text:
        raise ValueError("must hold one word")
    return text.strip()


def replace(path: Path, text: str) -> None:
    """Put another file in the place of one, as Kubernetes and careful writers do."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("first\n")
    return path


def test_a_file_that_changes_is_read_again(path: Path) -> None:
    secret = SecretFile("--x", path, word)
    assert secret.value == "first"
    replace(path, "other")
    secret.refresh()
    assert secret.value == "other"
    path.write_text("longer")
    secret.refresh()
    assert secret.value == "longer"


def test_a_file_of_the_same_time_and_size_in_its_place_is_seen(path: Path) -> None:
    secret = SecretFile("--x", path, word)
    before = path.stat()
    replace(path, "fir5t\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    secret.refresh()
    assert secret.value == "fir5t"


def test_a_file_that_stays_is_not_read_again(path: Path) -> None:
    read = []
    secret = SecretFile("--x", path, lambda text: read.append(text))
    for _ in range(3):
        secret.refresh()
    assert read == ["first\n"]


def test_what_is_not_right_later_is_told_once_without_the_secret_and_the_last_value_kept(path: Path) -> None:
    secret = SecretFile("--x", path, word)
    with capture_logs() as logs:
        replace(path, "hunter2 hunter3")
        secret.refresh()
        secret.refresh()
        path.unlink()
        secret.refresh()
        secret.refresh()
        assert secret.value == "first"
        path.write_text("back")
        secret.refresh()
    assert secret.value == "back"
    assert [entry["log_level"] for entry in logs] == ["warning", "warning", "info"]
    assert "--x" in logs[0]["reason"]
    assert "hunter" not in str(logs)


@pytest.mark.parametrize(
    ("content", "says"), [(b"a b", "must hold one word"), (b"\xff", "is not UTF-8"), (b"x" * (MAX_BYTES + 1), "longer")]
)
def test_what_is_not_right_at_the_start_is_one_line_that_names_option_and_file(
    path: Path, content: bytes, says: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(CannotStart, match=says) as refused:
        SecretFile("--x", path, word)
    assert str(refused.value).startswith(f"--x: {path} ")
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(CannotStart, match=f"--x: cannot read {path}: {reason}"):
            SecretFile("--x", path, word)
