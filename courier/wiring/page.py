"""What the live page needs to act: the token of ``--page-control``, and the control socket."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from courier.api.token import parse_token
from courier.config.config import Config
from courier.control_client import ask
from courier.errors import CannotStart
from courier.http.secret_file import SecretFile
from courier.wiring.control import control_path

if TYPE_CHECKING:
    from courier.api.page_control import PageControl


def page_token(config: Config) -> SecretFile[str] | None:
    """Return the token with which the page may act; ``None`` if it only reads.

    Raise CannotStart if the file can't be used, or if there is no control socket.
    """
    if config.page_control is None:
        return None
    if control_path(config) is None:
        raise CannotStart("--page-control: there is no control socket for its acts; give --control PATH")
    return SecretFile("--page-control", config.page_control, parse_token)


def page_control(config: Config) -> PageControl | None:
    """Return the acts of the page, ``None`` for none; raise as :func:`page_token` does."""
    token, path = page_token(config), control_path(config)
    if token is None or path is None:
        return None
    # Imported here, in the process of the API, because it needs the web framework.
    from courier.api.page_control import PageControl

    return PageControl(token, partial(ask, path))
