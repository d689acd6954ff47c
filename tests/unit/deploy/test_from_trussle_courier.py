"""docs/from-trussle-courier.md: it has all that the old program had, and names only what there is."""

from __future__ import annotations

import re
import shlex
from typing import Final, NamedTuple

import click
import pytest

from courier import cli
from courier.config.config import OPTIONS
from tests.unit.deploy.files import AWS_VARIABLES, ROOT

PAGE: Final = (ROOT / "docs" / "from-trussle-courier.md").read_text()
FLAGS: Final = (
    "debug",
    "api",
    "aws.ec2.role",
    "aws.id",
    "aws.secret",
    "aws.token",
    "aws.region",
    "aws.sqs.queue",
    "aws.firehose.stream",
    "queue",
    "auditlog",
    "auditlog.path",
    "filesystem",
    "recipient.url",
    "consumer.frequency",
    "num.consumers",
    "max.messages",
    "visibility.timeout",
    "metrics.registration",
)
METRICS: Final = (
    "connected_clients",
    "api_request_duration_seconds",
    "consumed_segments",
    "consumed_records",
    "replicated_segments",
    "replicated_records",
    "failed_segments",
    "failed_records",
)
URLS: Final = ("GET /status/health", "GET /status/ready", "GET /metrics", "GET /debug/pprof/", "POST /")


class Row(NamedTuple):
    """A row of a table; its column of what changes is left out."""

    there: str
    here: str
    test: str


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(title: str) -> list[Row]:
    lines = [line for line in section(title).splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [Row(each[0], each[1], each[-1]) for each in cells]


TABLES: Final = [title for title in re.findall(r"^## (.*)$", PAGE, re.MULTILINE) if "\n|---" in section(title)]


def known_flags() -> set[str]:
    flags = {option.flag for option in OPTIONS.values()}
    with click.Context(cli.courier) as context:
        harness = cli.courier.get_command(context, "harness")
        assert harness is not None
        return flags | {flag for each in harness.params for flag in (*each.opts, *each.secondary_opts)}


def test_every_flag_of_the_old_program_has_its_row_with_its_variable() -> None:
    told = {row.there for row in rows("Flags and variables of ingest")}
    assert told == {f"`-{flag}` `{flag.upper().replace('.', '_')}`" for flag in FLAGS}
    assert "`-broadcast` `BROADCAST`" in PAGE
    assert "`MODE`" in {row.there for row in rows("Commands")}


def test_every_metric_of_the_old_program_has_its_row() -> None:
    assert {row.there for row in rows("Metrics")} == {f"`{name}`" for name in METRICS}


def test_every_endpoint_of_the_old_program_has_its_row() -> None:
    told = {re.findall(r"`([^`]+)`", row.there)[0] for row in rows("URLs")}
    assert told == set(URLS)


@pytest.mark.parametrize("title", TABLES)
def test_what_stands_beside_it_is_there(title: str) -> None:
    metrics = (ROOT / "docs" / "metrics.md").read_text()
    api = (ROOT / "courier" / "api" / "app.py").read_text()
    variables = {name for option in OPTIONS.values() for name in option.variables} | AWS_VARIABLES
    flags = known_flags()
    for row in rows(title):
        for name in re.findall(r"`([^`]+)`", row.here):
            if name.startswith("--"):
                assert name in flags
            elif re.fullmatch(r"[A-Z_]{5,}", name):
                assert name in variables
            elif name.startswith("GET "):
                assert f'Route("{name[4:]}"' in api
            elif name.startswith("courier_"):
                assert f"`{name}" in metrics
            elif name.startswith("courier "):
                assert name.split()[1] in cli.COMMANDS


def test_every_flag_and_metric_in_the_text_is_there() -> None:
    flags = known_flags()
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= flags
    metrics = (ROOT / "docs" / "metrics.md").read_text()
    for name in set(re.findall(r"`(courier_[a-z_]+)`", PAGE)) - {"courier_transformer_"}:
        assert f"`{name}" in metrics


@pytest.mark.parametrize("title", TABLES)
def test_each_row_has_its_test(title: str) -> None:
    assert rows(title)
    for row in rows(title):
        assert re.fullmatch(r"`[\w/]+\.py::test_\w+`", row.test), row


def test_every_test_that_is_named_is_there() -> None:
    named = set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE))
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not (ROOT / "tests" / path).exists() or f"def {name}(" not in (ROOT / "tests" / path).read_text()
    ]
    assert not missing


def test_the_new_command_is_taken_by_the_program() -> None:
    (line,) = re.findall(r"^```sh\n(.*?)\n```", PAGE, re.MULTILINE | re.DOTALL)
    words = shlex.split(line)
    given = {word.partition("=")[0] for word in words[: words.index("courier")]}
    assert given <= {name for option in OPTIONS.values() for name in option.variables}
    options = {word for word in words if word.startswith("--")}
    assert options <= {option.flag for option in OPTIONS.values()}
