"""docs/containers.md: its ``docker run`` lines are what the image and Courier take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from courier import cli
from courier.config.config import DEFAULTS
from tests.unit.deploy.documents import blocks
from tests.unit.deploy.files import ROOT, healthcheck, image_environment, instructions, seconds, unknown

PAGE = ROOT / "docs" / "containers.md"
TEXT = PAGE.read_text()


def runs() -> Iterator[tuple[list[tuple[str, str]], list[str]]]:
    """Return the options of each ``docker run``, and what stands behind the image."""
    switches = {"--detach", "--rm", "--read-only"}
    for words in (words for block in blocks(PAGE) for words in block.commands()):
        if words[:2] != ["docker", "run"]:
            continue
        rest = words[2:]
        options = []
        while rest[0].startswith("--"):
            options.append((rest[0], "") if rest[0] in switches else (rest[0], rest[1]))
            rest = rest[1:] if rest[0] in switches else rest[2:]
        assert rest[0] == "courier"
        yield options, rest[1:]


RUNS = list(runs())


@pytest.mark.parametrize(("options", "arguments"), RUNS)
def test_a_run_gives_options_that_are_there_and_paths_that_the_image_has(
    options: list[tuple[str, str]], arguments: list[str]
) -> None:
    variables = dict(value.split("=", 1) for name, value in options if name == "--env")
    assert unknown(variables) == set()
    with click.Context(cli.courier) as context:
        if arguments and not arguments[0].startswith("-"):
            assert cli.courier.get_command(context, arguments[0]) is not None
    mounted = [value.split(":")[1] for name, value in options if name == "--volume"]
    for path in (value for value in [*variables.values(), *arguments] if value.startswith("/")):
        assert any(path.startswith(place) for place in mounted), path
    if "--detach" in dict(options):
        assert seconds(f"{dict(options)['--stop-timeout']}s") >= seconds(DEFAULTS["drain_timeout_seconds"]) + 10
        (volume,) = instructions("VOLUME")
        assert volume.text in mounted
        # Without it there is no control socket.
        assert dict(options)["--tmpfs"] == "/tmp"
        assert image_environment()["COURIER_CONTROL"].startswith("/tmp/")


def test_there_are_runs_of_each_kind() -> None:
    assert len(RUNS) >= 4
    assert any("--detach" in dict(options) for options, _ in RUNS)


def test_what_it_says_of_the_image_is_so() -> None:
    rows = dict(re.findall(r"^\| `?([\w /]+?)`? \| `?([^|`]+?)`?(?:[:,] [^|]*)? \|$", TEXT, re.MULTILINE))
    environment = image_environment()
    for name in ("COURIER_AUDIT_PATH", "COURIER_API", "COURIER_CONTROL"):
        assert rows[name] == environment[name]
    assert f"| user | {instructions('USER')[0].text}, " in TEXT
    assert shlex.join(healthcheck()) in TEXT
    assert f'"command": {["CMD", *healthcheck()]}'.replace("'", '"') in TEXT
