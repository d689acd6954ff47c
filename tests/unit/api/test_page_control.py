"""The acts of the live page: who may do them, what a request may hold, and what reaches the control socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from structlog.testing import capture_logs

from courier.api import page_control
from courier.api.head import MAX_BODY
from courier.api.page.document import document
from courier.api.page_control import LONGEST_REASON, PageControl, check_origin, parse_act
from courier.api.server import Page
from courier.api.token import parse_token
from courier.control_client import Unreachable
from courier.http.secret_file import SecretFile
from courier.process.pause import LONGEST_REASON as LONGEST_OF_THE_SOCKET
from tests.unit.api.test_server import (
    HEALTH,
    Address,
    Client,
    Serving,
    ask,
    board,  # noqa: F401
    serving,  # noqa: F401
)

TOKEN: Final = "0123456789abcdef"
HOST: Final = "127.0.0.1:8080"


class Socket:
    """What stands behind the control socket: it notes each request, and gives the answer that it has."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.answer: dict[str, Any] | Unreachable = {"ok": True, "text": "done"}

    def ask(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(fields)
        if isinstance(self.answer, Unreachable):
            raise self.answer
        return self.answer


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def page(socket: Socket, token_file: Path) -> Page:
    return Page(document(), PageControl(SecretFile("--page-control", token_file, parse_token), socket.ask))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_control, "WRONG_TOKEN_SECONDS", 0.0)


def post(fields: object, *, drop: str = "", path: str = "/control", body: bytes | None = None, **headers: str) -> bytes:
    """Make the request of the page, with other headers or without one of them."""
    body = json.dumps(fields).encode() if body is None else body
    own = {
        "Host": HOST,
        "Origin": f"http://{HOST}",
        "Sec-Fetch-Site": "same-origin",
        "Content-Type": "application/json",
        "Authorization": f"Bearer {TOKEN}",
        "Content-Length": str(len(body)),
    }
    own |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in own.items() if name != drop)]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def send(address: Address, request: bytes) -> tuple[int, Any]:
    status, body = await ask(address, request)
    return status, json.loads(body) if body else None


async def test_the_acts_of_the_page_reach_the_control_socket(serving: Serving, socket: Socket) -> None:  # noqa: F811
    async with serving() as address:
        for fields in ({"act": "pause", "reason": "deploying"}, {"act": "resume"}, {"act": "scale", "senders": 7}):
            assert await send(address, post(fields)) == (200, {"ok": True, "text": "done"})
        assert await send(address, post({"act": "probe", "reason": "it is back"})) == (200, socket.answer)
    assert socket.asked == [
        {"act": "pause", "reason": "deploying (from the live page, by 127.0.0.1)"},
        {"act": "resume"},
        {"act": "scale", "senders": 7},
        {"act": "probe"},
    ]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Authorization": f"Bearer {TOKEN}0"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": "Bearer ü"}, 401),
        ({"drop": "Authorization"}, 401),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8081"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": f"http://user@{HOST}"}, 403),
        ({"Origin": f"http://{HOST}/"}, 403),
        ({"drop": "Origin"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "none"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"drop": "Content-Type"}, 415),
        ({"body": b"{"}, 400),
        ({"body": b"[]"}, 400),
        ({"body": b'{"act":"drain"}'}, 400),
        ({"body": b'{"act":"kill","pid":1}'}, 400),
        ({"body": b'{"act":["pause"]}'}, 400),
        ({"body": b'{"act":"pause","senders":1}'}, 400),
        ({"body": b'{"act":"scale","senders":true}'}, 400),
        ({"body": b'{"act":"pause","reason":1}'}, 400),
        ({"body": json.dumps({"act": "pause", "reason": "x" * (LONGEST_REASON + 1)}).encode()}, 400),
        ({"body": b" " * (MAX_BODY + 1)}, 413),
        ({"path": "/status"}, 413),
        ({"path": "/control?"}, 413),
        ({"Content_Length": "5, 5"}, 413),
        ({"Content_Length": "+5"}, 413),
        ({"Transfer_Encoding": "chunked"}, 413),
    ],
    ids=str,
)
async def test_nobody_else_acts(
    serving: Serving,  # noqa: F811
    socket: Socket,
    change: dict[str, Any],
    status: int,
) -> None:
    async with serving() as address:
        assert (await send(address, post({"act": "pause"}, **change)))[0] == status
        assert await ask(address) == (200, b"{}")
    assert socket.asked == []


