"""The file of --routes: what it may say, and what a route takes over from the options."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.config.config import Config
from courier.config.routes import MOST_ROUTES, RoutesFile, read_routes, route_options
from courier.errors import ConfigError

PAGE = Path(__file__).parents[3] / "docs" / "routes.md"
URL = "https://a.example/orders"


def write(path: Path, *routes: dict[str, Any]) -> Path:
    lines = []
    for route in routes:
        lines.append("[[route]]")
        lines += [f"{key} = {value}" for key, value in route.items()]
    path.write_text("\n".join(lines))
    return path


def route(name: str = '"a"', **options: str) -> dict[str, Any]:
    return {"name": name, "attribute": '"type"', "pattern": '"a*"', "url": f'"{URL}"', **options}


def config(file: Path, **options: Any) -> Config:
    return Config(queue="q", recipient_url="https://a.example/in", **(options | {"routes": read_routes(file)}))


def test_what_a_route_leaves_out_comes_from_the_options(tmp_path: Path) -> None:
    file = write(tmp_path / "r", route(timeout='"3s"', senders="2"), route('"b"'))
    found = config(file, timeout_seconds=7.0, concurrency=5, senders=3).of_routes
    assert [(each.timeout_seconds, each.senders, each.concurrency) for each in found] == [(3.0, 2, 5), (7.0, 3, 5)]
    assert [each.recipient_url for each in found] == [URL, URL]


def test_a_shorter_timeout_of_a_route_shortens_its_connect_timeout(tmp_path: Path) -> None:
    [found] = config(write(tmp_path / "r", route(timeout="1"))).of_routes
    assert (found.timeout_seconds, found.connect_timeout_seconds) == (1.0, 1.0)


@pytest.mark.parametrize("url", ["https://a.example:8443/in", "http://a.example/in", "https://b.example/in"])
def test_no_secret_of_one_recipient_goes_to_another_origin(tmp_path: Path, url: str) -> None:
    secret = tmp_path / "token"
    file = write(tmp_path / "r", route(), {**route('"b"'), "url": f'"{url}"'})
    same, other = config(file, bearer_token_file=secret, webhook_secret_file=(secret,)).of_routes
    assert (same.bearer_token_file, same.webhook_secret_file) == (secret, (secret,))
    assert (other.bearer_token_file, other.basic_auth_file, other.webhook_secret_file, other.header) == (
        None,
        None,
        (),
        (),
    )


def test_a_route_may_have_a_secret_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    file = write(tmp_path / "r", route(url='"https://b.example/"', bearer_token_file=f'"{secret}"'))
    [found] = config(file).of_routes
    assert found.bearer_token_file == secret


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"name": '"Orders"'}, "name must be"),
        ({"name": '"default"'}, "--recipient-url has it"),
        ({"url": '""'}, "url is missing"),
        ({"pattern": '""'}, "pattern must be"),
        ({"group": '"g"'}, "either attribute and pattern, or group"),
        ({"senders": "0"}, "senders: 0 must be a whole number"),
        ({"timeout": '"soon"'}, "timeout: 'soon' must be seconds"),
        ({"queue": '"other"'}, "'queue' isn't an option of a route"),
        ({"failure-queue": '"other"'}, "'failure-queue' isn't an option of a route"),
        ({"header": '"X: y"'}, "header: must be a list"),
    ],
)
def test_what_is_wrong_in_a_route_is_said_with_its_name(tmp_path: Path, broken: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=f"route .*: .*{re.escape(said)}"):
        read_routes(write(tmp_path / "r", route(**broken)))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"url": '"ftp://x/"'}, "url"),
        ({"connect-timeout": "99"}, "connect-timeout"),
        ({"backoff-base": "9999"}, "backoff-base"),
    ],
)
def test_options_that_dont_fit_together_name_the_route_too(tmp_path: Path, broken: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=f"--routes: .*route a: .*{said}"):
        config(write(tmp_path / "r", route(**{"timeout": "5", "backoff-cap": "60", **broken})))


def test_two_routes_of_one_name_and_too_many_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another route has it"):
        read_routes(write(tmp_path / "r", route(), route()))
    many = [route(f'"r{n}"') for n in range(MOST_ROUTES + 1)]
    assert len(read_routes(write(tmp_path / "r", *many[:-1])).routes) == MOST_ROUTES
    with pytest.raises(ValueError, match=f"1 to {MOST_ROUTES} routes"):
        read_routes(write(tmp_path / "r", *many))


def test_a_fifo_and_a_missing_file_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path / "none", tmp_path):
        with pytest.raises(ValueError, match=r"cannot read .*; give a readable TOML file"):
            read_routes(path)


def test_a_link_is_followed_because_kubernetes_provides_files_that_way(tmp_path: Path) -> None:
    write(tmp_path / "r", route())
    (tmp_path / "link").symlink_to(tmp_path / "r")
    assert read_routes(tmp_path / "link") == read_routes(tmp_path / "r")


def test_neither_the_summary_nor_the_errors_show_a_url(tmp_path: Path) -> None:
    found = config(write(tmp_path / "r", route(url='"https://a.example/secret"')))
    assert found.summary()["routes"] == str(tmp_path / "r")
    assert "secret" not in repr(found)


def test_the_example_of_the_page_is_valid_and_the_page_names_no_option_that_isnt_one(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "r").write_text(example)
    assert [each.name for each in read_routes(tmp_path / "r").routes] == ["orders", "mails"]
    assert {"timeout", "rate-limit", "header", "success", "bearer-token-file"} <= set(route_options())
    assert not {"preset", "transport", "failure-queue", "recipient-url", "queue", "routes"} & set(route_options())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_table_is_a_route_or_is_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path, lines = tmp_path_factory.mktemp("routes") / "r", list[str]()
    for key in ("name", "attribute", "pattern", "group", "url", "senders", "timeout", "header", "rate-limit"):
        write(path, {**route(), key: _toml(value)})
        try:
            tomllib.loads(path.read_text())
        except tomllib.TOMLDecodeError:
            continue
        try:
            assert isinstance(read_routes(path), RoutesFile)
        except ValueError as error:
            lines.append(str(error))
    assert all(line and "\n" not in line.replace(repr(value), "") for line in lines)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else '"' + "".join(f"\\U{ord(c):08x}" for c in value or "") + '"'
