from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
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


def test_a_path_that_leads_nowhere_is_not_repeated_since_it_may_be_the_secret(tmp_path: Path) -> None:
    for given in (tmp_path / "hunter2", tmp_path / "file" / "hunter2", Path("hunter2" * 100)):
        (tmp_path / "file").write_text("")
        with pytest.raises(CannotStart, match=r"--x: .*; give the path of a file") as refused:
            SecretFile("--x", given, word)
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("kind", ["a directory", "a FIFO", "a device or the like"])
def test_what_is_no_regular_file_is_refused_at_once_at_the_start_and_later(path: Path, kind: str) -> None:
    odd = path.with_name("odd")
    if kind == "a directory":
        odd.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(odd)  # which nobody writes to: to open it would take for ever
    else:
        odd.symlink_to("/dev/null")
    with pytest.raises(CannotStart, match=f"--x: cannot read {odd}: it is {kind}; give a regular file"):
        SecretFile("--x", odd, word)
    secret = SecretFile("--x", path, word)
    with capture_logs() as logs:
        path.unlink()
        odd.rename(path)
        secret.refresh()
    assert secret.value == "first"
    assert [kind in entry["reason"] for entry in logs] == [True]


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_file_that_every_user_can_read_is_told_of(path: Path, mode: int, told: bool) -> None:
    path.chmod(mode)
    exposure = SecretFile("--x", path, word).exposure
    assert (f"chmod o-rwx {path}" in exposure) is told
    assert not SecretFile("--x", path, word, secret=False).exposure
    path.chmod(0o600)
    secret = SecretFile("--x", path, word)
    with capture_logs() as logs:
        new = path.with_name("new")
        new.write_text("other")
        new.chmod(mode)
        os.replace(new, path)
        secret.refresh()
    assert secret.value == "other"
    assert [entry["event"] for entry in logs][1:] == ["unsafe file permissions"] * told


@contextmanager
def out_of_descriptors() -> Iterator[None]:
    """Let this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_secret_that_changes_while_descriptors_are_short_is_taken_over_as_soon_as_one_is_free(path: Path) -> None:
    secret = SecretFile("--x", path, word)
    replace(path, "second")
    with capture_logs() as logs, out_of_descriptors():
        for _ in range(100):
            secret.refresh()
    assert secret.value == "first"
    assert ["LimitNOFILE" in line["advice"] for line in logs] == [True]
    secret.refresh()
    assert secret.value == "second"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EACCES, errno.EMFILE, errno.ENOLINK])
@pytest.mark.parametrize("step", ["stat", "open", "fstat"])
def test_whatever_the_system_answers_the_last_value_stays_and_the_file_is_tried_again(
    path: Path, step: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    secret = SecretFile("--x", path, word)
    replace(path, "second")
    with capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(os, step, fails)
        for _ in range(100):
            secret.refresh()
    assert len(logs) <= 1
    secret.refresh()
    assert secret.value == "second"


def test_what_cannot_be_read_at_the_start_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fails)
        with pytest.raises(CannotStart, match=r"^--x: cannot read .*: Input/output error; "):
            SecretFile("--x", path, word)