async def test_a_get_doesnt_act(serving: Serving, socket: Socket) -> None:  # noqa: F811
    async with serving() as address:
        request = post({"act": "pause"}, body=b"").replace(b"POST", b"GET")
        assert (await send(address, request))[0] == 405
    assert socket.asked == []


async def test_a_body_that_comes_byte_by_byte_is_read_and_no_byte_more(
    serving: Serving,  # noqa: F811
    socket: Socket,
) -> None:
    async with serving() as address:
        client = await Client.connect(address)
        for byte in post({"act": "resume"}):
            client.writer.write(bytes([byte]))
            await client.writer.drain()
        assert (await client.answer())[0] == 200
        # What comes after the body is no request, and ends the connection.
        client.writer.write(post({"act": "resume"}) + HEALTH)
        assert (await client.rest()).count(b"HTTP/1.1 200") == 1
    assert len(socket.asked) == 2


async def test_the_answer_of_the_socket_decides_the_status(serving: Serving, socket: Socket) -> None:  # noqa: F811
    async with serving() as address:
        socket.answer = {"ok": False, "error": "Courier is stopping"}
        assert await send(address, post({"act": "resume"})) == (409, socket.answer)
        socket.answer = Unreachable("no Courier listens")
        assert await send(address, post({"act": "resume"})) == (503, {"error": "no Courier listens"})


async def test_a_changed_token_counts_from_then_on_and_no_token_is_logged(
    serving: Serving,  # noqa: F811
    token_file: Path,
) -> None:
    with capture_logs() as logs:
        async with serving() as address:
            token_file.write_text("f" * 20)
            assert (await send(address, post({"act": "resume"})))[0] == 401
            assert (await send(address, post({"act": "resume"}, Authorization=f"bearer {'f' * 20}")))[0] == 200
    assert any(line["event"] == "refused an act from the live page" for line in logs)
    assert TOKEN not in str(logs)
    assert "f" * 20 not in str(logs)


async def test_without_the_option_there_is_no_route_and_no_body(board: Any) -> None:  # noqa: F811
    from courier.api.app import build_app
    from courier.api.status import Status
    from tests.unit.api.boards import observed
    from tests.unit.api.test_app import answer, dumps

    app = build_app(observed(board), Status(observed(board), {}), dumps)
    assert (await answer(app, "/control", "POST")).status == 404


@pytest.mark.parametrize("content", ["", "short", "x" * 257, "two words and more", "0123456789abcdéf", "a\nb" * 10])
def test_a_token_that_is_worth_nothing_is_refused_without_showing_it(content: str) -> None:
    with pytest.raises(ValueError, match="must hold one token") as refused:
        parse_token(content)
    assert not content or content not in str(refused.value)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=256))
def test_every_long_word_is_a_token(word: str) -> None:
    assert parse_token(f"\n{word}\r\n") == word


def refusal(check: Callable[[], object]) -> int:
    """Return the status with which a check refuses; 0 if it doesn't."""
    try:
        check()
    except HTTPException as refused:
        return refused.status_code
    return 0


JSON = st.recursive(st.none() | st.text(max_size=20), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(st.binary(max_size=300) | JSON.map(json.dumps).map(str.encode))
def test_any_body_that_is_no_act_is_refused(body: bytes) -> None:
    assert refusal(lambda: parse_act("application/json", body)) == 400


HOSTS = st.sampled_from(["127.0.0.1:8080", "LOCALHOST", "[::1]:8080", ""]) | st.text(max_size=20)


@given(st.sampled_from(["http://", "https://", "ftp://", "HTTP://", ""]) | st.text(max_size=9), HOSTS, HOSTS)
def test_only_the_own_origin_is_let_in(scheme: str, name: str, host: str) -> None:
    is_own = scheme.lower() in ("http://", "https://") and host != "" and name.lower() == host.lower()
    assert refusal(lambda: check_origin({"origin": scheme + name, "host": host})) == (0 if is_own else 403)


def test_a_reason_with_its_origin_fits_the_control_socket() -> None:
    longest = f"{'x' * LONGEST_REASON} (from the live page, by {'ffff:' * 7}255.255.255.255)"
    assert len(longest) <= LONGEST_OF_THE_SOCKET
