"""What the selectors and network policies of deploy/kubernetes must choose: each function raises AssertionError."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from courier.config.config import Config
from tests.unit.deploy.kustomize import Object, Workload, name_of, of_kind


def selects(selector: Object, workload: Workload) -> bool:
    assert set(selector) == {"matchLabels"}
    assert selector["matchLabels"], "it selects every pod"
    chosen: bool = selector["matchLabels"].items() <= workload.labels.items()
    return chosen


def selected(selector: Object, found: Sequence[Workload]) -> Workload:
    """Return the one workload whose pods a selector chooses."""
    chosen = [each for each in found if selects(selector, each)]
    assert len(chosen) == 1, f"{selector} chooses {[name_of(each.document) for each in chosen]}"
    return chosen[0]


def selectors(document: Object) -> Iterator[Object]:
    """Return the selectors of an object that are for pods of Courier."""
    spec = document.get("spec", {})
    if document["kind"] == "NetworkPolicy":
        yield spec["podSelector"]
    elif document["kind"] == "Service":
        yield {"matchLabels": spec["selector"]}
    elif "selector" in spec:
        yield spec["selector"]
    for each in spec.get("template", {}).get("spec", {}).get("topologySpreadConstraints", ()):
        yield each["labelSelector"]


def check_selectors(objects: Sequence[Object], found: Sequence[Workload]) -> None:
    """What has a selector is for the pods of one workload, and of the one whose name it shares."""
    for document in objects:
        for selector in selectors(document):
            assert name_of(selected(selector, found).document) == name_of(document)
    for scaled in of_kind(objects, "ScaledObject"):
        assert name_of(scaled) in {name_of(each.document) for each in found}


def ports(rule: Object) -> set[tuple[str, int | str]]:
    return {(each["protocol"], each["port"]) for each in rule["ports"]}


def admits(block: Object, address: str) -> bool:
    """Return whether a block of addresses holds one."""
    found = ip_address(address)
    denied = (ip_network(each) for each in block.get("except", []))
    return found in ip_network(block["cidr"]) and not any(found in each for each in denied)


def check_policy(policy: Object, workload: Workload, configs: Sequence[Config]) -> None:
    """It connects to names, the recipient and AWS, and nothing else gets in than Prometheus."""
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    (incoming,) = policy["ingress"]
    assert ports(incoming) == {("TCP", workload.container["ports"][0]["name"])}
    assert incoming["from"], "everybody may connect"
    names, recipient, aws, identity = policy["egress"]
    assert ports(names) == {("UDP", 53), ("TCP", 53)}
    assert all(rule["to"] for rule in policy["egress"]), "a rule allows every address"
    # A label of an overlay stands in each matchLabels: no pod of others has it.
    text = repr([*policy["egress"], *policy["ingress"]])
    assert "app.kubernetes.io/instance" not in text
    hosts = {urlsplit(each.recipient_url).hostname or "" for each in configs}
    labels = sorted(host.partition(".")[0] for host in hosts)
    assert recipient["to"] == [{"podSelector": {"matchExpressions": [expression(labels)]}}]
    blocks = [peer["ipBlock"] for peer in aws["to"]]
    assert ports(aws) == {("TCP", 443)}
    for address in ("10.1.2.3", "172.20.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "fd00::1", "fe80::1"):
        assert not any(admits(block, address) for block in blocks), address
    for address in ("52.94.5.1", "2a05:d018::1"):
        assert any(admits(block, address) for block in blocks), address
    # The agent of EKS Pod Identity, but not the instance's metadata.
    assert ports(identity) == {("TCP", 80)}
    assert {peer["ipBlock"]["cidr"] for peer in identity["to"]} == {"169.254.170.23/32", "fd00:ec2::23/128"}


def expression(names: list[str]) -> dict[str, Any]:
    """Return the expression that chooses the pods of these names."""
    return {"key": "app.kubernetes.io/name", "operator": "In", "values": names}


def claims(workload: Workload) -> set[str]:
    """Return the names of the volumes that outlive a pod."""
    return {name_of(each) for each in workload.spec.get("volumeClaimTemplates", ())}
