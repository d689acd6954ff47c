"""What Kustomize makes of deploy/kubernetes, and what a pod of it would run."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import click
import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils

from courier.cli.options import config_parameters
from courier.cli.queues import QueueConfig, valid_configs
from tests.unit.deploy.files import DEPLOY

PLACE: Final = DEPLOY / "kubernetes"
BASES: Final = sorted(
    path.parent for path in PLACE.glob("base/*/kustomization.yaml") if path.parent.name not in {"common", "pod"}
)
COMPONENTS: Final = sorted(path.parent for path in PLACE.glob("components/*/kustomization.yaml"))
OVERLAYS: Final = sorted(path.parent for path in PLACE.glob("overlays/**/kustomization.yaml"))
CLUSTERS: Final = ("1.30", kubernetes_validate.latest_version())
"""The oldest version of Kubernetes that the manifests are for, and the newest one whose schemas there are."""
CUSTOM: Final = {
    kind: jsonschema.Draft202012Validator(schema)
    for kind, schema in yaml.safe_load(Path(__file__).with_name("custom_resources.yaml").read_text()).items()
}

Object = dict[str, Any]

# Each file of schemas is read once, not for each object: that would take nearly all of the time.
utils.schema_contents = cache(utils.schema_contents)

_REFERENCE: Final = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


def build(directory: Path) -> list[Object]:
    """Return the objects of a folder with a kustomization.yaml."""
    built = subprocess.run(
        ["kustomize", "build", str(directory)],
        # It is too short to collect garbage, or to use more than one processor.
        env={**os.environ, "GOGC": "off", "GOMAXPROCS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return list(yaml.load_all(built.stdout, yaml.CSafeLoader))


def write_overlay(
    directory: Path, base: Path, components: Sequence[Path], settings: Mapping[str, str], **others: Any
) -> Path:
    """Write an overlay, whose paths Kustomize wants to be relative, and return its folder."""
    directory.mkdir(parents=True)
    literals = [f"{name}={value}" for name, value in settings.items()]
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(base, directory.resolve())],
        "components": [os.path.relpath(each, directory.resolve()) for each in components],
        "configMapGenerator": [{"name": "courier", "behavior": "merge", "literals": literals}],
        **others,
    }
    # JSON is YAML, and quotes a name such as y, which YAML 1.1 takes for true.
    (directory / "kustomization.yaml").write_text(json.dumps(document))
    return directory


def validate(document: Object) -> None:
    """Raise jsonschema's ValidationError if an object is not what its kind allows; unknown fields are errors, too."""
    if document["kind"] in CUSTOM:
        CUSTOM[document["kind"]].validate(document)
        return
    for cluster in CLUSTERS:
        kubernetes_validate.validate(document, cluster, strict=True)


def of_kind(objects: Sequence[Object], *kinds: str) -> list[Object]:
    return [each for each in objects if each["kind"] in kinds]


def name_of(document: Object) -> str:
    name: str = document["metadata"]["name"]
    return name


class Workload(NamedTuple):
    """A Deployment or StatefulSet, with the objects beside it."""

    document: Object
    beside: Sequence[Object]

    @property
    def spec(self) -> Object:
        spec: Object = self.document["spec"]
        return spec

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its pods."""
        labels: dict[str, str] = self.spec["template"]["metadata"]["labels"]
        return labels

    @property
    def pod(self) -> Object:
        pod: Object = self.spec["template"]["spec"]
        return pod

    @property
    def container(self) -> Object:
        container: Object
        (container,) = self.pod["containers"]
        return container

    @property
    def grace_seconds(self) -> int:
        seconds: int = self.pod["terminationGracePeriodSeconds"]
        return seconds

    def named(self, kind: str, name: str) -> Object:
        """Return the object of that name."""
        found = [each for each in of_kind(self.beside, kind) if name_of(each) == name]
        assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
        return found[0]

    def environment(self) -> dict[str, str]:
        """Return the variables that the container gets. What only a running pod knows is the name of the field."""
        found: dict[str, str] = {}
        for source in self.container.get("envFrom", ()):
            found |= self.named("ConfigMap", source["configMapRef"]["name"])["data"]
        for each in self.container.get("env", ()):
            found[each["name"]] = each["value"] if "value" in each else each["valueFrom"]["fieldRef"]["fieldPath"]
        return found

    def arguments(self) -> list[str]:
        """Return the arguments, with the variables in them as Kubernetes puts them there."""
        environment = self.environment()
        return [_REFERENCE.sub(lambda found: environment[found[1]], each) for each in self.container.get("args", ())]

    def files(self, directory: str) -> dict[str, str]:
        """Return the files that a ConfigMap puts into a directory, by name."""
        (mount,) = [each for each in self.container["volumeMounts"] if each["mountPath"] == directory]
        (volume,) = [each for each in self.pod["volumes"] if each["name"] == mount["name"]]
        found: dict[str, str] = self.named("ConfigMap", volume["configMap"]["name"])["data"]
        return found

    def configs(self) -> list[QueueConfig]:
        """Return what Courier makes of the options, for each of its queues, with notes on what has no effect."""
        found: list[QueueConfig] = []

        @click.command("run", params=config_parameters())
        @valid_configs
        def command(queues: Sequence[QueueConfig]) -> int:
            found.extend(queues)
            return 0

        environment = self.environment()
        with TemporaryDirectory() as directory:
            if path := environment.get("COURIER_CONFIG"):
                parent, _, name = path.rpartition("/")
                environment["COURIER_CONFIG"] = f"{directory}/{name}"
                (Path(directory) / name).write_text(self.files(parent)[name])
            with patch.dict(os.environ, environment, clear=True):
                command.main(self.arguments(), prog_name="courier", standalone_mode=False)
        return found


def workloads(objects: Sequence[Object]) -> Iterator[Workload]:
    for document in of_kind(objects, "Deployment", "StatefulSet"):
        yield Workload(document, objects)
