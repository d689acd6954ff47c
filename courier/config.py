"""The configuration: every option of the pipeline, written once.

An option's value comes from the command line, else from its ``COURIER_`` variable, else from the TOML file of
``--config``, else from here. :mod:`courier.cli.options` reads the first two, :func:`read_file` the third.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from courier.errors import ConfigError
from courier.http.delivery_head import BARE, DEFAULT_TYPE, OFF, PREFIXED, media_type
from courier.http.guard import AddressGuard, Network, NetworkKind
from courier.http.head import header_name
from courier.http.header_rules import refusal
from courier.http.header_sets import SETS, SQSD
from courier.http.header_templates import HeaderLine, HeaderTemplate, Part, check_distinct
from courier.http.target import Target, parse_target
from courier.policy import DEFAULT_REJECT, DEFAULT_RETRY, DEFAULT_SUCCESS, Rules
from courier.presets import NO_PRESET, PRESETS
from courier.units import (
    Address,
    FilePath,
    Kind,
    OneOf,
    OrOff,
    PerSecond,
    Seconds,
    Share,
    Size,
    Statuses,
    Text,
    Whole,
    YesNo,
    parse_address,
    parse_statuses,
)

VARIABLE_PREFIX: Final = "COURIER_"
WEBHOOK_SECRET_VARIABLE: Final = f"{VARIABLE_PREFIX}WEBHOOK_SECRET"
_QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")
_STREAM_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LONGEST_VISIBILITY: Final = 43_200
_DAY: Final = 86_400
_AUDIT_PATH: Final = Path("audit")


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is given: its flag, what it takes, its help, and variables of other programs that count too.

    One that is ``repeated`` may be given several times; in its variable each value is a line, in the file it's a list.
    """

    flag: str
    kind: Kind
    help: str
    other_variables: tuple[str, ...] = ()
    repeated: bool = False

    @property
    def key(self) -> str:
        """The option's key in the TOML file."""
        return self.flag.removeprefix("--")

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that are read for it, the first one that is set and not empty."""
        return (VARIABLE_PREFIX + self.key.replace("-", "_").upper(), *self.other_variables)


def _option(
    default: Any,
    flag: str,
    kind: Kind,
    help_text: str,
    *other_variables: str,
    may_hold_secret: bool = False,
    repeated: bool = False,
) -> Any:
    described = Option(flag, kind, help_text, other_variables, repeated)
    return field(default=default, repr=not may_hold_secret, metadata={"option": described})


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the pipeline is told from outside; ConfigError where the values don't fit together."""

    queue: str = _option("", "--queue", Text(), "Name or URL of the SQS queue.", "AWS_SQS_QUEUE")
    queue_type: str = _option(
        "remote",
        "--queue-type",
        OneOf(("remote", "virtual", "nop")),
        "remote: SQS. virtual: a queue in memory, for trying out. nop: receive nothing.",
    )
    # The paths and queries of webhooks are keys at times.
    recipient_url: str = _option("", "--recipient-url", Text(), "URL to POST every message to.", may_hold_secret=True)
    preset: str = _option(
        NO_PRESET,
        "--preset",
        OneOf(tuple(PRESETS)),
        "sqsd: other defaults, under which an application for Elastic Beanstalk's worker tier runs unchanged.",
    )
    headers: str = _option(
        SQSD,
        "--headers",
        OneOf(tuple(SETS)),
        "What is told of a message in headers. sqsd: as aws-sqsd does. courier: by Courier-... names. none: nothing.",
    )
    header: tuple[HeaderTemplate, ...] = _option(
        (),
        "--header",
        HeaderLine(),
        "A header of your own, such as 'X-Queue: {queue}'; may be repeated.",
        may_hold_secret=True,
        repeated=True,
    )
    attribute_headers: str = _option(
        PREFIXED,
        "--attribute-headers",
        OneOf((PREFIXED, BARE, OFF)),
        "Message attributes as headers. prefixed: as --headers names them. bare: by their own names. none: not at all.",
    )
    content_type: str = _option(DEFAULT_TYPE, "--content-type", Text(), "Content type of the bodies.")
    content_type_attribute: str = _option(
        "", "--content-type-attribute", Text(), "Name of a message attribute that holds the content type."
    )
    receipt_header: str = _option(
        "",
        "--receipt-header",
        Text(),
        "Name of a header for the receipt handle, with which the recipient can delete the message.",
    )
    webhook_secret_file: tuple[Path, ...] = _option(
        (),
        "--webhook-secret-file",
        FilePath(),
        "File of secrets (whsec_..., whsk_...) to sign every request with, by Standard Webhooks; may be repeated.",
        repeated=True,
    )
    bearer_token_file: Path | None = _option(  # noqa: RUF009 (immutable)
        None, "--bearer-token-file", FilePath(), "File of the token to send as Authorization: Bearer."
    )
    basic_auth_file: Path | None = _option(  # noqa: RUF009 (immutable)
        None, "--basic-auth-file", FilePath(), "File of the user:password to send as Authorization: Basic."
    )
    client_cert: Path | None = _option(  # noqa: RUF009 (immutable)
        None, "--client-cert", FilePath(), "PEM file of the certificate to show to an https recipient."
    )
    client_key: Path | None = _option(  # noqa: RUF009 (immutable)
        None, "--client-key", FilePath(), "PEM file of its key, where --client-cert doesn't hold it."
    )
    ca_file: Path | None = _option(  # noqa: RUF009 (immutable)
        None, "--ca-file", FilePath(), "PEM file of whom an https recipient is trusted by, in place of the system's."
    )
    transport: str = _option(
        "native",
        "--transport",
        OneOf(("native", "requests")),
        "What carries the deliveries. requests: Python's requests, for proxies; it costs ten times the CPU.",
    )
    deny_private: bool = _option(
        False,
        "--deny-private",
        YesNo(),
        "Connect only to public addresses: to none that is private, loopback, link-local, or a form of such a one.",
    )
    allow_cidr: tuple[Network, ...] = _option(
        (),
        "--allow-cidr",
        NetworkKind(),
        "A network to connect to in spite of --deny-private, such as 10.1.0.0/16; may be repeated.",
        repeated=True,
    )
    consumers: int = _option(2, "--consumers", Whole(1, 256), "Processes that receive.")
    senders: int = _option(4, "--senders", Whole(1, 256), "Processes that deliver.")
    concurrency: int = _option(16, "--concurrency", Whole(1, 4096), "Deliveries in flight in each sender.")
    batch_size: int = _option(10, "--batch-size", Whole(1, 10), "Messages that one receive asks for, 1 to 10.")
    wait_time_seconds: int = _option(
        20,
        "--wait-time",
        Seconds(0, 20, whole=True),
        "Seconds that a receive waits for a message (long poll), 0 to 20.",
    )
    poll_interval_seconds: float = _option(
        0.0, "--poll-interval", Seconds(0, 3600), "Seconds between two receives of a consumer."
    )
    visibility_timeout_seconds: int = _option(
        30,
        "--visibility-timeout",
        Seconds(1, _LONGEST_VISIBILITY, whole=True),
        "Seconds for which SQS hides a received message; extended while it is held. 1 to 43200.",
    )
    region: str | None = _option(
        None, "--region", Text(), "AWS region; boto3's own choice where not given.", "AWS_REGION"
    )
    endpoint_url: str | None = _option(
        None, "--endpoint-url", Text(), "URL of another SQS API than that of AWS, such as http://127.0.0.1:9324."
    )
    audit: str = _option(
        "files",
        "--audit",
        OneOf(("files", "firehose", "none")),
        "Where every delivery is recorded, durably, before it is deleted: files, or a Firehose stream. none: nowhere.",
    )
    audit_path: Path = _option(_AUDIT_PATH, "--audit-path", FilePath(), "Directory of the audit files.")  # noqa: RUF009 (immutable)
    audit_max_bytes: int = _option(
        256 * 1024**2, "--audit-max-bytes", Size(4096, 1024**4), "Bytes after which a new audit file is begun."
    )
    audit_max_age_seconds: float = _option(
        3600.0, "--audit-max-age", Seconds(1, 366 * _DAY), "Seconds after which a new audit file is begun."
    )
    firehose_stream: str = _option(
        "", "--firehose-stream", Text(), "Name of the stream for --audit firehose.", "AWS_FIREHOSE_STREAM"
    )
    firehose_endpoint_url: str | None = _option(
        None, "--firehose-endpoint-url", Text(), "URL of another Firehose API than that of AWS, such as an emulator's."
    )
    audit_policy: str = _option(
        "required",
        "--audit-policy",
        OneOf(("required", "best-effort")),
        "required: delete nothing without its record. best-effort: delete what was delivered though the record failed.",
    )
    audit_format: str = _option(
        "json",
        "--audit-format",
        OneOf(("json", "text")),
        "json: a line of JSON a message. text: rows of message id and body, as trussle/courier wrote them.",
    )
    audit_body: str = _option(
        "full",
        "--audit-body",
        OneOf(("full", "sha256", "none")),
        "What a record keeps of the body: all of it, its SHA-256 and length, or nothing.",
    )
    backoff_base_seconds: float = _option(
        1.0,
        "--backoff-base",
        Seconds(0.001, _LONGEST_VISIBILITY),
        "Seconds of the first retry's longest delay; doubles with every receive.",
    )
    backoff_cap_seconds: float = _option(
        900.0, "--backoff-cap", Seconds(0.001, _LONGEST_VISIBILITY), "Seconds beyond which the delay doesn't grow."
    )
    success: str = _option(DEFAULT_SUCCESS, "--success", Statuses(), "Statuses that mean the message was delivered.")
    retry: str = _option(
        DEFAULT_RETRY,
        "--retry",
        Statuses(),
        "Statuses after which a message is tried again; so is one without an answer, or with a status on no list.",
    )
    reject: str = _option(
        DEFAULT_REJECT,
        "--reject",
        Statuses(),
        "Statuses after which a message isn't tried again, but goes to the failure queue where there is one.",
    )
    retry_delay_seconds: float | None = _option(
        None,
        "--retry-delay",
        OrOff(Seconds(0, _LONGEST_VISIBILITY)),
        "Seconds of every retry's delay, in place of back-off.",
    )
    failure_queue: str = _option("", "--failure-queue", Text(), "Name or URL of the queue for rejected messages.")
    max_receives: int = _option(
        0,
        "--max-receives",
        OrOff(Whole(0, 1000), 0),
        "Receives after which a failing message counts as rejected; 0 for never.",
    )
    reject_share: float = _option(
        0.5,
        "--reject-share",
        OrOff(Share(), 0.0),
        "Share of rejections that opens the circuit breaker rather than empty the queue; 0 for never.",
    )
    reject_window_seconds: float = _option(
        60.0, "--reject-window", Seconds(1, _DAY), "Seconds over which the share of rejections is counted."
    )
    breaker_threshold: int = _option(
        10,
        "--breaker-threshold",
        OrOff(Whole(0, 100_000), 0),
        "Connection errors, time-outs, 5xx and 429 in a row that open the circuit breaker; 0 for never.",
    )
    breaker_cool_down_seconds: float = _option(
        5.0, "--breaker-cool-down", Seconds(0.1, _DAY), "Seconds to the first probe; doubled after each that fails."
    )
    breaker_longest_cool_down_seconds: float = _option(
        60.0, "--breaker-longest-cool-down", Seconds(0.1, _DAY), "Seconds beyond which the cool-down doesn't grow."
    )
    rate_limit: float | None = _option(
        None, "--rate-limit", OrOff(PerSecond(1_000_000)), "Deliveries a second that the whole program starts at most."
    )
    max_in_flight: int | None = _option(
        None,
        "--max-in-flight",
        OrOff(Whole(1, 1_000_000)),
        "Deliveries that the whole program has under way at most.",
    )
    adaptive: bool = _option(
        False,
        "--adaptive",
        YesNo(),
        "Let the deliveries in flight follow the recipient's latency and push-back, from 1 to --concurrency.",
    )
    connect_timeout_seconds: float = _option(
        5.0, "--connect-timeout", Seconds(0.001, 3600), "Seconds for connecting to the recipient."
    )
    timeout_seconds: float = _option(
        30.0, "--timeout", Seconds(0.001, _LONGEST_VISIBILITY), "Seconds for a whole attempt, connecting included."
    )
    api: str = _option(
        "127.0.0.1:8080",
        "--api",
        Address(),
        "Where status and metrics are served, to everybody who can connect there. none: nowhere.",
    )
    drain_timeout_seconds: float = _option(
        30.0, "--drain-timeout", Seconds(0, _DAY), "Seconds for finishing what is under way at SIGTERM or SIGINT."
    )
    hang_timeout_seconds: float = _option(
        30.0, "--hang-timeout", Seconds(1, _DAY), "Seconds without a sign of life after which a worker is replaced."
    )
    log_level: str = _option(
        "info", "--log-level", OneOf(("debug", "info", "warning", "error")), "How much is logged, on stderr."
    )
    log_format: str = _option("logfmt", "--log-format", OneOf(("logfmt", "json")), "How it is written.")

    def __post_init__(self) -> None:
        """Check what no single option can know."""
        if self.queue_type == "remote":
            check_queue(self.queue, self.endpoint_url)
        elif self.endpoint_url:
            if self.queue_type == "nop":
                _refuse("--endpoint-url", "must be left out with --queue-type nop, which calls no SQS")
            _check_url("--endpoint-url", self.endpoint_url, "http://127.0.0.1:9324")
        _check_recipient(self.recipient_url)
        self._check_request()
        self._check_transport()
        if self.audit == "firehose":
            _check_stream(self.firehose_stream)
            if self.firehose_endpoint_url:
                _check_url("--firehose-endpoint-url", self.firehose_endpoint_url, "http://127.0.0.1:4566")
        if self.connect_timeout_seconds > self.timeout_seconds:
            _refuse(
                "--connect-timeout",
                f"{self.connect_timeout_seconds:g} s is longer than a whole attempt may take; "
                f"it must be at most --timeout ({self.timeout_seconds:g} s)",
            )
        if self.max_receives and not self.failure_queue:
            _refuse("--max-receives", "needs a --failure-queue to move messages to")
        if self.failure_queue and self.queue_type != "remote":
            # Only a remote one is looked up: what was rejected would be deleted, and go nowhere.
            _refuse(
                "--failure-queue", f"must be left out with --queue-type {self.queue_type}, which has no other queue"
            )
        if self.failure_queue and self.failure_queue == self.queue:
            _refuse("--failure-queue", "must be another queue than --queue")
        if self.breaker_cool_down_seconds > self.breaker_longest_cool_down_seconds:
            _refuse(
                "--breaker-cool-down",
                f"{self.breaker_cool_down_seconds:g} s must be at most --breaker-longest-cool-down "
                f"({self.breaker_longest_cool_down_seconds:g} s)",
            )
        if self.backoff_base_seconds > self.backoff_cap_seconds:
            _refuse(
                "--backoff-base",
                f"{self.backoff_base_seconds:g} s must be at most --backoff-cap ({self.backoff_cap_seconds:g} s)",
            )

    def _check_request(self) -> None:
        if media_type(self.content_type) is None:
            _refuse("--content-type", f"{self.content_type!r} must be a media type like application/json")
        if self.receipt_header and (reason := _no_name(self.receipt_header)):
            _refuse("--receipt-header", reason)
        for flag, headers in (("--header", self.header), ("--receipt-header", self.own_headers)):
            try:
                check_distinct(headers)
            except ValueError as error:
                _refuse(flag, str(error))
        if not self.rules.success:
            _refuse("--success", "must hold one status at least, like 200-299: else nothing is ever delivered")
        if self.bearer_token_file and self.basic_auth_file:
            _refuse("--basic-auth-file", "can't be given with --bearer-token-file: there is one Authorization header")
        if self.client_key and not self.client_cert:
            _refuse("--client-key", "needs the certificate that it is for; give --client-cert")
        if (self.client_cert or self.ca_file) and self.target.scheme != "https":
            flag = "--client-cert" if self.client_cert else "--ca-file"
            _refuse(flag, "is for a --recipient-url that begins with https://")

    def _check_transport(self) -> None:
        if self.allow_cidr and not self.deny_private:
            _refuse("--allow-cidr", "is an exception to --deny-private; without that, every address is connected to")
        try:
            proxy = self.proxy
        except ValueError as error:
            _refuse("--transport", f"requests: {error}")
        if proxy is not None and self.deny_private:
            _refuse(
                "--deny-private",
                f"can't be kept behind the proxy {proxy[0]}:{proxy[1]}, which connects to what Courier doesn't see; "
                "add the recipient to NO_PROXY, or leave it to the proxy to deny",
            )

    @property
    def proxy(self) -> tuple[str, int] | None:
        """Host and port of the proxy of the environment, where deliveries go through it. ValueError where none can."""
        if self.transport != "requests":
            return None
        # Imported here: requests takes long, and few want it.
        from courier.http.requests_environment import proxy_for

        proxy = proxy_for(self.target)
        return None if proxy is None else (proxy.host, proxy.port)

    @property
    def guard(self) -> AddressGuard | None:
        """Which addresses deliveries may go to; None for all."""
        return AddressGuard(self.allow_cidr) if self.deny_private else None

    @property
    def own_headers(self) -> tuple[HeaderTemplate, ...]:
        """The headers of the operator's own, with that of the receipt handle."""
        if not self.receipt_header:
            return self.header
        return (*self.header, HeaderTemplate(self.receipt_header, (Part("", "receipt"),)))

    @property
    def rules(self) -> Rules:
        """What each status means."""
        return Rules.of(*map(parse_statuses, (self.success, self.retry, self.reject)))

    @property
    def target(self) -> Target:
        """Where deliveries go."""
        return parse_target(self.recipient_url)

    @property
    def api_address(self) -> tuple[str, int] | None:
        """Host and port to serve status and metrics on; None for nowhere."""
        return parse_address(self.api)

    def told(self) -> dict[str, str | float]:
        """Return what differs from the defaults, for the log; only the host of the recipient: a path may be a key."""
        values = {name: getattr(self, name) for name in OPTIONS}
        values["recipient_url"] = origin(self.target)
        return {name: _told(value) for name, value in values.items() if value != DEFAULTS[name]}


