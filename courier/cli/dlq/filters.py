"""The options by which several commands name a queue and choose dead letters, and the filter made from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from courier.cli.audit.output import require_audit_files
from courier.cli.dlq.output import say
from courier.cli.one_queue import name_option, names_of
from courier.cli.options import file_option, option, shared_options
from courier.config.checks import SQS_EXAMPLE, assumed_role, check_aws_url, check_queue_name
from courier.config.units import PATH
from courier.dlq.filter import EXAMPLES, Condition, Filter, compile_regex, parse_condition
from courier.errors import CannotStart, ConfigError
from courier.sqs.role import AssumedRole

QUEUE: Final = "QUEUE"
"""The name of the argument, for error lines."""


def queue_argument() -> click.Parameter:
    """Return the argument that names the queue.

    It is never the queue of the file of --config, which is the one that Courier delivers from.
    """
    return click.Argument(["queue_name"], metavar=QUEUE)


def service_options() -> list[click.Parameter]:
    """Return the options that say where SQS is and in which role it is called, and the file of --config, which may say
    it too. :func:`role_of` takes the values of the role."""
    return [
        *shared_options("region", "endpoint_url", "role_arn", "external_id", "role_session_name"),
        name_option(),
        file_option(),
    ]


def role_of(values: Mapping[str, Any]) -> AssumedRole | None:
    """Return the role of the options, ``None`` without one. Raise ConfigError if its parts don't fit together."""
    return assumed_role(values["role_arn"], values["external_id"], values["role_session_name"])


def filter_options() -> list[click.Parameter]:
    """Return the options that choose dead letters. :func:`filter_of` takes their values."""
    return [
        click.Option(
            ["--where", "-w"],
            metavar="CONDITION",
            multiple=True,
            help=f"Only dead letters that meet this: {EXAMPLES}. Repeat it for more conditions; all must hold.",
        ),
        click.Option(["--text"], metavar="TEXT", help="Only bodies that contain this text."),
        click.Option(["--regex", "-E"], metavar="REGEX", help="Only bodies that match this regular expression."),
        option(
            "--audit-path",
            "audit_path",
            PATH,
            None,
            "Directory of the audit log, for reasons that the messages don't have.",
            ("COURIER_AUDIT_PATH",),
        ),
    ]


def check_queue_argument(queue: str, endpoint_url: str | None) -> None:
    """Raise ConfigError if the argument can't be a queue."""
    check_queue_name(QUEUE, queue)
    if endpoint_url:
        check_aws_url("--endpoint-url", endpoint_url, SQS_EXAMPLE)


def usable_audit_path(path: Path | None, wanted: Filter, *, is_of_queue: bool = False) -> Path | None:
    """Return the directory of --audit-path. Raise CannotStart if it has no audit files, and was given here or is
    needed.

    With [[queue]] tables it must be that of one of them (``is_of_queue``). That of a variable or of the file of
    --config may be on another machine: then there is none, and a note says so. A condition on failures needs it: with
    all of them unknown, status!=404 would choose those of status 404 as well.
    """
    if path is None:
        return None
    context = click.get_current_context()
    source = context.get_parameter_source("audit_path")
    if (names := names_of(context)) and not is_of_queue and source is not ParameterSource.COMMANDLINE:
        line = f"each queue has its own; give --queue, one of {names}"
        if wanted.by_failure:
            raise ConfigError(f"--where: needs the reasons of the audit log, and {line}")
        say("dlq", f"no reasons from the audit log: {line}")
        return None
    try:
        require_audit_files(path)
    except CannotStart as error:
        if source is ParameterSource.COMMANDLINE:
            raise
        if wanted.by_failure:
            raise CannotStart(f"--where: needs the reasons of the audit log, and {error.reason}") from None
        say("dlq", f"no reasons from the audit log: {error.reason}")
        return None
    return path


def filter_of(values: Mapping[str, Any]) -> Filter:
    """Return the filter that the values of :func:`filter_options` mean; raise ConfigError, which names the option."""
    now = datetime.now(UTC)
    return Filter(
        conditions=tuple(_condition(text, now) for text in values["where"]),
        text=_text(values["text"]),
        regex=_regex(values["regex"]),
    )


def _condition(text: str, now: datetime) -> Condition:
    try:
        return parse_condition(text, now)
    except ValueError as error:
        raise ConfigError(f"--where: {error}") from None


def _text(text: str | None) -> bytes:
    if text == "":
        raise ConfigError("--text: is empty, and every body contains that; give a text, or leave it out")
    return os.fsencode(text or "")


def _regex(source: str | None) -> Any:
    try:
        return compile_regex(source) if source is not None else None
    except ValueError as error:
        raise ConfigError(f"--regex: {error}") from None
