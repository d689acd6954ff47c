"""The configuration of a replay: that of the recipient as for run, and a queue and an audit log of its own."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from courier.config.body import BY_ATTRIBUTE, DECODE
from courier.config.config import DEFAULTS, OPTIONS, Config
from courier.http.url_parsing import read_url
from courier.local.embedded import LOCAL_REGION
from courier.local.virtual.account import ACCOUNT
from courier.request.header_templates import HeaderTemplate, Part
from courier.sqs.queue import QueueInfo

REPLAY_HEADER: Final = "Courier-Replay"

FAILURES: Final = "courier-replay-failures"

GROUPS: Final = frozenset({"Recipient", "Bodies", "Retries and limits", "Processes", "Security"})
"""The groups of options that a replay takes."""

SINGLE: Final = frozenset(
    {
        "queue",
        "region",
        "endpoint_url",
        "role_arn",
        "external_id",
        "role_session_name",
        "format",
        "batch_size",
        "batch_wait_seconds",
        "batch_item_failures",
        "log_level",
        "log_format",
        "audit_body",
        "audit_max_bytes",
        "audit_max_age_seconds",
        "audit_compress",
        "audit_sign_key",
    }
)
"""The options that it takes from other groups."""

LEFT_OUT: Final = frozenset({"failure_queue", "receipt_header"})
"""The options of those groups that it doesn't take: a failed record is still in the log that it comes from."""

OWN_DEFAULTS: Final[Mapping[str, Any]] = {"log_level": "warning", "max_receives": 5, "reject_share": 0.0}
"""The defaults of a replay that differ from those of run."""


def replay_options() -> list[str]:
    """Return the fields of the configuration that a replay takes, in the order of the help."""
    taken = [name for name, each in OPTIONS.items() if each.group in GROUPS or name in SINGLE]
    return [name for name in taken if name not in LEFT_OUT]


NO_RECIPIENT: Final[Mapping[str, Any]] = {
    "recipient_url": "https://queue.invalid/",
    **{name: DEFAULTS[name] for name in ("success", "retry", "reject", "transport", "format")},
    **{name: DEFAULTS[name] for name, each in OPTIONS.items() if each.group == "Bodies"},
}
"""The values for a replay into a queue, which has no recipient."""


def replay_values(
    values: Mapping[str, Any], given: Collection[str], run_id: str, directory: Path, *, into_queue: bool = False
) -> dict[str, Any]:
    """Return the values of a Config for the replay, from the values of its options.

    Everything that isn't about the recipient is fixed. So nothing of a run's own log is changed, archived or removed.
    """
    fixed = {name: DEFAULTS[name] for name in OPTIONS if name not in replay_options()}
    header = HeaderTemplate(REPLAY_HEADER, (Part(run_id, ""),))
    return {
        **fixed,
        **{name: values[name] for name in replay_options()},
        **{name: value for name, value in OWN_DEFAULTS.items() if name not in given},
        **(NO_RECIPIENT if into_queue else {}),
        "header": (*values["header"], header),
        "queue": values["queue"] or "courier",
        "queue_type": "remote",
        "failure_queue": FAILURES,
        "audit": "files",
        "audit_policy": "required",
        "audit_format": "json",
        "audit_path": directory,
        "api": "none",
        "page": "none",
    }


IN_RECORDS: Final = frozenset(
    {"message_id", "original_id", "group", "sent_at", "queue", "receive_count", "first_received_at"}
)
"""The placeholders of headers that a replay can fill."""


def left_out(config: Config) -> list[str]:
    """Return a line for each option that asks for what no record has: attributes, the sender, the receipt, a trace."""
    lines = [
        f"--header {header.name}: left out, since no record has {' and '.join(sorted(lacking))}"
        for header in config.header
        if (lacking := header.placeholders - IN_RECORDS)
    ]
    if config.content_type_attribute:
        lines.append("--content-type-attribute: no record has attributes; all are sent with --content-type")
    if DECODE in config.body_steps and config.decode == BY_ATTRIBUTE:
        lines.append(f"--body {DECODE}: no record has attributes; name the codings in --decode")
    return lines


def replay_queues(config: Config, *, fifo: bool) -> tuple[QueueInfo, QueueInfo]:
    """Return the queue that the records wait in, and the one for those that fail.

    Requests name the queue of the configuration. The names in the URLs are secrets. With ``fifo`` the messages of a
    group are sent one after another, in order.
    """
    name = config.queue.rpartition("/")[2]
    endpoint = read_url(f"http://127.0.0.1:{_free_port()}")

    def queue(shown: str, *, fifo: bool) -> QueueInfo:
        secret = f"replay-{secrets.token_hex(16)}{'.fifo' if fifo else ''}"
        return QueueInfo(
            url=f"http://{endpoint.host_header}/{ACCOUNT}/{secret}",
            name=shown,
            region=LOCAL_REGION,
            endpoint=endpoint,
            fifo=fifo,
            visibility_timeout=config.visibility_timeout_seconds,
        )

    return queue(name, fifo=fifo), queue(FAILURES, fifo=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