def _no_name(name: str) -> str:
    """Say why this names no header of the operator's own; empty where it does."""
    if header_name(name) is None:
        return f"{name!r} must be the name of a header and nothing else, like X-Receipt: its value is the receipt"
    reason = refusal(name)
    return f"{name} {reason}" if reason else ""


def _told(value: Any) -> str | float:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return value if isinstance(value, (int, float)) else str(value)


def origin(target: Target) -> str:
    """Return the part of a target that is no secret: scheme, host and port."""
    return f"{target.scheme}://{target.host_header}"


OPTIONS: Final[Mapping[str, Option]] = {each.name: each.metadata["option"] for each in fields(Config)}
"""The options by the name of their field, in the order of the help."""

DEFAULTS: Final[Mapping[str, Any]] = {each.name: each.default for each in fields(Config) if each.default is not MISSING}


def read_file(path: Path) -> dict[str, Any]:
    """Read a TOML file of options: keys like the flags without dashes in front; returns values by field.

    The values are as TOML has them, to be converted like those of the command line. Raises ConfigError naming
    the file, and the nearest option for a key that is none.
    """
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        _refuse("--config", f"cannot read {path}: {error.strerror}; give a TOML file that can be read")
    except ValueError as error:
        # tomllib's own error is one, and so is what a number of thousands of digits ends in.
        _refuse("--config", f"{path} is not TOML: {' '.join(str(error).split())}")
    names = {option.key: name for name, option in OPTIONS.items()}
    values: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            raise ConfigError(f"{path}: there are no tables such as [{key}]; write each option as a line of its own")
        name = names.get(key.replace("_", "-"))
        if name is None:
            raise ConfigError(f"{path}: there is no option {key!r}; {_nearest(key, list(names))}")
        if reason := _misplaced(value, OPTIONS[name]):
            raise ConfigError(f"{path}: {key} must be {reason}")
        values[name] = value
    return values


