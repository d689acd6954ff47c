"""The options of the API and the log."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from courier.config.checks import refuse
from courier.config.option import option
from courier.config.units import HOST_NAME, HOST_PORT, PATH, PATH_OR_NONE, one_of, parse_address

_option = partial(option, "API and logs")


@dataclass(frozen=True, kw_only=True)
class ApiConfig:
    """The options of the API and the log."""

    api: str = _option(
        "127.0.0.1:8080",
        "--api",
        HOST_PORT,
        "Address of the page and metrics.",
        "Everyone who can connect to the API can read them. none: no API.",
    )
    api_host: tuple[str, ...] = _option(
        (),
        "--api-host",
        HOST_NAME,
        "Host name that clients may use to reach the API; repeatable.",
        "For example courier.default.svc. IP addresses and localhost are always allowed.",
        repeated=True,
    )
    page: str = _option(
        "auto",
        "--page",
        one_of("auto", "none"),
        "Live page of the API, at /.",
        "none: the API has status and metrics only.",
    )
    control: Path | str | None = _option(  # noqa: RUF009 (immutable)
        None,
        "--control",
        PATH_OR_NONE,
        "Unix socket for courier pause, scale and others.",
        "By default it is control.sock in $RUNTIME_DIRECTORY, which systemd sets; without that variable there is no "
        "socket. The user and the group that own the socket can steer Courier. none: no socket.",
    )
    page_control: Path | None = _option(  # noqa: RUF009 (immutable)
        None,
        "--page-control",
        PATH,
        "File with the token that lets the page steer Courier.",
        "It needs the control socket. Without this option the page only reads.",
        may_hold_secret=True,
    )
    log_level: str = _option(
        "info", "--log-level", one_of("debug", "info", "warning", "error"), "Least severe level to log."
    )
    log_format: str = _option(
        "logfmt", "--log-format", one_of("logfmt", "json"), "Format of the log, which goes to stderr."
    )

    def _check_api(self) -> None:
        if self.page_control and (self.api_address is None or self.page == "none"):
            refuse("--page-control", "needs the live page; leave out --api none and --page none")

    @property
    def api_address(self) -> tuple[str, int] | None:
        """Host and port of the API; None if there is no API."""
        return parse_address(self.api)
