"""Reading what is deployed: the Dockerfile, compose and unit files, as far as their tests need."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from courier.config.config import OPTIONS
from courier.config.units import parse_duration

ROOT: Final = Path(__file__).parents[3]
DEPLOY: Final = ROOT / "deploy"
AWS_VARIABLES: Final = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_SHARED_CREDENTIALS_FILE",
}
"""Those of boto3, and the region that we read too."""


class Instruction(NamedTuple):
    """An instruction of a Dockerfile: its text without its name, and without its own options."""

    name: str
    text: str

    def words(self) -> list[str]:
        """Return the words of the exec form or of a line."""
        words = json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)
        return [str(word) for word in words]


def dockerfile() -> list[Instruction]:
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    found = []
    for line in filter(None, map(str.strip, joined)):
        name, _, text = line.partition(" ")
        found.append(Instruction(name, text.strip()))
    return found


def instructions(name: str) -> list[Instruction]:
    return [each for each in dockerfile() if each.name == name]


def image_environment() -> dict[str, str]:
    """Return what ENV sets."""
    pairs = [word.partition("=") for each in instructions("ENV") for word in each.words()]
    return {name: value for name, _, value in pairs}


def healthcheck() -> list[str]:
    (check,) = instructions("HEALTHCHECK")
    command = check.text[check.text.index("CMD") + 3 :]
    return Instruction("CMD", command.strip()).words()


def context() -> Iterator[Path]:
    """Return the files that .dockerignore lets into the build, relative to the root."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line]
    for path in sorted(ROOT.glob("*")) + sorted((ROOT / "courier").rglob("*")):
        relative = path.relative_to(ROOT)
        if path.is_file() and _included(relative, rules):
            yield relative


def _included(path: Path, rules: Iterable[str]) -> bool:
    included = True
    for rule in rules:
        pattern = rule.removeprefix("!").removeprefix("**/")
        parts = path.parts if rule.startswith("**/") else path.parts[:1]
        if any(fnmatch(part, pattern) for part in parts):
            included = rule.startswith("!")
    return included


def compose() -> dict[str, dict[str, Any]]:
    """Return the services."""
    services: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def environment(service: dict[str, Any]) -> dict[str, str | None]:
    """Return a service's variables; None for those that are passed on from outside."""
    given = service.get("environment", {})
    return dict.fromkeys(given) if isinstance(given, list) else dict(given)


def pod_container() -> dict[str, Any]:
    """Return the container of Kubernetes' pods, before an overlay changes it."""
    pod = yaml.safe_load((DEPLOY / "kubernetes" / "base" / "pod" / "pod.yaml").read_text())
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def unit(name: str = "courier.service") -> dict[str, list[str]]:
    """Return the settings of a systemd unit; a setting can stand there several times."""
    settings: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            setting, _, value = line.partition("=")
            settings.setdefault(setting, []).append(value)
    return settings


def unknown(variables: Iterable[str]) -> set[str]:
    """Return the variables that neither Courier nor boto3 reads."""
    known = {name for option in OPTIONS.values() for name in option.variables} | AWS_VARIABLES
    return set(variables) - known


def seconds(duration: object) -> float:
    value = parse_duration(duration)
    assert value is not None, duration
    return value
