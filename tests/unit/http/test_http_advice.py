from __future__ import annotations

import socket
from pathlib import Path

import pytest

from courier.http.advice import BY_NAME_FAILURE, BY_SHORTAGE, name_failure
from courier.http.answer import NO_RESOLVER, RESOLVE, RESOLVER_FAILED, SHORTAGES


@pytest.fixture
def resolv_conf(tmp_path: Path) -> Path:
    path = tmp_path / "resolv.conf"
    path.write_text("# search example\nnameserver 192.0.2.53\n")
    return path


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (socket.EAI_NONAME, RESOLVE),
        (socket.EAI_NODATA, RESOLVE),
        (socket.EAI_ADDRFAMILY, RESOLVE),
        (socket.EAI_AGAIN, RESOLVER_FAILED),
        (socket.EAI_FAIL, RESOLVER_FAILED),
        (socket.EAI_SYSTEM, RESOLVER_FAILED),
    ],
)
def test_a_name_that_is_not_there_is_told_from_name_servers_that_fail(
    number: int, reason: str, resolv_conf: Path
) -> None:
    assert name_failure(socket.gaierror(number, "what the C library says"), resolv_conf) == reason


@pytest.mark.parametrize("text", ["", "# nameserver 192.0.2.53\n", "search example\n", None])
def test_a_machine_without_a_name_server_is_told_so(text: str | None, resolv_conf: Path) -> None:
    if text is None:
        resolv_conf.unlink()
    else:
        resolv_conf.write_text(text)
    assert name_failure(socket.gaierror(socket.EAI_AGAIN, ""), resolv_conf) == NO_RESOLVER


def test_what_is_no_name_at_all_is_not_resolved(resolv_conf: Path) -> None:
    assert name_failure(UnicodeError("label too long"), resolv_conf) == RESOLVE


def test_each_has_advice_of_its_own() -> None:
    assert set(BY_NAME_FAILURE) == {RESOLVE, RESOLVER_FAILED, NO_RESOLVER}
    assert set(BY_SHORTAGE) == set(SHORTAGES)
    assert len({*BY_NAME_FAILURE.values(), *BY_SHORTAGE.values()}) == 7
