from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import PurePosixPath
from typing import Any

import yaml

import courier
from courier.config.config import DEFAULTS
from courier.process.control_socket import LONGEST_PATH
from tests.unit.deploy.files import DEPLOY, image_environment, instructions, manifests, seconds, unknown

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


def test_the_control_socket_is_where_the_pod_may_write_and_its_path_fits() -> None:
    path = PurePosixPath(ENVIRONMENT["COURIER_CONTROL"])
    assert str(path.parent) in {mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert len(str(path)) <= LONGEST_PATH


def test_it_runs_as_the_user_of_the_image_and_may_do_nothing_else() -> None:
    (user,) = instructions("USER")
    context = POD["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user.text
    assert context["runAsNonRoot"] is True
    assert context["fsGroup"] == context["runAsGroup"]
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(POD)


def test_it_gets_no_token_of_the_cluster_and_no_variables_of_services() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert manifests()["ServiceAccount"]["automountServiceAccountToken"] is False
    # A Service named courier would make COURIER_PORT, which reads like an option.
    assert POD["enableServiceLinks"] is False


def test_what_a_pod_may_write_is_bounded_or_is_a_claim() -> None:
    for volume in POD["volumes"]:
        assert "persistentVolumeClaim" in volume or re.fullmatch(r"\d+Mi", volume["emptyDir"]["sizeLimit"]), volume


def test_the_image_can_be_pinned_by_its_digest() -> None:
    text = (DEPLOY / "kubernetes" / "courier.yaml").read_text()
    before, _, _ = text.partition(f"image: {CONTAINER['image']}")
    assert "@sha256:" in before.splitlines()[-3]
    (example,) = re.findall(r"# +(images: .*)", text)
    (image,) = yaml.safe_load(example)["images"]
    assert image["name"] == CONTAINER["image"].partition(":")[0]
    assert set(image) == {"name", "newName", "digest"}


def ports(rule: dict[str, Any]) -> set[tuple[str, int | str]]:
    return {(each["protocol"], each["port"]) for each in rule["ports"]}


def test_it_connects_to_names_the_recipient_and_aws_and_nothing_else_gets_in_than_prometheus() -> None:
    policy = manifests()["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == DEPLOYMENT["selector"]["matchLabels"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    (incoming,) = policy["ingress"]
    assert ports(incoming) == {("TCP", CONTAINER["ports"][0]["name"])}
    assert incoming["from"], "everybody may connect"
    names, recipient, aws = policy["egress"]
    assert ports(names) == {("UDP", 53), ("TCP", 53)}
    assert ports(aws) == {("TCP", 443)}
    assert all(rule["to"] for rule in policy["egress"]), "a rule allows every address"
    assert [set(peer) for peer in recipient["to"]] == [{"podSelector"}]
    blocks = [peer["ipBlock"] for peer in aws["to"]]
    for address in ("10.1.2.3", "172.20.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "fd00::1", "fe80::1"):
        assert not any(admits(block, address) for block in blocks), address
    for address in ("52.94.5.1", "2a05:d018::1"):
        assert any(admits(block, address) for block in blocks), address


def admits(block: dict[str, Any], address: str) -> bool:
    found = ip_address(address)
    denied = (ip_network(each) for each in block.get("except", []))
    return found in ip_network(block["cidr"]) and not any(found in each for each in denied)


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
