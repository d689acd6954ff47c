"""The document of the live page: what its policy admits, and what it doesn't contain."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import re
from configparser import ConfigParser
from pathlib import Path
from typing import Final

import pytest
from starlette.applications import Starlette

import courier
from courier.api.app import Live, build_app
from courier.api.events import Events
from courier.api.page.document import SCRIPTS, document
from courier.api.status import Status
from tests.unit.api.boards import observed, running_board
from tests.unit.api.test_app import ask, dumps

PACKAGE: Final = Path(courier.__file__).parent
PAGE: Final = PACKAGE / "api" / "page"
TEXT: Final = document().body.decode()


@pytest.fixture
def app() -> Starlette:
    board = running_board()
    status = Status(observed(board), {})
    return build_app(observed(board), status, dumps, Live(document(), Events(status.answer)))


def test_the_page_is_one_document_of_at_most_60_kb(app: Starlette) -> None:
    reply = ask(app, "/")
    assert (reply.status, reply.body) == (200, document().body)
    assert len(reply.body) <= 60_000
    assert ask(app, "/", "HEAD").status == 200
    assert ask(app, "/", "POST").status == 405


def test_the_policy_admits_nothing_but_its_own_style_and_script(app: Starlette) -> None:
    directives = dict(
        each.strip().split(" ", 1) for each in ask(app, "/").headers["content-security-policy"].split(";")
    )
    hashes = {}
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", TEXT, re.S)
        hashes[tag] = f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    assert directives == {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "style-src": hashes["style"],
        "script-src": hashes["script"],
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_no_other_site_learns_of_the_page_and_no_cache_keeps_it(app: Starlette) -> None:
    headers = ask(app, "/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["content-type"] == "text/html; charset=utf-8"


def test_the_page_names_no_other_host() -> None:
    names = set(re.findall(r"https?://[^\s\"'`>)]+", TEXT))
    assert names <= {"http://www.w3.org/2000/svg"}, "the namespace of SVG isn't fetched"
    # What it links to and asks for stands beside it: it may be the page of one queue of several.
    assert set(re.findall(r"\b(?:src|href)=\"(?!#|data:)([^\"]*)", TEXT)) == {"status", "metrics", "status/ready"}
    asked = re.findall(r"(?:fetch|EventSource|ask)\(\"([^\"]*)\"", TEXT)
    assert set(asked) == {"control", "events", "status", "status/samples"}


@pytest.mark.parametrize(
    "sink", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc", "style="]
)
def test_nothing_in_the_page_can_turn_data_into_markup_or_code(sink: str) -> None:
    assert sink not in TEXT


def test_the_page_has_no_handler_in_its_markup() -> None:
    markup = re.sub(r"<(style|script)>.*?</\1>", "", TEXT, flags=re.S)
    assert re.findall(r"\son[a-z]+=", markup) == []
    assert "{" not in markup, "a part wasn't filled in"


def test_every_id_that_the_script_asks_for_is_in_the_markup_once() -> None:
    markup, script = TEXT.split("<script>")
    wanted = set(re.findall(r"(?:\$|say)\(\"([a-z0-9-]+)\"", script))
    ids = re.findall(r"\bid=\"([^\"]+)\"", markup)
    assert len(wanted) > 20
    assert wanted - set(ids) == set()
    assert len(ids) == len(set(ids))


def test_each_part_of_the_page_is_used_and_is_in_the_wheel() -> None:
    assert sorted(path.stem for path in (PAGE / "script").iterdir()) == sorted(SCRIPTS)
    config = ConfigParser()
    config.read(PACKAGE.parent / "setup.cfg")
    globs = config["options.package_data"]["courier"].split()
    parts = [path for path in PAGE.rglob("*") if path.suffix in (".html", ".css", ".js")]
    assert len(parts) == len(SCRIPTS) + 2
    for path in parts:
        name = str(path.relative_to(PACKAGE))
        assert any(fnmatch.fnmatch(name, each) for each in globs), name


def test_without_the_page_there_are_no_events_either() -> None:
    board = running_board()
    app = build_app(observed(board), Status(observed(board), {}), dumps)
    assert {path: ask(app, path).status for path in ("/", "/events", "/status")} == {
        "/": 404,
        "/events": 404,
        "/status": 200,
    }
