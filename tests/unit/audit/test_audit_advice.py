from __future__ import annotations

import errno
import os
import re

import pytest

from courier.audit.advice import BY_ERRNO, OTHERWISE, advice
from courier.config.config import OPTIONS

POSIX = (
    *("EACCES", "EDQUOT", "EEXIST", "EFBIG", "EINTR", "EINVAL", "EIO", "EISDIR", "ELOOP", "EMFILE", "ENAMETOOLONG"),
    *("ENFILE", "ENODEV", "ENOENT", "ENOLCK", "ENOMEM", "ENOSPC", "ENOTDIR", "ENXIO", "EOPNOTSUPP", "EPERM", "EROFS"),
    *("ESTALE", "ETIMEDOUT", "ETXTBSY"),
)
"""What open(2), write(2), fdatasync(2), flock(2) and unlink(2) list, but for what only a bug of ours can cause."""


@pytest.mark.parametrize("name", POSIX)
def test_each_error_of_a_disk_says_what_can_be_done(name: str) -> None:
    number = getattr(errno, name)
    assert advice(OSError(number, os.strerror(number)))


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EROFS", "EIO", "EACCES", "EPERM", "ENOENT", "ESTALE", "EMFILE"])
def test_those_of_a_failing_disk_have_advice_of_their_own(name: str) -> None:
    assert advice(OSError(getattr(errno, name), "")) not in ("", OTHERWISE)


def test_an_error_without_a_number_has_advice_too() -> None:
    assert advice(OSError("no number")) == OTHERWISE


def test_advice_names_only_options_that_there_are() -> None:
    flags = {option.flag for option in OPTIONS.values()}
    for text in (*BY_ERRNO.values(), OTHERWISE):
        assert set(re.findall(r"--[a-z-]+", text)) <= flags
