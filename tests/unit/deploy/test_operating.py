"""docs/operating.md: what it names exists, and what is logged is named in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from courier import cli, errors
from courier.audit.reader import DAMAGED
from courier.cli.options import CONFIG_VARIABLE
from courier.config.config import OPTIONS
from courier.config.processes import SPARE_SENDERS
from courier.process.signals import TAKEN
from tests.unit.deploy.documents import blocks
from tests.unit.deploy.files import ROOT

PAGE = (ROOT / "docs" / "operating.md").read_text()
RECURRING = ("RecurringLine", "line")
"""What makes a line that recurs; its text is the last argument."""

LEVELS = ("info", "warning", "error", "exception", "critical")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def events() -> Iterator[tuple[str, bool]]:
    """Return what is logged at info and above: the text, and whether it is all of it or only how it begins."""
    for path in (ROOT / "courier").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RECURRING:
                text = node.args[-1]
                if isinstance(text, ast.Constant) and text.value:
                    yield str(text.value), True
                elif ast.unparse(text) == "DAMAGED":
                    yield DAMAGED, True
                continue
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            logger = ast.unparse(node.func.value)
            if node.func.attr in LEVELS and (logger.endswith("log") or logger == "event"):
                text = node.args[0]
                if isinstance(text, ast.Constant):
                    yield str(text.value), True
                elif isinstance(text, ast.JoinedStr) and isinstance(text.values[0], ast.Constant):
                    yield str(text.values[0].value), False


def test_each_line_that_is_logged_says_what_to_do() -> None:
    named = set(re.findall(r"`([^`]+)`", section("What it logs")))
    logged = list(events())
    assert len(logged) > 40
    missing = {
        text for text, whole in logged if not (text in named if whole else any(n.startswith(text) for n in named))
    }
    assert not missing, "docs/operating.md must say what to do when these are logged"


def test_each_line_that_is_named_is_logged() -> None:
    rows = [line.split("|")[1] for line in section("What it logs").splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    logged = list(events())
    assert {n for n in named if not any(n == text if whole else n.startswith(text) for text, whole in logged)} == set()


def test_every_signal_that_is_taken_is_told() -> None:
    told = set(re.findall(r"SIG[A-Z0-9]+", " ".join(re.findall(r"^\| (SIG.*?) \|", PAGE, re.MULTILINE))))
    assert told == {number.name for number in TAKEN} - {
        "SIGCHLD",
        "SIGALRM",
        "SIGIO",
        "SIGRTMIN",
    }  # sent by Courier and the kernel
    assert f"up to {SPARE_SENDERS} more" in PAGE


def test_every_exit_code_is_told() -> None:
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert {int(code) for code in re.findall(r"^\| (\d) \|", section("Exit codes"), re.MULTILINE)} == codes


def test_every_option_variable_and_metric_exists() -> None:
    flags = set(re.findall(r"`(--[a-z-]+)", PAGE))
    assert flags <= {option.flag for option in OPTIONS.values()} | {"--config"}
    variables = {name for option in OPTIONS.values() for name in option.variables} | {CONFIG_VARIABLE}
    assert set(re.findall(r"\bCOURIER_[A-Z_]+", PAGE)) <= variables
    metrics = (ROOT / "docs" / "metrics.md").read_text()
    for name in set(re.findall(r"`(courier_[a-z_]+)`", PAGE)):
        assert f"`{name}" in metrics


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"\b(deploy/[\w./-]*\w)", PAGE))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_commands_are_taken_by_the_program() -> None:
    commands = [words for block in blocks(ROOT / "docs" / "operating.md") for words in block.commands()]
    ours = [words for words in commands if words[0] == "courier"]
    assert ours
    for words in ours:
        assert words[1] in cli.COMMANDS
        assert {word for word in words if word.startswith("--")} <= {option.flag for option in OPTIONS.values()}
