"""What docs/firehose.md says: its commands are taken, its policy allows what is called, its limits are those kept."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from courier.audit.firehose import BRIEF, CALLING, PATIENCE, RENEW_SECONDS
from courier.audit.firehose_batch import MOST_CALL_BYTES, MOST_RECORD_BYTES, MOST_RECORDS
from courier.config.config import OPTIONS, Config
from tests.unit.deploy.test_readme import parse

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "firehose.md").read_text()


def block(language: str) -> str:
    [found] = re.findall(rf"^   ```{language}\n(.*?)^   ```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_commands_are_taken_by_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in block("sh").splitlines():
        words = shlex.split(line)
        if words[0] == "export":
            for name, _, value in (word.partition("=") for word in words[1:]):
                monkeypatch.setenv(name, value)
        else:
            assert words[0] == "courier"
            assert Config(**parse(words[1:]).params).audit == "firehose"


def test_the_policy_allows_what_is_called_and_no_more() -> None:
    [statement] = json.loads(block("json"))["Statement"]
    called = set()
    for module in (ROOT / "courier" / "audit").glob("firehose*.py"):
        called |= set(
            re.findall(r'"(PutRecordBatch|DescribeDeliveryStream|[A-Z]\w+DeliveryStream)"', module.read_text())
        )
    assert set(statement["Action"]) == {f"firehose:{action}" for action in called}


def test_every_flag_exists() -> None:
    shell = re.search(r"^   ```\n.*?^   ```", PAGE, re.MULTILINE | re.DOTALL)
    assert shell is not None
    flags = set(re.findall(r"--[a-z][a-z0-9-]+", PAGE.replace(shell[0], "")))
    assert flags <= {option.flag for option in OPTIONS.values()}


def test_the_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#:]+)", PAGE):
        assert (ROOT / "docs" / link).exists()


def test_the_numbers_are_those_of_the_code() -> None:
    for words in (
        f"| records in a call | {MOST_RECORDS} |",
        f"| bytes in a call | {MOST_CALL_BYTES:,}, before base64",
        f"| bytes in a record | {MOST_RECORD_BYTES // 1024:,} KiB, before base64 |",
        f"| calls under way at once | {CALLING.calls} |",
        f"{CALLING.connect_seconds:g} seconds to connect, {CALLING.read_seconds:g} without a byte",
        f"A write is tried for {PATIENCE.seconds:g} seconds",
        f"{PATIENCE.backoff.base * 1000:g} ms at most at first, up to a second",
        f"every {RENEW_SECONDS:g} seconds at most",
    ):
        assert words in PAGE, words
    assert (BRIEF.seconds, PATIENCE.backoff.cap, CALLING.attempts) == (1, 1, 1)
