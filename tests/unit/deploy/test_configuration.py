from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from courier.config.config import OPTIONS
from courier.config.loading import read_file
from scripts import write_alerts
from tests.unit.deploy.files import ROOT

PAGE = ROOT / "docs" / "configuration.md"


def test_the_reference_is_what_make_docs_writes(tmp_path: Path) -> None:
    written = tmp_path / "configuration.md"
    script = ROOT / "scripts" / "write_configuration.py"
    subprocess.run([sys.executable, script, written], check=True, timeout=60, cwd=tmp_path)
    assert written.read_text() == PAGE.read_text(), "the options have changed: make docs"


def test_every_option_has_its_row_with_its_variables() -> None:
    table = PAGE.read_text().split("\n## ")[1]
    for option in OPTIONS.values():
        (line,) = [line for line in table.splitlines() if line.startswith(f"| `{option.flag}` ")]
        assert all(f"`{name}`" in line for name in option.variables)


def test_the_example_of_a_file_is_taken(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    path = tmp_path / "courier.toml"
    path.write_text(example)
    values = {name: OPTIONS[name].kind.parse(value) for name, value in read_file(path).items()}
    assert values["visibility_timeout_seconds"] == 120
    assert values["senders"] == 16


def test_the_prometheus_operator_gets_the_alerts_of_prometheus() -> None:
    assert write_alerts.PAGE.read_text() == write_alerts.text(), "the alerts have changed: make docs"
    rules = yaml.safe_load(write_alerts.RULES.read_text())
    assert yaml.safe_load(write_alerts.text())["spec"] == rules
