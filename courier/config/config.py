"""The configuration: the options of all subjects in one value, and the checks across subjects.

An option's value comes from the command line, its ``COURIER_`` variable, the TOML file of ``--config``, or its default,
in this order. :mod:`courier.cli.options` reads the first two, :mod:`courier.config.loading` the third.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from courier.config.api import ApiConfig
from courier.config.audit import AuditConfig
from courier.config.checks import check_at_most, refuse
from courier.config.fetch import FetchConfig
from courier.config.formats import FormatsConfig
from courier.config.leaving import LeavingConfig
from courier.config.limits import LimitsConfig
from courier.config.option import Option
from courier.config.processes import ProcessesConfig
from courier.config.queue import QueueConfig
from courier.config.recipient import RecipientConfig, origin_of
from courier.config.routes import route_configs
from courier.config.security import SecurityConfig
from courier.config.sns import SnsConfig
from courier.http.secret_file import is_there
from courier.request.header_sets import CLOUDEVENTS


# The fields of the last base come first, so the bases stand in the reverse order of the help.
@dataclass(frozen=True, kw_only=True)
class Config(
    SecurityConfig,
    ApiConfig,
    LeavingConfig,
    ProcessesConfig,
    AuditConfig,
    LimitsConfig,
    FormatsConfig,
    SnsConfig,
    FetchConfig,
    RecipientConfig,
    QueueConfig,
):
    """The configuration of the pipeline. Raises ConfigError if the values don't fit together.

    ``sources`` says where each value came from, by field name; see :mod:`courier.config.sources`.
    """

    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check the values of each subject, then those that concern several subjects."""
        self._check_queue()
        self._check_recipient()
        self._check_body()
        self._check_formats()
        self._check_limits()
        self._check_audit()
        self._check_api()
        self._check_leaving()
        self._check_security()
        if (self.client_cert or self.ca_file) and self.recipient.scheme != "https":
            flag = "--client-cert" if self.client_cert else "--ca-file"
            refuse(flag, "is for a --recipient-url that begins with https://")
        if self.deny_private and self.proxy is not None:
            host, port = self.proxy
            refuse(
                "--deny-private",
                f"can't be kept behind the proxy {host}:{port}, which connects to what Courier doesn't see; "
                "add the recipient to NO_PROXY, or leave it to the proxy to deny",
            )
        if self.headers == CLOUDEVENTS and self.content_type.lower().startswith("application/cloudevents"):
            refuse("--content-type", "must be that of the data: with --headers cloudevents the event is in the headers")
        if self.failure_queue and self.queue_type != "remote":
            # Only SQS has other queues: a rejected message would be deleted without a trace.
            refuse("--failure-queue", f"must be left out with --queue-type {self.queue_type}, which has no other queue")
        if self.cron is not None and self.queue_type == "nop":
            refuse("--cron", "must be left out with --queue-type nop, which has no queue to put tasks into")
        if self.failure_queue and self.failure_queue == self.queue:
            refuse("--failure-queue", "must be another queue than --queue")
        if self.is_batched:
            self._check_batches()
        self.of_routes  # noqa: B018 (checks them)

    # Cached, so that workers don't make it again.
    @cached_property
    def of_routes(self) -> Sequence[Config]:
        """The configuration of each route, in the order of the file of --routes."""
        return route_configs(self)

    def _check_batches(self) -> None:
        check_at_most(
            "--batch-wait", self.batch_wait_seconds, "--visibility-timeout", float(self.visibility_timeout_seconds)
        )
        for header in self.header:
            if of_one := sorted(header.placeholders - {"queue"}):
                refuse(
                    "--header",
                    f"{header} holds {{{of_one[0]}}}, which belongs to one message; "
                    "with --format lambda a request holds several, so leave it out",
                )

    @property
    def recognises_duplicates(self) -> bool:
        """Whether messages are recognised that come again after their record was durable."""
        knows_records = self.audit == "files" and self.audit_policy == "required"
        return self.dedupe_window > 0 and knows_records and self.queue_type != "nop"

    def summary(self) -> dict[str, str | float]:
        """Return the options that differ from their defaults, without secrets, for the log and for ``/status``.

        Of the URLs of the recipient and the collector it has only scheme, host and port, because a path may be a key. A
        file of secrets is shown by its path only if the file exists: otherwise the value may be the secret itself.
        """
        values = {name: getattr(self, name) for name in OPTIONS}
        values["recipient_url"] = origin_of(self.recipient)
        values["traces"] = origin_of(self.collector) if self.collector else ""
        return {
            name: _summary_value(value, secret=OPTIONS[name].may_hold_secret)
            for name, value in values.items()
            if value != DEFAULTS[name]
        }


def _summary_value(value: Any, *, secret: bool) -> str | float:
    if isinstance(value, tuple):
        return ", ".join(str(_summary_value(item, secret=secret)) for item in value)
    if secret and isinstance(value, Path) and not is_there(value):
        return "(no such file)"
    return value if isinstance(value, (int, float)) else str(value)


_OPTIONS: Final = [each for each in fields(Config) if "option" in each.metadata]

OPTIONS: Final[Mapping[str, Option]] = {each.name: each.metadata["option"] for each in _OPTIONS}
"""The options by field name, in the order of the help."""

DEFAULTS: Final[Mapping[str, Any]] = {each.name: each.default for each in _OPTIONS}

GROUPS: Final = tuple(dict.fromkeys(option.group for option in OPTIONS.values()))
"""The subjects of the help, in its order. The most used options of a subject come first."""
