"""deploy/prometheus: the alerts ask for what is there, fire when they should, and lead to what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any, Final

import pytest
import yaml
from prometheus_client import CollectorRegistry

from courier.api.collector import BoardCollector
from tests.unit.api.boards import observed, running_board
from tests.unit.deploy.files import DEPLOY, ROOT

PLACE: Final = DEPLOY / "prometheus"
RULES: Final[dict[str, dict[str, Any]]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((PLACE / "courier.rules.yml").read_text())["groups"]
    for rule in group["rules"]
}
CASES: Final = yaml.safe_load((PLACE / "courier.rules.test.yml").read_text())["tests"]
OPERATING: Final = (ROOT / "docs" / "operating.md").read_text()

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool: make promtool")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=PLACE, capture_output=True, text=True, timeout=100, check=False)


def samples() -> dict[str, set[str]]:
    """Return the labels of every series that Courier has, by its name."""
    registry = CollectorRegistry()
    registry.register(BoardCollector(observed(running_board(), 0, 0)))
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", "courier.rules.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout


@needs_promtool
def test_the_alerts_fire_when_they_should_and_at_no_other_time() -> None:
    tested = promtool("test", "rules", "courier.rules.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@needs_promtool
def test_a_case_that_does_not_hold_is_noticed(tmp_path: Any) -> None:
    for name in ("courier.rules.yml", "courier.rules.test.yml"):
        shutil.copy(PLACE / name, tmp_path)
    rules = tmp_path / "courier.rules.yml"
    rules.write_text(rules.read_text().replace("courier_audit_failing == 1", "courier_audit_failing == 2"))
    assert subprocess.run(
        ["promtool", "test", "rules", "courier.rules.test.yml"],
        cwd=tmp_path,
        capture_output=True,
        timeout=100,
        check=False,
    ).returncode


@pytest.mark.parametrize("name", RULES)
def test_each_alert_has_a_severity_a_time_and_cases_for_both_sides(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"[1-9]\d*m", rule["for"])
    assert rule["annotations"]["summary"]
    asked = [
        bool(each["exp_alerts"]) for case in CASES for each in case["alert_rule_test"] if each["alertname"] == name
    ]
    assert set(asked) == {True, False}


@pytest.mark.parametrize("name", RULES)
def test_each_alert_leads_to_a_section_that_says_what_to_do(name: str) -> None:
    page, _, anchor = RULES[name]["annotations"]["runbook"].partition("#")
    assert (ROOT / page).exists()
    assert anchor == name.lower()
    section = OPERATING.split(f"\n### {name}\n", 1)[1].split("\n### ", 1)[0]
    assert re.findall(r"^- \*\*(.*?)\*\*:", section, re.MULTILINE) == ["Means", "Look at", "Do"]


def test_each_section_is_of_an_alert() -> None:
    told = OPERATING.split("## When an alert fires", 1)[1].split("\n## ", 1)[0]
    assert set(re.findall(r"^### (Courier\w+)$", told, re.MULTILINE)) == set(RULES)


def test_the_rules_name_metrics_and_labels_that_there_are() -> None:
    known = samples()
    for name, rule in RULES.items():
        asked = re.findall(r"\b(courier_\w+)(?:\{([^}]*(?:\{\d\}[^}]*)?)\})?", rule["expr"])
        assert asked or "up{" in rule["expr"]
        for metric, matchers in asked:
            assert metric in known, f"{name}: {metric}"
            assert set(re.findall(r"(\w+)[=!]~?\"", matchers)) <= known[metric], f"{name}: {matchers}"


def test_the_cases_are_about_metrics_that_there_are() -> None:
    known = samples()
    for case in CASES:
        for series in case["input_series"]:
            name, _, labels = series["series"].partition("{")
            if name != "up":
                assert name in known
                assert set(re.findall(r"(\w+)=", labels)) - {"job", "instance"} <= known[name]


def test_refusals_are_counted_by_class_and_by_status() -> None:
    (pattern,) = set(re.findall(r'reason=~"([^"]+)"', RULES["CourierDrainsByRefusals"]["expr"]))
    taken = {
        reason
        for reason in ("3xx", "4xx", "302", "401", "404", "413", "429", "5xx", "503", "timeout", "answered early")
        if re.fullmatch(pattern, reason)
    }
    assert taken == {"3xx", "4xx", "302", "401", "404", "413", "429"}
