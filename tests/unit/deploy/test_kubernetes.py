"""deploy/kubernetes: every overlay builds, every combination of its parts holds together, and a mistake is noticed."""

from __future__ import annotations

import copy
import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from courier.errors import ConfigError
from tests.examples import examples
from tests.unit.deploy.kustomize import (
    BASES,
    COMPONENTS,
    OVERLAYS,
    PLACE,
    Object,
    build,
    of_kind,
    validate,
    write_overlay,
)
from tests.unit.deploy.manifests import check
from tests.unit.deploy.mistakes import MISTAKES
from tests.unit.deploy.tools import need

QUEUE = "https://sqs.us-east-2.amazonaws.com/210987654321/{}"


@pytest.fixture(autouse=True)
def kustomize() -> None:
    need("kustomize")


@pytest.mark.parametrize("directory", OVERLAYS, ids=lambda path: str(path.name))
def test_an_overlay_builds_and_holds_together(directory: Path) -> None:
    check(build(directory))


def fits(base: Path, components: tuple[Path, ...]) -> bool:
    """An archive needs a volume that outlives the pod, or the base that is made for it."""
    return "archive" not in {each.name for each in components} or base.name == "files"


WITHOUT_GONE = """\
- {op: test, path: /spec/groups/0/rules/0/alert, value: CourierGone}
- {op: remove, path: /spec/groups/0/rules/0}
"""


def patches(components: tuple[Path, ...]) -> list[Any]:
    """Return the patches that an overlay of these parts can't do without."""
    both = {"alerts", "keda"} <= {each.name for each in components}
    return [{"target": {"kind": "PrometheusRule"}, "patch": WITHOUT_GONE}] if both else []


def needed(base: Path, components: tuple[Path, ...], archive: str) -> dict[str, str]:
    """Return the settings that an overlay of these parts can't do without."""
    return {"COURIER_AUDIT_ARCHIVE": archive} if "archive" in {base.name, *(each.name for each in components)} else {}


COMBINATIONS = [
    (base, chosen)
    for base in BASES
    for number in range(len(COMPONENTS) + 1)
    for chosen in itertools.combinations(COMPONENTS, number)
    if fits(base, chosen)
]
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Each example is a run of a program: a smaller one that fails, too, would take minutes to find."""
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,12}(-[a-z0-9]{1,6})?", fullmatch=True)


@st.composite
def overlays(draw: st.DrawFn) -> dict[str, Any]:
    """Return what an overlay may choose: parts in any order, settings, a suffix, labels for all of its objects."""
    base, chosen = draw(st.sampled_from(COMBINATIONS))
    name = draw(NAMES)
    drain = draw(st.sampled_from([None, 5, 30]))
    values = {
        "AWS_REGION": "us-east-2",
        "COURIER_QUEUE": QUEUE.format(draw(NAMES) + draw(st.sampled_from(["", ".fifo"]))),
        "COURIER_RECIPIENT_URL": draw(st.sampled_from(["http://orders/", "http://orders.shop.svc:81/in?a=b=c"])),
        "COURIER_CONSUMERS": str(draw(st.integers(1, 4))),
        "COURIER_SENDERS": str(draw(st.integers(1, 8))),
    }
    # A base whose audit log goes with the pod needs its time.
    if drain is not None and base.name != "archive":
        values["COURIER_DRAIN_TIMEOUT"] = str(drain)
    if base.name == "firehose":
        values["COURIER_FIREHOSE_STREAM"] = name
    values |= needed(base, chosen, f"s3://{name}-bucket/some/where")
    others: dict[str, Any] = {}
    if draw(st.booleans()):
        others["namespace"] = name
    if draw(st.booleans()):
        others["nameSuffix"] = f"-{name}"
    if draw(st.booleans()):
        others["namePrefix"] = f"{name}-"
    if draw(st.booleans()):
        others["labels"] = [{"pairs": {"app.kubernetes.io/instance": name}, "includeSelectors": True}]
    return {
        "base": base,
        "components": draw(st.permutations(chosen)),
        "settings": values,
        "patches": patches(chosen),
        **others,
    }


@given(overlays())
@settings(max_examples=examples(50), phases=PHASES)
def test_whatever_an_overlay_chooses_holds_together(
    tmp_path_factory: pytest.TempPathFactory, overlay: dict[str, Any]
) -> None:
    check(build(write_overlay(tmp_path_factory.mktemp("overlay") / "built", **overlay)))


@pytest.mark.full
@pytest.mark.parametrize(("base", "components"), COMBINATIONS)
def test_every_combination_of_parts_holds_together(tmp_path: Path, base: Path, components: tuple[Path, ...]) -> None:
    check(
        build(
            write_overlay(
                tmp_path / "built",
                base,
                components,
                needed(base, components, "s3://my-bucket/c"),
                patches=patches(components),
            )
        )
    )


@given(st.lists(NAMES, min_size=2, max_size=3, unique=True), st.sampled_from(COMBINATIONS))
@settings(max_examples=examples(15), phases=PHASES)
def test_queues_side_by_side_in_a_namespace_stay_apart(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], chosen: tuple[Path, tuple[Path, ...]]
) -> None:
    place = tmp_path_factory.mktemp("overlays")
    for name in names:
        labels = [{"pairs": {"app.kubernetes.io/instance": name}, "includeSelectors": True}]
        values = needed(*chosen, f"s3://my-bucket/{name}") | {"COURIER_QUEUE": QUEUE.format(name)}
        others: dict[str, Any] = {"nameSuffix": f"-{name}", "labels": labels, "patches": patches(chosen[1])}
        write_overlay(place / name, *chosen, values, **others)
    (place / "kustomization.yaml").write_text(json.dumps({"resources": names}))
    objects = build(place)
    assert len(of_kind(objects, "Deployment", "StatefulSet")) == len(names)
    check(objects)


NOTICED = (AssertionError, jsonschema.ValidationError, click.ClickException, ConfigError)
"""How a mistake shows: a rule doesn't allow it, or the object's kind, or Courier."""


@cache
def built(overlay: str) -> list[Object]:
    objects = build(PLACE / "overlays" / overlay)
    check(objects)
    return objects


@pytest.mark.parametrize(
    ("overlay", "mistake"), [(overlay, mistake) for overlay in MISTAKES for mistake in MISTAKES[overlay]]
)
def test_a_mistake_is_noticed(overlay: str, mistake: str) -> None:
    objects = copy.deepcopy(built(overlay))
    MISTAKES[overlay][mistake](objects)
    with pytest.raises(NOTICED):
        check(objects)


def test_an_image_is_pinned_by_its_digest_as_the_base_says(tmp_path: Path) -> None:
    digest = "sha256:" + "a" * 64
    images = [{"name": "courier", "newName": "registry.example/courier", "digest": digest}]
    for number, base in enumerate(BASES):
        built = build(write_overlay(tmp_path / str(number), base, (), {"COURIER_LOG_LEVEL": "info"}, images=images))
        (workload,) = of_kind(built, "Deployment", "StatefulSet")
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"registry.example/courier@{digest}"
        for document in built:
            validate(document)
