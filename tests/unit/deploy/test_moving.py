"""The pages on moving over: they have every setting of the other program, and their examples are what is written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from courier.cli import COMMANDS
from courier.config.config import OPTIONS
from courier.migration import simple_sqsd
from courier.migration.env_file import read_variables
from courier.migration.translation import write_toml
from tests.unit.deploy.documents import table
from tests.unit.deploy.files import ROOT

DOCS: Final = ROOT / "docs"
FLAG: Final = re.compile(r"--[a-z][a-z-]*")
PAGES: Final = sorted([*DOCS.glob("from-*.md"), DOCS / "moving.md"])

# ConsumerOptions in src/types.ts of sqs-consumer 15.0.1, without what only its tests set.
SQS_CONSUMER: Final = {
    "queueUrl": "–",
    "attributeNames": "none",
    "messageAttributeNames": "none",
    "messageSystemAttributeNames": "none",
    "batchSize": "1",
    "visibilityTimeout": "the queue's",
    "waitTimeSeconds": "20",
    "authenticationErrorTimeout": "10000",
    "pollingWaitTimeMs": "0",
    "pollingCompleteWaitTimeMs": "0",
    "terminateVisibilityTimeout": "false",
    "heartbeatInterval": "–",
    "sqs": "–",
    "region": "eu-west-1",
    "useQueueUrlAsEndpoint": "true",
    "handleMessageTimeout": "–",
    "shouldDeleteMessages": "true",
    "alwaysAcknowledge": "false",
    "handleMessage": "–",
    "handleMessageBatch": "–",
    "preReceiveMessageCallback": "–",
    "postReceiveMessageCallback": "–",
    "extendedAWSErrors": "false",
    "suppressFifoWarning": "false",
    "strictReturn": "false",
}

# "Lambda parameters for Amazon SQS event source mappings", and those of AWS::Lambda::EventSourceMapping for a queue.
EVENT_SOURCE_MAPPING: Final = {
    "BatchSize": "10",
    "Enabled": "true",
    "EventSourceArn": "–",
    "FunctionName": "–",
    "FilterCriteria": "–",
    "FunctionResponseTypes": "–",
    "MaximumBatchingWindowInSeconds": "0",
    "ProvisionedPollerConfig": "–",
    "ScalingConfig": "–",
    "KMSKeyArn": "–",
    "MetricsConfig": "–",
    "DestinationConfig": "–",
}


def test_every_variable_of_simple_sqsd_is_there() -> None:
    assert table(DOCS / "from-simple-sqsd.md", "Variables").keys() == simple_sqsd.VARIABLES


@pytest.mark.parametrize(
    ("page", "section", "settings"),
    [
        ("from-sqs-consumer.md", "Options", SQS_CONSUMER),
        ("from-lambda.md", "The event source mapping", EVENT_SOURCE_MAPPING),
    ],
)
def test_every_setting_is_there_with_its_default(page: str, section: str, settings: dict[str, str]) -> None:
    assert {name: row[0] for name, row in table(DOCS / page, section).items()} == settings


def test_the_example_is_what_migrate_writes() -> None:
    page = (DOCS / "from-simple-sqsd.md").read_text()
    (before,) = re.findall(r"^```env\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (after,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert after == write_toml(simple_sqsd.translate(read_variables(before, "file")), simple_sqsd.PROGRAM)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_says_when_to_read_it_and_leads_to_the_checklist(page: Path) -> None:
    text = page.read_text()
    assert "\nRead this when " in text
    assert page.name == "moving.md" or "[Moving](moving.md)" in text
    assert page.name == "moving.md" or f"({page.name})" in (DOCS / "moving.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_command_is_one_that_there_is_with_options_that_there_are(page: Path) -> None:
    known = {option.flag for option in OPTIONS.values()} | {"--config", "--from", "--peek"}
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = [word for word in shlex.split(line) if "=" not in word]
            assert words[0] == "courier"
            assert words[1] in COMMANDS or words[1].startswith("--") or "ingest" in words
            assert {word for word in words if FLAG.fullmatch(word)} <= known
