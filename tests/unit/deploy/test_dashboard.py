"""deploy/grafana: the dashboard shows every metric, and keeps the rules of Grafana's dashboard-linter.

https://github.com/grafana/dashboard-linter/tree/main/docs/rules says why each of them exists.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from courier.api.collector import BoardCollector
from scripts.write_dashboard import CHOSEN, families
from tests.unit.deploy.files import DEPLOY, ROOT

FILE: Final = DEPLOY / "grafana" / "courier.json"
DASHBOARD: Final[dict[str, Any]] = json.loads(FILE.read_text())
ROWS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
PANELS: Final = [
    panel
    for panel in [*DASHBOARD["panels"], *(inner for row in ROWS for inner in row["panels"])]
    if panel["type"] != "row"
]
TARGETS: Final = [(panel, target) for panel in PANELS for target in panel["targets"]]
VARIABLES: Final = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

by_title = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
by_query = pytest.mark.parametrize(("panel", "target"), TARGETS, ids=lambda each: each.get("expr") or each["title"])


def test_the_file_is_what_make_docs_writes(tmp_path: Path) -> None:
    written = tmp_path / "courier.json"
    script = ROOT / "scripts" / "write_dashboard.py"
    subprocess.run([sys.executable, script, written], check=True, timeout=60, cwd=tmp_path)
    assert written.read_text() == FILE.read_text(), "the metrics have changed: make docs"


def test_every_metric_is_on_some_panel() -> None:
    queries = " ".join(target["expr"] for _, target in TARGETS)
    assert len(families()) > 40
    for family in families():
        sample = family.samples[0].name if family.type != "histogram" else f"{family.name}_bucket"
        assert f"{sample}{{" in queries, family.name


def test_a_new_metric_comes_onto_a_panel_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from prometheus_client.core import GaugeMetricFamily

    from scripts.write_dashboard import text

    of_today = BoardCollector.collect

    def of_tomorrow(self: BoardCollector) -> Any:
        yield from of_today(self)
        yield GaugeMetricFamily("courier_moons", "Moons.", value=1)

    monkeypatch.setattr(BoardCollector, "collect", of_tomorrow)
    assert "courier_moons{" in text()


def test_every_query_asks_for_a_metric_with_labels_that_there_are() -> None:
    known = {sample.name: set(sample.labels) for family in families() for sample in family.samples}
    for family in families():
        for sample in family.samples:
            known[sample.name] |= set(sample.labels)
    for _, target in TARGETS:
        for name in re.findall(r"courier_\w+", target["expr"]):
            assert name in known, target["expr"]
            grouped = {label.strip() for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(",")}
            assert grouped <= known[name] | {"instance", "queue"}, target["expr"]
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert shown <= grouped | {"instance", "queue"}, target["legendFormat"]


def test_the_data_source_job_and_instance_are_chosen_by_variables() -> None:
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    for name in ("job", "instance"):
        variable = VARIABLES[name]
        assert (variable["type"], variable["label"], variable["datasource"]) == ("query", name, SOURCE)
        assert variable["multi"]
        assert variable["allValue"] == ".+"
        assert variable["refresh"] == 2
    assert 'job=~"$job"' in VARIABLES["instance"]["query"]


def test_all_queues_include_a_program_without_tables_whose_series_have_no_such_label() -> None:
    variable = VARIABLES["queue"]
    assert re.fullmatch(variable["allValue"], "")
    assert variable["current"]["value"] == ["$__all"]
    assert variable["multi"]
    assert 'job=~"$job", instance=~"$instance"' in variable["query"]
    # A metric with a label queue of its own must not be what fills the list.
    (info,) = (family for family in families() if f"{family.name}{{" in variable["query"])
    assert "queue" not in info.samples[0].labels


def test_the_address_of_the_dashboard_stays_and_nobody_edits_what_is_written_anew() -> None:
    assert DASHBOARD["uid"] == "courier-overview"
    assert DASHBOARD["editable"] is False


@by_title
def test_a_panel_has_a_title_a_description_a_unit_and_queries(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert panel["datasource"] == SOURCE


@by_query
def test_a_query_is_of_the_chosen_job_and_instance_and_of_the_scrapes_interval(
    panel: dict[str, Any], target: dict[str, Any]
) -> None:
    expression = target["expr"]
    assert target["datasource"] == SOURCE
    selectors = re.findall(r"courier_\w+{([^}]*)}", expression)
    assert selectors
    assert all(CHOSEN in selector for selector in selectors)
    counters = re.findall(r"courier_\w+_(?:total|bucket|sum|count){", expression)
    assert len(counters) == len(re.findall(r"rate\(courier_\w+_(?:total|bucket|sum|count){[^}]*}\[", expression))
    assert set(re.findall(r"\[([^\]]*)\]", expression)) <= {"$__rate_interval"}


def test_panels_do_not_overlap_and_fit() -> None:
    for panels in (DASHBOARD["panels"], *(row["panels"] for row in ROWS)):
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not taken & cells, panel["title"]
            assert place["x"] + place["w"] <= 24
            taken |= cells
    ids = [panel["id"] for panel in [*DASHBOARD["panels"], *PANELS]]
    assert len({*ids}) == len({panel["id"] for panel in PANELS}) + len(ROWS)
