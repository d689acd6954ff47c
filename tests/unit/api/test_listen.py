"""Where the API listens, and the line where it can't."""

from __future__ import annotations

import socket

import pytest

from courier.api.listener import is_numeric, listen
from courier.errors import CannotStart


def test_port_0_is_any_that_is_free() -> None:
    with listen(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        assert (host, port > 0) == ("127.0.0.1", True)
        socket.create_connection((host, port), 5).close()


def test_a_port_in_use_is_said_in_one_line_that_names_the_option() -> None:
    with listen(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(CannotStart) as refused:
            listen(("127.0.0.1", port))
    assert str(refused.value) == (
        f"--api: cannot listen on 127.0.0.1:{port}: Address already in use; give another host:port, or --api none"
    )


def test_a_port_is_free_again_at_once_when_its_owner_is_gone() -> None:
    with listen(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), 5):
            accepted, _ = listener.accept()
            accepted.close()  # first, so that the port's own side is left in TIME_WAIT
    listen(("127.0.0.1", port)).close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".example", "192.0.2.1"])
def test_a_host_that_is_not_ours_or_none_names_the_option_too(host: str) -> None:
    with pytest.raises(CannotStart, match=r"^--api: cannot (resolve|listen on) ") as refused:
        listen((host, 0))
    assert "\n" not in str(refused.value)


def test_ipv6_is_written_in_brackets() -> None:
    with pytest.raises(CannotStart, match=r"\[2001:db8::1\]:1"):
        listen(("2001:db8::1", 1))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "2001:db8::1"])
def test_an_address_needs_no_name_server(host: str) -> None:
    assert is_numeric(host)


@pytest.mark.parametrize("host", ["localhost", "127.1", "1.2.3.4.example", "fe80::1%lo", "", "2130706433"])
def test_all_else_may_need_one(host: str) -> None:
    assert not is_numeric(host)