def _misplaced(value: Any, option: Option) -> str:
    """Say what an option should be in the file where its value is of no such sort; empty where it is."""
    if option.repeated:
        right = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return "" if right else "a list of strings"
    if isinstance(option.kind, Statuses) and isinstance(value, list):
        return f'a string like "{",".join(map(str, value)) or "200-299"}"'
    if isinstance(value, bool):
        return "" if isinstance(option.kind, YesNo) else "a string or a number"
    return "" if isinstance(value, (str, int, float)) else "a string or a number"


def _nearest(key: str, keys: list[str]) -> str:
    near = get_close_matches(key.replace("_", "-"), keys, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else "courier --help lists them"


def service_manager() -> tuple[str, float]:
    """Return the address of the service manager's socket, and the period of its watchdog in seconds.

    As sd_notify(3) and sd_watchdog_enabled(3) read the environment: empty and 0 where there is none, or where the
    watchdog waits for another process.
    """
    period = os.environ.get("WATCHDOG_USEC", "")
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    seconds = int(period) / 1e6 if ours and period.isascii() and period.isdecimal() else 0.0
    return os.environ.get("NOTIFY_SOCKET", ""), seconds


def webhook_secrets() -> str:
    """Return the secrets that are given in a variable, for those who have no file to put them in."""
    return os.environ.get(WEBHOOK_SECRET_VARIABLE, "")


def environment_without_options() -> dict[str, str]:
    """Return the environment for a program that shall take nothing from it: without our variables and AWS's."""
    return {name: value for name, value in os.environ.items() if not name.startswith((VARIABLE_PREFIX, "AWS_"))}


def check_queue(queue: str, endpoint_url: str | None) -> None:
    """Raise ConfigError where a queue is missing, is neither name nor URL, or the endpoint is no URL."""
    if not queue:
        _refuse("--queue", "is missing; give the name or URL of the SQS queue (COURIER_QUEUE or AWS_SQS_QUEUE do too)")
    if "://" in queue:
        _check_url("--queue", queue, "https://sqs.eu-west-1.amazonaws.com/123456789012/orders")
    elif not _QUEUE_NAME.fullmatch(queue):
        _refuse(
            "--queue",
            f"{queue!r} must be a URL, or a name of up to 80 letters, digits, - and _ (and .fifo at the end)",
        )
    if endpoint_url:
        _check_url("--endpoint-url", endpoint_url, "http://127.0.0.1:9324")


def _check_url(flag: str, url: str, example: str) -> None:
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        right = False
    if not right:
        _refuse(flag, f"{url!r} must be a URL like {example}")


def _check_stream(name: str) -> None:
    if not name:
        _refuse(
            "--firehose-stream",
            "is missing; give the name of the Firehose stream (COURIER_FIREHOSE_STREAM or AWS_FIREHOSE_STREAM do too)",
        )
    if not _STREAM_NAME.fullmatch(name):
        _refuse(
            "--firehose-stream", f"{name!r} must be a name, not an ARN: up to 64 letters, digits, dots, hyphens and _"
        )


def _check_recipient(url: str) -> None:
    if not url:
        _refuse("--recipient-url", "is missing; give the URL to POST every message to (COURIER_RECIPIENT_URL does too)")
    try:
        parse_target(url)
    except ValueError as error:
        _refuse("--recipient-url", str(error))


def _refuse(flag: str, reason: str) -> NoReturn:
    raise ConfigError(f"{flag}: {reason}")
