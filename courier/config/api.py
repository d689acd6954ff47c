"""The options of the API and the log."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from courier.config.checks import check_collector, refuse
from courier.config.option import option
from courier.config.units import HOST_NAME, HOST_PORT, PATH, PATH_OR_NONE, SHARE, TEXT, one_of, parse_address
from courier.http.url import Url
from courier.http.url_parsing import read_url

TRACES_PATH: Final = "/v1/traces"
"""The path of traces below the address of a collector (OTLP 1.0, OTLP/HTTP Request)."""

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
    traces: str = _option(
        "",
        "--traces",
        TEXT,
        "OpenTelemetry collector to send traces to.",
        "It is a URL for OTLP over HTTP, such as http://127.0.0.1:4318, and needs pip install 'courier[otel]'. Each "
        "attempt is a span.",
        # A path may be a key.
        may_hold_secret=True,
    )
    traces_sample: float = _option(
        0.01,
        "--traces-sample",
        SHARE,
        "Share of messages to trace.",
        "It is for messages without a trace of their own: a producer's trace says itself whether it is sampled. "
        "Their failed attempts are always traced.",
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

        if self.traces:
            check_collector("--traces", self.traces)

    @property
    def collector(self) -> Url | None:
        """Where traces are sent; None if there are none."""
        if not self.traces:
            return None
        base = self.traces.rstrip("/")
        return read_url(base if base.endswith(TRACES_PATH) else base + TRACES_PATH)

    @property
    def api_address(self) -> tuple[str, int] | None:
        """Host and port of the API; None if there is no API."""
        return parse_address(self.api)
