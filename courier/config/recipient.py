"""The options of the recipient: where deliveries go, and what a request looks like."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

from courier.config.checks import refuse
from courier.config.option import LONGEST_VISIBILITY, option
from courier.config.presets import NO_PRESET, PRESETS
from courier.config.units import ALLOWED_NAME, HEADER, TEXT, one_of, seconds, size
from courier.http.head import header_name
from courier.http.url import Url
from courier.http.url_parsing import read_url
from courier.request.head import BARE, DEFAULT_TYPE, OFF, PREFIXED, media_type
from courier.request.head_budget import DEFAULT_HEAD_BYTES, LEAST_HEAD_BYTES, MOST_HEAD_BYTES
from courier.request.header_rules import refusal
from courier.request.header_sets import SETS, SQSD
from courier.request.header_templates import HeaderTemplate, Part, check_distinct

_option = partial(option, "Recipient")


@dataclass(frozen=True, kw_only=True)
class RecipientConfig:
    """The options of the recipient."""

    # The path or query of a webhook URL is often a key.
    recipient_url: str = _option("", "--recipient-url", TEXT, "URL to POST every message to.", may_hold_secret=True)
    timeout_seconds: float = _option(
        30.0,
        "--timeout",
        seconds(0.001, LONGEST_VISIBILITY),
        "Time limit of one attempt.",
        "It runs from connecting to the end of the response.",
    )
    connect_timeout_seconds: float = _option(
        5.0,
        "--connect-timeout",
        seconds(0.001, 3600),
        "Time limit for connecting.",
        "It is a part of --timeout and must not exceed it.",
    )
    headers: str = _option(
        SQSD,
        "--headers",
        one_of(*SETS),
        "Set of headers that describe a message.",
        "sqsd: the headers that aws-sqsd sends. courier: Courier-... headers. cloudevents: each message is a "
        "CloudEvent. none: no headers.",
    )
    header: tuple[HeaderTemplate, ...] = _option(
        (),
        "--header",
        HEADER,
        "Header to add to every request; repeatable.",
        "For example 'X-Queue: {queue}'.",
        may_hold_secret=True,
        repeated=True,
    )
    content_type: str = _option(DEFAULT_TYPE, "--content-type", TEXT, "Content-Type sent.")
    content_type_attribute: str = _option(
        "",
        "--content-type-attribute",
        TEXT,
        "Message attribute that holds the Content-Type.",
        "A message without the attribute is sent with --content-type.",
    )
    attribute_headers: str = _option(
        PREFIXED,
        "--attribute-headers",
        one_of(PREFIXED, BARE, OFF),
        "How to send message attributes.",
        "prefixed: as headers with the prefix of --headers. bare: as headers under their own names. none: not at all.",
    )
    attribute_allow: tuple[str, ...] = _option(
        (),
        "--attribute-allow",
        ALLOWED_NAME,
        "Blocked attribute name to send anyway; repeatable.",
        "--attribute-headers bare drops attributes whose names a recipient may trust, such as X-User-Id.",
        repeated=True,
    )
    receipt_header: str = _option(
        "",
        "--receipt-header",
        TEXT,
        "Header that carries the receipt handle.",
        "With the receipt handle, the recipient can delete the message itself.",
    )
    max_header_bytes: int = _option(
        DEFAULT_HEAD_BYTES,
        "--max-header-bytes",
        size(LEAST_HEAD_BYTES, MOST_HEAD_BYTES),
        "Maximum size of the request head.",
        "The head is the request line and all headers. Courier leaves out the headers of a message that don't fit.",
    )
    preset: str = _option(
        NO_PRESET,
        "--preset",
        one_of(*PRESETS),
        "Defaults that suit a kind of recipient.",
        "sqsd: run an application for Elastic Beanstalk's worker tier unchanged.",
    )
    transport: str = _option(
        "native",
        "--transport",
        one_of("native", "requests"),
        "HTTP client.",
        "native: Courier's own. requests: Python's requests, which supports proxies and takes ten times the CPU.",
    )

    def _check_recipient(self) -> None:
        if not self.recipient_url:
            refuse("--recipient-url", "is missing; give the URL to POST every message to, or set COURIER_RECIPIENT_URL")
        try:
            read_url(self.recipient_url)
        except ValueError as error:
            refuse("--recipient-url", str(error))
        if media_type(self.content_type) is None:
            refuse("--content-type", f"{self.content_type!r} must be a media type like application/json")
        if self.attribute_allow and self.attribute_headers != BARE:
            refuse("--attribute-allow", f"needs --attribute-headers {BARE}; give both options, or neither")
        if self.receipt_header and (reason := _name_problem(self.receipt_header)):
            refuse("--receipt-header", reason)
        for flag, headers in (("--header", self.header), ("--receipt-header", self.own_headers)):
            try:
                check_distinct(headers)
            except ValueError as error:
                refuse(flag, str(error))
        try:
            self.proxy  # noqa: B018 (reads the environment)
        except ValueError as error:
            refuse("--transport", f"requests: {error}")
        if self.connect_timeout_seconds > self.timeout_seconds:
            refuse(
                "--connect-timeout",
                f"{self.connect_timeout_seconds:g} s is longer than a whole attempt may take; "
                f"it must be at most --timeout ({self.timeout_seconds:g} s)",
            )

    # Cached, so that workers don't parse it again.
    @cached_property
    def recipient(self) -> Url:
        """The URL that messages are delivered to."""
        return read_url(self.recipient_url)

    @property
    def proxy(self) -> tuple[str, int] | None:
        """Host and port of the environment's proxy, None if deliveries bypass it. Raises ValueError if unusable."""
        if self.transport != "requests":
            return None
        # Imported here, because requests takes long to import and is rarely used.
        from courier.http.requests.environment import proxy_for

        proxy = proxy_for(self.recipient)
        return None if proxy is None else (proxy.host, proxy.port)

    @property
    def own_headers(self) -> tuple[HeaderTemplate, ...]:
        """The operator's own headers, including that of the receipt handle."""
        if not self.receipt_header:
            return self.header
        return (*self.header, HeaderTemplate(self.receipt_header, (Part("", "receipt"),)))


def _name_problem(name: str) -> str:
    """Return why this isn't the name of an operator's own header; empty if it is."""
    if header_name(name) is None:
        return f"{name!r} must be the name of a header and nothing else, like X-Receipt: its value is the receipt"
    reason = refusal(name)
    return f"{name} {reason}" if reason else ""


def origin_of(url: Url) -> str:
    """Return the part of the recipient's URL that isn't secret: scheme, host and port."""
    return f"{url.scheme}://{url.host_header}"
