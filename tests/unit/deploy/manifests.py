"""What must hold in every overlay of deploy/kubernetes, whatever it chooses: each function raises AssertionError."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import courier
from courier.config.config import Config
from courier.config.units import parse_address
from courier.process.control_socket import LONGEST_PATH
from tests.unit.deploy.files import instructions, unknown
from tests.unit.deploy.kustomize import Object, Workload, name_of, of_kind, validate, workloads
from tests.unit.deploy.selectors import check_policy, check_selectors, claims, selects

KIB: Final = 1024
UNITS: Final = {"": 1, "Ki": KIB, "Mi": KIB**2, "Gi": KIB**3}
PROGRAM_MIB: Final = 30
"""Memory of a program, of each of its queues, and of each consumer and sender, as docs/kubernetes.md says."""
QUEUE_MIB: Final = 25
PROCESS_MIB: Final = 7
WAITING_MIB: Final = 64
"""Bodies that wait for a sender, at most."""
SPOT_SECONDS: Final = 120
"""From the notice of a spot node to its end."""
MARGIN_SECONDS: Final = 10
"""Between the end of a drain and SIGKILL, for what ends last."""


def quantity(text: str) -> int:
    """Return the bytes of a quantity such as 64Mi."""
    found = re.fullmatch(r"(\d+)(Ki|Mi|Gi|)", text)
    assert found, text
    return int(found[1]) * UNITS[found[2]]


def check(objects: Sequence[Object]) -> None:
    """Check all that must hold in what Kustomize made of an overlay."""
    for document in objects:
        validate(document)
    assert len({(each["kind"], name_of(each)) for each in objects}) == len(objects)
    assert len({each["metadata"].get("namespace") for each in objects}) == 1
    found = list(workloads(objects))
    assert found
    for workload in found:
        queues = workload.configs()
        assert [note for each in queues for note in each.notes] == []
        assert unknown(set(workload.environment()) - {"POD_UID", "POD_NAME", "COURIER_CONFIG"}) == set()
        configs = [each.config for each in queues]
        for config in configs:
            check_stop(workload, config)
            check_door(workload, config)
            check_audit(workload, config)
        check_rights(workload)
        check_volumes(workload)
        check_room(workload, configs)
        check_memory(workload, configs)
        check_scaling(workload, configs)
        check_budget(workload)
        for policy in of_kind(objects, "NetworkPolicy"):
            if selects(policy["spec"]["podSelector"], workload):
                check_policy(policy["spec"], workload, configs)
    check_selectors(objects, found)
    check_alerts(objects)


def check_stop(workload: Workload, config: Config) -> None:
    """Kubernetes waits longer than a drain takes, and nothing keeps the drain from beginning at once."""
    assert workload.grace_seconds >= config.drain_timeout_seconds + MARGIN_SECONDS
    assert "lifecycle" not in workload.container
    if config.audit_archive:
        # What isn't uploaded by then goes with the pod: there must be time beside that for deliveries.
        assert config.drain_timeout_seconds >= config.timeout_seconds + 30 or claims(workload)


def check_door(workload: Workload, config: Config) -> None:
    """The probes, Prometheus and the commands find what they look for."""
    container = workload.container
    asked = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {get["port"] for get in asked.values()} == {"api"}
    assert asked["livenessProbe"]["path"] == asked["startupProbe"]["path"] == "/status/health"
    assert asked["readinessProbe"]["path"] == "/status/ready"
    (port,) = container["ports"]
    assert parse_address(config.api) in {("0.0.0.0", port["containerPort"]), ("::", port["containerPort"])}
    annotations = workload.spec["template"]["metadata"]["annotations"]
    scraped = [each for each in of_kind(workload.beside, "PodMonitor") if selects(each["spec"]["selector"], workload)]
    if scraped:
        assert not [name for name in annotations if name.startswith("prometheus.io")]
        assert [each["port"] for one in scraped for each in one["spec"]["podMetricsEndpoints"]] == [port["name"]]
    else:
        assert annotations["prometheus.io/port"] == str(port["containerPort"])
    path = PurePosixPath(config.control or "")
    assert str(path.parent) in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert len(str(path)) <= LONGEST_PATH


def check_rights(workload: Workload) -> None:
    """It runs as the image's user, may do nothing else, and meets the Pod Security Standard "restricted"."""
    (user,) = instructions("USER")
    pod, context = workload.pod, workload.pod["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user.text
    assert context["runAsNonRoot"] is True
    assert context["fsGroup"] == context["runAsGroup"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert workload.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(pod)
    account = workload.named("ServiceAccount", pod["serviceAccountName"])
    assert pod["automountServiceAccountToken"] is account["automountServiceAccountToken"] is False
    for name, value in account["metadata"].get("annotations", {}).items():
        assert name != "eks.amazonaws.com/role-arn" or re.fullmatch(r"arn:aws:iam::\d{12}:role/[\w+=,.@/-]+", value)
    # A Service named courier would make COURIER_PORT, which reads like an option.
    assert pod["enableServiceLinks"] is False
    assert workload.container["image"] == f"courier:{courier.__version__}"


def check_volumes(workload: Workload) -> None:
    """Every mount has a volume and is used; what a pod may write is bounded; no volume is the runtime's own."""
    mounts = {each["mountPath"]: each["name"] for each in workload.container["volumeMounts"]}
    volumes = {each["name"]: each for each in workload.pod["volumes"]}
    assert set(mounts.values()) == set(volumes) | claims(workload)
    for volume in volumes.values():
        assert {"configMap", "secret", "projected"} & set(volume) or quantity(volume["emptyDir"]["sizeLimit"]), volume
    for instruction in instructions("VOLUME"):
        assert instruction.text in mounts, f"the runtime would put a volume of its own at {instruction.text}"


def audit_volume(workload: Workload, config: Config) -> str:
    """Return the name of the volume that has the audit directory."""
    mounts = {Path(each["mountPath"]): each["name"] for each in workload.container["volumeMounts"]}
    found = [mounts[path] for path in (config.audit_path, *config.audit_path.parents) if path in mounts]
    assert found, f"{config.audit_path} can't be written to"
    name: str = found[0]
    return name


def check_audit(workload: Workload, config: Config) -> None:
    """Records outlive the pod, and each directory has one owner."""
    assert config.audit_policy == "required"
    if config.audit == "firehose":
        assert not claims(workload)
        return
    assert config.audit == "files"
    unit = "metadata.name"
    if audit_volume(workload, config) in claims(workload):
        (claim,) = workload.spec["volumeClaimTemplates"]
        assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
        kept = workload.spec["persistentVolumeClaimRetentionPolicy"]
        assert kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}
        assert workload.spec["podManagementPolicy"] == "Parallel"
        service = workload.named("Service", workload.spec["serviceName"])
        assert service["spec"]["clusterIP"] == "None"
        assert selects({"matchLabels": service["spec"]["selector"]}, workload)
    else:
        assert config.audit_archive, "the records would go with the pod"
        assert config.audit_keep_bytes, "a pod that exceeds its sizeLimit is evicted"
        assert config.audit_max_age_seconds <= 300
        assert workload.grace_seconds < SPOT_SECONDS
        unit = "metadata.uid"
    if config.audit_archive:
        assert config.audit_archive.endswith(f"/{unit}"), "the prefix must be the directory's own, and stay with it"


def check_room(workload: Workload, configs: Sequence[Config]) -> None:
    """The audit logs that are kept fit their volume."""
    kept = [config for config in configs if config.audit == "files" and config.audit_keep_bytes]
    if not kept:
        return
    (volume,) = {audit_volume(workload, config) for config in kept}
    if volume in claims(workload):
        room = quantity(workload.spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"])
    else:
        (found,) = [each for each in workload.pod["volumes"] if each["name"] == volume]
        room = quantity(found["emptyDir"]["sizeLimit"])
        assert quantity(workload.container["resources"]["requests"]["ephemeral-storage"]) >= room
    # The file that is being written, and a compressed copy beside the plain one, come on top.
    assert sum((each.audit_keep_bytes or 0) + 2 * each.audit_max_bytes for each in kept) <= room


def check_memory(workload: Workload, configs: Sequence[Config]) -> None:
    """The request is what the processes were measured to take, and the limit leaves room for bodies."""
    resources = workload.container["resources"]
    processes = PROGRAM_MIB + sum(QUEUE_MIB + PROCESS_MIB * (each.consumers + each.senders) for each in configs)
    # Each delivery in flight may be of the largest message, and so may those that wait.
    bodies = sum(each.senders * each.concurrency + WAITING_MIB for each in configs)
    assert quantity(resources["requests"]["memory"]) >= processes * KIB**2
    assert quantity(resources["limits"]["memory"]) >= (processes + bodies) * KIB**2
    assert "cpu" not in resources["limits"]


def scaled_by(workload: Workload) -> Object | None:
    """Return the ScaledObject of a workload."""
    found = [
        each
        for each in of_kind(workload.beside, "ScaledObject")
        if each["spec"]["scaleTargetRef"]["name"] == name_of(workload.document)
        and each["spec"]["scaleTargetRef"]["kind"] == workload.document["kind"]
    ]
    assert len(found) <= 1
    return found[0] if found else None


def check_scaling(workload: Workload, configs: Sequence[Config]) -> None:
    """KEDA counts the queue that Courier receives from, and takes no pod away before another has drained."""
    scaled = scaled_by(workload)
    if scaled is None:
        assert workload.spec["replicas"] >= 1
        return
    spec = scaled["spec"]
    (config,) = configs
    assert "replicas" not in workload.spec, "kubectl apply would undo the scaling"
    assert spec["minReplicaCount"] <= spec["maxReplicaCount"]
    assert spec["minReplicaCount"] >= 1 or not config.cron
    grace = workload.grace_seconds
    assert spec["cooldownPeriod"] > grace + config.visibility_timeout_seconds
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] > grace
    assert all(each["periodSeconds"] > grace for each in down["policies"])
    (trigger,) = spec["triggers"]
    assert trigger["metadata"]["queueURL"] == config.queue
    assert trigger["metadata"]["awsRegion"] == config.region
    assert trigger["metadata"]["scaleOnInFlight"] == "true"
    workload.named("TriggerAuthentication", trigger["authenticationRef"]["name"])


def check_budget(workload: Workload) -> None:
    """A budget lets a node be drained with any number of pods, also of pods that aren't ready."""
    for budget in of_kind(workload.beside, "PodDisruptionBudget"):
        if selects(budget["spec"]["selector"], workload):
            assert "minAvailable" not in budget["spec"]
            assert budget["spec"]["maxUnavailable"] == 1
            assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def check_alerts(objects: Sequence[Object]) -> None:
    """No alert says that Courier is gone where KEDA may take away the last pod."""
    to_zero = any(each["spec"]["minReplicaCount"] == 0 for each in of_kind(objects, "ScaledObject"))
    rules = [
        rule
        for each in of_kind(objects, "PrometheusRule")
        for group in each["spec"]["groups"]
        for rule in group["rules"]
    ]
    assert not to_zero or not [rule["alert"] for rule in rules if "absent(" in rule["expr"]]
