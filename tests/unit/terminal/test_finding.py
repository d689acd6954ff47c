"""Where a command finds the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from courier.errors import ConfigError
from courier.terminal.finding import find_api, find_control


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:9", "http://127.0.0.1:9"),
        ("[::]:9", "http://[::1]:9"),
        ("[fe80::1]:9", "http://[fe80::1]:9"),
        ("localhost:8080", "http://localhost:8080"),
        ("https://courier.example/one/", "https://courier.example:443/one"),
    ],
)
def test_a_url_or_the_value_of_api(given: str, url: str) -> None:
    assert find_api(given).url == url


@pytest.mark.parametrize("given", ["", "ftp://x", "http://", "http://user:secret@host", "a b", "host:99999"])
def test_anything_else_is_refused_without_being_repeated(given: str) -> None:
    with pytest.raises(ConfigError, match=r"^--url: must be a URL like http://127.0.0.1:8080$"):
        find_api(given)


def test_no_api_is_said_so() -> None:
    with pytest.raises(ConfigError, match="nothing is served; start Courier with --api"):
        find_api("none")


def test_the_control_socket_is_the_one_given_or_one_that_is_there(tmp_path: Path) -> None:
    assert find_control("/a/b", None) == Path("/a/b")
    assert find_control("none", str(tmp_path)) is None
    assert find_control(None, str(tmp_path)) is None
    (tmp_path / "control.sock").touch()
    assert find_control(None, f"{tmp_path}:/other") == tmp_path / "control.sock"
