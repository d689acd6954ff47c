"""docker-compose.yml, and all that it would start: as processes here, with the hosts and ports of this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import jsonschema
import pytest
import yaml

from courier.cli import COMMANDS
from courier.cli.harness import command as harness
from courier.cli.virtual import virtual
from courier.config.config import DEFAULTS
from courier.errors import EXIT_USAGE
from scripts.faults.ports import held_port
from tests.process.world import until
from tests.unit.deploy.files import (
    DEPLOY,
    ROOT,
    compose,
    environment,
    healthcheck,
    image_environment,
    instructions,
    pod_container,
    seconds,
    unknown,
)

SERVICES = compose()
OURS = [name for name, service in SERVICES.items() if service["image"] == "courier"]
RUN_BY_DEFAULT = [name for name in OURS if "profiles" not in SERVICES[name]]
SCHEMA: Final = Path(__file__).parent / "schemas" / "compose-spec.json"
"""The schema of the Compose Specification (Apache License 2.0), as of github.com/compose-spec/compose-spec 170098b."""


class Stack:
    """What ``docker compose up`` starts. The names and ports of its network are those of loopback here."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.held = {port: held_port() for port in ("9324", "8081", "8080")}
        self.ports = {port: int(holder.getsockname()[1]) for port, holder in self.held.items()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def adapt(self, text: str) -> str:
        for name in ("queue", "harness", "0.0.0.0"):
            text = text.replace(f"//{name}:", "//127.0.0.1:").replace(f"{name}:", "127.0.0.1:")
        text = re.sub("|".join(self.ports), lambda port: str(self.ports[port[0]]), text)
        return text.replace("0.0.0.0", "127.0.0.1").replace("/var/lib/courier", str(self.directory))

    def start(self, name: str) -> None:
        """Start a service when those it depends on are healthy."""
        for other in SERVICES[name].get("depends_on", {}):
            until(lambda other=other: self.healthy(other), 30, self.log)  # type: ignore[misc]
        command = [self.adapt(word) for word in SERVICES[name].get("command", [])]
        if command:
            # The ports that the commands leave to their defaults.
            command += ["--port", str(self.ports["9324" if command[0] == "virtual" else "8081"])]
        with (self.directory / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "courier", *command],
                env=self.variables(name),
                cwd=self.directory,
                stdout=log,
                stderr=log,
            )

    def variables(self, name: str) -> dict[str, str]:
        given = {**image_environment(), **environment(SERVICES[name])}
        variables = {key: self.adapt(value) for key, value in given.items() if value is not None}
        return variables | {"PATH": os.environ["PATH"]}

    def healthy(self, name: str) -> bool:
        # In a container the supervisor is the only one; here it is named.
        own = ["CMD", *healthcheck(), str(self.processes[name].pid)]
        test = SERVICES[name].get("healthcheck", {}).get("test") or own
        assert test[0] == "CMD"
        command = [sys.executable if word == "python" else self.adapt(word) for word in test[1:]]
        found = subprocess.run(command, env=self.variables(name), capture_output=True, timeout=10, check=False)
        return found.returncode == 0

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self.directory.glob("*.log"))

    def get(self, path: str, host: str = "127.0.0.1") -> int:
        url = f"http://127.0.0.1:{self.ports['8080']}{path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    def stop(self, name: str) -> int:
        (stop_signal,) = instructions("STOPSIGNAL")
        self.processes[name].send_signal(signal.Signals[stop_signal.text])
        return self.processes[name].wait(seconds(SERVICES[name].get("stop_grace_period", "10s")))

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        for holder in self.held.values():
            holder.close()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    yield stack
    stack.close()


def test_what_compose_starts_delivers_and_stops_in_order(stack: Stack) -> None:
    for name in RUN_BY_DEFAULT:
        stack.start(name)
    until(lambda: stack.healthy("courier"), 30, stack.log)
    until(lambda: sum(file.read_bytes().count(b"\n") for file in audit_files(stack)) >= 3, 30, stack.log)
    # The probes of Kubernetes ask the same API.
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = pod_container()[probe]["httpGet"]["path"]
        until(lambda path=path: stack.get(path) == 200, 30, stack.log)  # type: ignore[misc]
    (target,) = scraped()["static_configs"][0]["targets"]
    assert stack.get("/metrics", target) == 200
    assert stack.get("/metrics", "elsewhere:8080") == 421
    assert {name: stack.stop(name) for name in reversed(RUN_BY_DEFAULT)} == dict.fromkeys(RUN_BY_DEFAULT, 0)
    assert not stack.healthy("courier")


def audit_files(stack: Stack) -> list[Path]:
    return list(Path(stack.variables("courier")["COURIER_AUDIT_PATH"]).glob("*.jsonl"))


def test_the_ports_left_to_their_defaults_are_those_of_the_commands() -> None:
    defaults = {command.name: {p.name: p.default for p in command.params} for command in (virtual, harness)}
    assert defaults["virtual"]["port"] == 9324
    assert defaults["harness"]["port"] == 8081


def scraped() -> dict[str, Any]:
    """Return Prometheus' job."""
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    return dict(job)


def mounts(name: str) -> dict[str, Path]:
    """Return the files of the checkout that a service sees, by their places inside."""
    found = (volume.split(":") for volume in SERVICES[name].get("volumes", ()))
    return {words[1]: ROOT / words[0] for words in found if words[0].startswith(".")}


def problems(document: object) -> list[str]:
    schema = json.loads(SCHEMA.read_text())
    return [each.message for each in jsonschema.Draft7Validator(schema).iter_errors(document)]


def test_it_is_what_the_compose_specification_allows() -> None:
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert problems(document) == []
    for key, value in (("read_onyl", True), ("ports", "8080"), ("cap_drop", [1])):
        document["services"]["courier"] = {**SERVICES["courier"], key: value}
        assert problems(document), key


