"""docs/kubernetes.md: its commands run, its examples build, and it names each part and the figures that tests use."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.deploy import manifests
from tests.unit.deploy.documents import blocks
from tests.unit.deploy.files import ROOT
from tests.unit.deploy.kustomize import BASES, COMPONENTS, OVERLAYS, PLACE, build, validate, workloads
from tests.unit.deploy.manifests import check_memory, check_stop
from tests.unit.deploy.tools import need

DOCUMENT = ROOT / "docs" / "kubernetes.md"
TEXT = DOCUMENT.read_text()
EXAMPLES = re.findall(r"^```yaml\n(# kustomization.yaml\n.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
FIGURES = re.search(
    r"request (\d+) MiB for the program, (\d+) MiB for each queue, and (\d+) MiB for each consumer", TEXT
)


def test_the_commands_that_need_no_cluster_run() -> None:
    need("kustomize")
    (script,) = [block.text for block in blocks(DOCUMENT) if not block.needs]
    ran = subprocess.run(
        ["bash", "-e", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    for overlay in OVERLAYS:
        assert overlay.parent != PLACE / "overlays" or f"overlays/{overlay.name}\n" in script


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_builds(tmp_path: Path, example: str) -> None:
    need("kustomize")
    shutil.copytree(PLACE, tmp_path / "deploy" / "kubernetes")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(example)
    objects = build(tmp_path / "mine")
    for document in objects:
        validate(document)
    (workload,) = workloads(objects)
    (queue,) = workload.configs()
    assert queue.notes == []
    check_stop(workload, queue.config)
    check_memory(workload, [queue.config])


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 2


def test_each_part_is_named() -> None:
    for part in (*BASES, *COMPONENTS):
        assert f"`{part.relative_to(PLACE)}`" in TEXT


def test_its_figures_of_memory_are_those_that_the_manifests_are_held_to_and_cover_what_was_measured() -> None:
    assert FIGURES
    program, queue, process = map(int, FIGURES.groups())
    assert (program, queue, process) == (manifests.PROGRAM_MIB, manifests.QUEUE_MIB, manifests.PROCESS_MIB)
    rows = re.findall(r"^\| (\d+) \+ (\d+) \| (\d+) MiB \| (\d+) MiB \|", TEXT, re.MULTILINE)
    assert len(rows) == 2
    for consumers, senders, idle, full in (map(int, row) for row in rows):
        assert idle <= full <= program + queue + process * (consumers + senders)
