"""What a command on dead letters is to work on: the queue, which of its letters, and the log that knows reasons."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from courier.cli.dlq.filters import QUEUE, check_queue_argument, filter_of, role_of, usable_audit_path
from courier.cli.dlq.output import warn_of_policy
from courier.cli.one_queue import chosen_table, values_of
from courier.dlq.choice import Choice
from courier.dlq.session import find_queue
from courier.log import setup as logging
from courier.sqs.queue import QueueInfo


class Wanted(NamedTuple):
    """The queue, the choice of its letters, and the directory of the audit log, ``None`` without one."""

    queue: QueueInfo
    choice: Choice
    audit_path: Path | None


def find_wanted(
    name: str,
    queue_name: str,
    region: str | None,
    endpoint_url: str | None,
    audit_path: Path | None,
    values: Mapping[str, Any],
) -> Wanted:
    """Check the arguments of the command ``name``, find its queue, and say what a look at it leads to.

    ``values`` are those of the options that choose, and of the role. Raise ConfigError or CannotStart with the line to
    show.
    """
    context = click.get_current_context()
    values = {**values, "region": region, "endpoint_url": endpoint_url, "audit_path": audit_path}
    if table := chosen_table(context):
        values = values_of(context, table, values)
    region, endpoint_url = values["region"], values["endpoint_url"]
    check_queue_argument(queue_name, endpoint_url)
    wanted = filter_of(values)
    choice, audit_path = Choice(wanted), usable_audit_path(values["audit_path"], wanted, is_of_queue=table is not None)
    logging.configure("warning", "logfmt")
    queue = find_queue(queue_name, region, endpoint_url, QUEUE, role_of(values))
    warn_of_policy(name, queue)
    return Wanted(queue, choice, audit_path)
