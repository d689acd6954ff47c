"""What may go wrong in an overlay, as changes of what Kustomize made of it: tests hold that each is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.unit.deploy.kustomize import Object, of_kind


def change(path: str, value: Any) -> Callable[[list[Object]], None]:
    """Return a change of what stands at ``Kind/key/key``."""

    def apply(objects: list[Object]) -> None:
        kind, *keys, last = (key.replace("~1", "/") for key in path.split("/"))
        places: list[Any] = []
        for found in of_kind(objects, kind):
            place: Any = found
            for key in keys:
                place = place[int(key) if key.isdigit() else key]
            places.append(place)
        # Of several ConfigMaps, the one that has it.
        chosen: Any = next((each for each in places if last in each), places[0])
        chosen[int(last) if last.isdigit() else last] = value

    return apply


POD = "Deployment/spec/template/spec"
CLAIM = "StatefulSet/spec/volumeClaimTemplates/0/spec"
ROLE = "eks.amazonaws.com~1role-arn"
TABLE = """
[[queue]]
name = "one"
queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/one"
recipient-url = "http://one/"
{}
"""
KEPT = "persistentVolumeClaimRetentionPolicy"
MISTAKES = {
    "firehose": {
        "a field that Kubernetes doesn't have": change(f"{POD}/terminationGracePeriodSecond", 45),
        "a value of another type": change("ConfigMap/data/COURIER_SENDERS", 8),
        "a field that KEDA doesn't have": change("ScaledObject/spec/coolDownPeriod", 300),
        "a trigger's setting that isn't text": change("ScaledObject/spec/triggers/0/metadata/scaleOnInFlight", True),
        "a setting that the SQS scaler doesn't have": change("ScaledObject/spec/triggers/0/metadata/queuelength", "5"),
        "a field that PodMonitor doesn't have": change("PodMonitor/spec/podMetricsEndpoint", []),
        "a variable that is no option": change("ConfigMap/data/COURIER_SENDER", "8"),
        "a wrong value of an option": change("ConfigMap/data/COURIER_SENDERS", "many"),
        "a setting without effect": change("ConfigMap/data/COURIER_AUDIT_MAX_AGE", "60"),
        "a grace that the drain outlasts": change("ConfigMap/data/COURIER_DRAIN_TIMEOUT", "60"),
        "a cool-down that the drain outlasts": change("ScaledObject/spec/cooldownPeriod", 60),
        "a port that nobody listens on": change("ConfigMap/data/COURIER_API", "0.0.0.0:8081"),
        "a loopback address that no probe reaches": change("ConfigMap/data/COURIER_API", "127.0.0.1:8080"),
        "a probe of another path": change(f"{POD}/containers/0/readinessProbe/httpGet/path", "/ready"),
        "another queue for KEDA": change(
            "ScaledObject/spec/triggers/0/metadata/queueURL", "https://sqs.us-east-2.amazonaws.com/210987654321/other"
        ),
        "a number of replicas that KEDA would fight": change("Deployment/spec/replicas", 3),
        "more processes than the memory allows": change("ConfigMap/data/COURIER_SENDERS", "64"),
        "a budget that a single pod can't keep": change("PodDisruptionBudget/spec/minAvailable", 1),
        "a budget for other pods": change("PodDisruptionBudget/spec/selector/matchLabels/x", "y"),
        "a policy for every pod": change("NetworkPolicy/spec/podSelector", {}),
        "a policy that lets everything out": change("NetworkPolicy/spec/egress/1", {"to": [], "ports": []}),
        "a volume that the runtime would make": change(f"{POD}/containers/0/volumeMounts/1/mountPath", "/audit"),
        "a service account that isn't there": change(f"{POD}/serviceAccountName", "default"),
        "a tag that can't be": change(f"{POD}/containers/0/image", "courier:latest"),
        "an alert about pods that KEDA took away": change("PrometheusRule/spec/groups/0/rules/0/expr", "absent(up)"),
        "a root user": change(f"{POD}/securityContext/runAsNonRoot", False),
    },
    "archive": {
        "an archive that all pods share": change(
            f"{POD}/containers/0/args", ["--audit-archive=s3://my-bucket/courier"]
        ),
        "no archive": change(f"{POD}/containers/0/args", ["--audit-archive=none"]),
        "more files than the volume holds": change("ConfigMap/data/COURIER_AUDIT_KEEP_BYTES", "5GiB"),
        "files that are never removed": change("ConfigMap/data/COURIER_AUDIT_KEEP_BYTES", "none"),
        "files that wait for an hour": change("ConfigMap/data/COURIER_AUDIT_MAX_AGE", "3600"),
        "a drain without time for the upload": change("ConfigMap/data/COURIER_DRAIN_TIMEOUT", "30"),
        "a grace that a spot node doesn't have": change(f"{POD}/terminationGracePeriodSeconds", 300),
        "a volume that the node may not have": change(
            f"{POD}/containers/0/resources/requests/ephemeral-storage", "1Gi"
        ),
    },
    "files": {
        "a claim that several pods share": change(f"{CLAIM}/accessModes/0", "ReadWriteMany"),
        "a claim that is too small": change(f"{CLAIM}/resources/requests/storage", "8Gi"),
        "a claim that goes with its pod": change(f"StatefulSet/spec/{KEPT}/whenScaled", "Delete"),
        "a pod that waits for others": change("StatefulSet/spec/podManagementPolicy", "OrderedReady"),
        "a Service that isn't there": change("StatefulSet/spec/serviceName", "other"),
        "a Service with an address": change("Service/spec/clusterIP", "10.0.0.1"),
        "a role that is none": change(f"ServiceAccount/metadata/annotations/{ROLE}", "courier"),
        "an audit log that waives the record": change("ConfigMap/data/COURIER_AUDIT_POLICY", "best-effort"),
        "an audit log in the image": change("StatefulSet/spec/template/spec/containers/0/env/0/value", "/srv/audit"),
    },
    "many-queues": {
        "audit logs beside the volume": change(
            "StatefulSet/spec/template/spec/containers/0/env/0/value", "/var/lib/x/y"
        ),
        "a table with a wrong value": change("ConfigMap/data/courier.toml", TABLE.format("senders = 0")),
        "tables with more processes than memory": change("ConfigMap/data/courier.toml", TABLE.format("senders = 64")),
        "a drain of a queue that is cut": change("ConfigMap/data/courier.toml", TABLE.format('drain-timeout = "2m"')),
        "tables with more files than the volume": change(
            "ConfigMap/data/courier.toml", TABLE.format('audit-keep-bytes = "10GiB"')
        ),
    },
}