def test_a_service_names_only_services_volumes_and_files_that_are_there() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        for source in (volume.split(":")[0] for volume in service.get("volumes", ())):
            assert (ROOT / source).exists() if source.startswith(".") else source in compose_volumes(), (name, source)
        assert all(volume.endswith(":ro") for volume in service.get("volumes", ()) if volume.startswith("."))


def test_no_two_services_publish_the_same_port() -> None:
    for profile in ("", "grafana"):
        running = [each for each in SERVICES.values() if each.get("profiles", [profile]) == [profile]]
        published = [port.rsplit(":", 1)[0] for each in running for port in each.get("ports", ())]
        assert len(published) == len(set(published))


def test_the_images_of_others_have_a_version() -> None:
    images = {SERVICES[name]["image"] for name in set(SERVICES) - set(OURS)}
    assert all(re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", image) for image in images), images


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_prometheus_takes_its_configuration_and_finds_the_alerts(tmp_path: Path) -> None:
    for place, file in mounts("prometheus").items():
        shutil.copy(file, tmp_path / PurePosixPath(place).name)
    checked = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert re.search(r"SUCCESS: \d+ rules found", checked.stdout)
    (target,) = scraped()["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert SERVICES[host]["image"] == "courier"
    assert environment(SERVICES[host])["COURIER_API_HOST"] == host
    assert image_environment()["COURIER_API"].endswith(f":{port}")


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    seen = mounts("grafana")
    provisioning = seen["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    # The dashboard's variable takes the default one.
    assert source["isDefault"] is True
    host, port = source["url"].removeprefix("http://").split(":")
    assert SERVICES[host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "courier.yml").read_text())["providers"]
    home = environment(SERVICES["grafana"])["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home is not None
    assert str(PurePosixPath(home).parent) == provider["options"]["path"]
    assert json.loads(seen[home].read_text())["title"] == "Courier"


@pytest.mark.full
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Prometheus")
def test_prometheus_collects_the_metrics_and_knows_the_alerts(stack: Stack, tmp_path: Path) -> None:
    for name in RUN_BY_DEFAULT:
        stack.start(name)
    until(lambda: stack.healthy("courier"), 30, stack.log)
    for place, file in mounts("prometheus").items():
        shutil.copy(file, tmp_path / PurePosixPath(place).name)
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(configuration.read_text().replace("courier:8080", f"localhost:{stack.ports['8080']}"))
    with held_port() as holder, (tmp_path / "prometheus.log").open("wb") as log:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        stack.processes["prometheus"] = subprocess.Popen(
            [
                *("prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={tmp_path}/data"),
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
        until(lambda: delivered(address) > 0, 60, stack.log)
    with urllib.request.urlopen(f"http://{address}/api/v1/rules", timeout=5) as answer:
        (group,) = json.load(answer)["data"]["groups"]
    assert group["name"] == "courier"
    assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}


def delivered(prometheus: str) -> float:
    try:
        query = f"http://{prometheus}/api/v1/query?query=sum(courier_delivered_total)"
        with urllib.request.urlopen(query, timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
    except OSError:
        return 0
    return float(found[0]["value"][1]) if found else 0


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_is_read(name: str) -> None:
    assert unknown(environment(SERVICES[name])) == set()


@pytest.mark.parametrize("name", [name for name in SERVICES if name.startswith("courier")])
def test_docker_waits_longer_for_the_end_than_the_drain_takes(name: str) -> None:
    drain = environment(SERVICES[name]).get("COURIER_DRAIN_TIMEOUT") or DEFAULTS["drain_timeout_seconds"]
    assert seconds(SERVICES[name]["stop_grace_period"]) >= seconds(drain) + 10


@pytest.mark.parametrize("name", [name for name in SERVICES if name.startswith("courier")])
def test_the_audit_log_outlives_the_container(name: str) -> None:
    (volume,) = SERVICES[name]["volumes"]
    source, _, target = volume.partition(":")
    assert source in compose_volumes()
    assert PurePosixPath(image_environment()["COURIER_AUDIT_PATH"]).is_relative_to(target)


def compose_volumes() -> set[str]:
    return set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_may_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_only_the_profile_for_aws_takes_its_values_from_outside() -> None:
    assert SERVICES["courier-aws"]["profiles"] == ["aws"]
    assert set(environment(SERVICES["courier-aws"]).values()) == {None}
    for name in set(SERVICES) - {"courier-aws"}:
        assert None not in environment(SERVICES[name]).values()


def test_the_service_for_aws_says_what_is_missing_in_one_line(stack: Stack) -> None:
    stack.start("courier-aws")
    assert stack.processes["courier-aws"].wait(20) == EXIT_USAGE
    (line,) = stack.log().splitlines()
    assert "COURIER_QUEUE" in line


def test_the_commands_in_its_comments_name_what_is_there() -> None:
    lines = [line[4:] for line in (ROOT / "docker-compose.yml").read_text().splitlines() if line.startswith("#   ")]
    assert len(lines) == 5
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}
    for line in lines:
        words = shlex.split(line)
        variables = {word.partition("=")[0] for word in words if "=" in word}
        assert variables <= set(environment(SERVICES["courier-aws"]))
        if "exec" in words:
            service, program, command, *_ = words[words.index("exec") + 1 :]
            assert service in SERVICES
            assert program == instructions("ENTRYPOINT")[0].words()[0]
            assert command in COMMANDS
        elif "docker" in words:
            assert all(word in SERVICES for word in words[words.index("--build") + 1 :])
            assert {words[n + 1] for n, word in enumerate(words) if word == "--profile"} <= profiles
        else:
            assert words == ["curl", "http://127.0.0.1:8080/status"]
