from __future__ import annotations

from typing import Any

import courier
from courier.config import DEFAULTS
from tests.unit.deploy.files import image_environment, instructions, manifests, seconds, unknown

DEPLOYMENT = manifests()["Deployment"]["spec"]
POD: dict[str, Any] = DEPLOYMENT["template"]["spec"]
(CONTAINER,) = POD["containers"]
ENVIRONMENT = {each["name"]: each["value"] for each in CONTAINER["env"]}


def test_every_variable_is_one_that_is_read_and_is_text() -> None:
    assert unknown(ENVIRONMENT) == set()
    assert all(isinstance(value, str) for value in ENVIRONMENT.values())


def test_kubernetes_waits_longer_for_the_end_than_the_drain_takes() -> None:
    drain = ENVIRONMENT.get("COURIER_DRAIN_TIMEOUT", DEFAULTS["drain_timeout_seconds"])
    assert POD["terminationGracePeriodSeconds"] >= seconds(drain) + 10


def test_the_probes_ask_what_tells_life_and_readiness_apart() -> None:
    asked = {name: CONTAINER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {get["port"] for get in asked.values()} == {"api"}
    assert asked["livenessProbe"]["path"] == asked["startupProbe"]["path"] == "/status/health"
    assert asked["readinessProbe"]["path"] == "/status/ready"
    (port,) = CONTAINER["ports"]
    assert ENVIRONMENT["COURIER_API"] == f"0.0.0.0:{port['containerPort']}"
    assert DEPLOYMENT["template"]["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])


def test_it_runs_as_the_user_of_the_image_and_may_do_nothing_else() -> None:
    (user,) = instructions("USER")
    context = POD["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user.text
    assert context["runAsNonRoot"] is True
    assert context["fsGroup"] == context["runAsGroup"]
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_audit_log_is_on_a_claim_and_one_pod_has_it_at_a_time() -> None:
    mounts = {each["mountPath"]: each["name"] for each in CONTAINER["volumeMounts"]}
    assert ENVIRONMENT["COURIER_AUDIT_PATH"] == image_environment()["COURIER_AUDIT_PATH"]
    volumes = {each["name"]: each for each in POD["volumes"]}
    claim = volumes[mounts[ENVIRONMENT["COURIER_AUDIT_PATH"]]]["persistentVolumeClaim"]["claimName"]
    assert claim == manifests()["PersistentVolumeClaim"]["metadata"]["name"]
    assert DEPLOYMENT["replicas"] == 1
    assert DEPLOYMENT["strategy"] == {"type": "Recreate"}
    assert set(mounts.values()) == set(volumes)


def test_labels_and_names_meet() -> None:
    labels = DEPLOYMENT["selector"]["matchLabels"]
    assert labels.items() <= DEPLOYMENT["template"]["metadata"]["labels"].items()
    assert POD["serviceAccountName"] == manifests()["ServiceAccount"]["metadata"]["name"]
    assert CONTAINER["image"].endswith(f":{courier.__version__}")
