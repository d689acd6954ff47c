"""Pods of deploy/kubernetes: each starts with its settings and a read-only root, works, and ends within its grace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courier.audit.reader import read_records
from tests.process.pod import LIST, Pod, can_be_made
from tests.process.world import until
from tests.unit.deploy.kustomize import PLACE, build, workloads
from tests.unit.deploy.manifests import quantity
from tests.unit.deploy.tools import need

pytestmark = pytest.mark.skipif(
    not can_be_made(), reason="needs root, and namespaces of mounts, networks and processes"
)

Start = Callable[..., Pod]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the pod of an overlay, and what it needs; whatever is left is killed."""
    need("kustomize")
    if not can_be_made():
        pytest.skip("needs root, and namespaces of mounts, networks and processes")
    started: list[Pod] = []

    def start(overlay: str, aws: bool = False) -> Pod:
        (workload,) = workloads(build(PLACE / "overlays" / overlay))
        started.append(pod := Pod(workload, tmp_path))
        pod.start_neighbours()
        if aws:
            pod.start_aws()
        pod.start()
        until(lambda: pod.is_ready(), explain=pod.log, every=0.1)
        return pod

    yield start
    for pod in started:
        pod.close()


def recorded(pod: Pod) -> int:
    """Return how many records the audit logs on the pod's volume have."""
    directories = {path.parent for path in pod.directory.glob("volume-*/**/courier-*.jsonl")}
    return sum(1 for directory in directories for _ in read_records(directory))


@pytest.mark.parametrize("overlay", ["many-queues", pytest.param("files", marks=pytest.mark.full)])
def test_a_pod_gets_ready_delivers_is_steered_and_drains_before_it_would_be_killed(start: Start, overlay: str) -> None:
    pod = start(overlay)
    until(lambda: recorded(pod) >= 5 * len(pod.names), explain=pod.log, every=0.5)
    assert pod.memory() <= quantity(pod.workload.container["resources"]["requests"]["memory"])
    assert pod.execute("pause")["ok"] is True
    assert pod.execute("resume")["ok"] is True
    probes = ("startupProbe", "livenessProbe", "readinessProbe")
    answers = {path: pod.get(path) for path in {pod.workload.container[each]["httpGet"]["path"] for each in probes}}
    metrics = pod.get("/metrics")
    assert pod.stop() == 0, pod.log()
    # Nothing of what it logged says that it lacked a right.
    assert "Read-only file system" not in pod.log()
    assert '"level":"error"' not in pod.log()
    assert answers == {"/status/health": 200, "/status/ready": 200}
    assert metrics == 200


@pytest.mark.full
@pytest.mark.parametrize("overlay", ["archive", "firehose"])
def test_a_pod_without_a_volume_leaves_its_records_with_aws(start: Start, overlay: str) -> None:
    pod = start(overlay, aws=True)
    until(lambda: int(pod.status()["totals"]["recorded"]) >= 5, explain=pod.log, every=0.5)
    bucket, prefix = ("my-bucket", "courier/orders/metadata.uid/") if overlay == "archive" else ("my-bucket", "")
    assert pod.stop() == 0, pod.log()
    assert '"level":"error"' not in pod.log()
    keys = [key for key in pod.aws(LIST, bucket).splitlines() if key.startswith(prefix)]
    if overlay == "archive":
        assert [key for key in keys if ".jsonl" in key], keys
        assert [key for key in keys if key.endswith(".seal")], keys
    else:
        assert keys
