"""A pod on this machine, as far as the kernel makes one: its overlay's variables, mounts and network, and PID 1."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from tests.process.world import children, until
from tests.unit.deploy.files import ROOT
from tests.unit.deploy.kustomize import Workload
from tests.unit.deploy.manifests import quantity
from tests.unit.deploy.selectors import claims

TOOLS: Final = ("unshare", "nsenter", "mount", "setpriv")
QUEUE_PREFIX: Final = "https://sqs.eu-west-1.amazonaws.com/123456789012/"
QUEUE_PORT, RECIPIENT_PORT, AWS_PORT = 9324, 8081, 5000
KEYS: Final = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-1"}

# A pod ends with the process that started it, however that ends.
TOGETHER: Final = ("setpriv", "--pdeathsig", "KILL")

# The network of a pod: its own loopback. SIOCSIFFLAGS sets the interface up.
NETWORK: Final = """
import fcntl, signal, socket, struct
with socket.socket() as sock:
    fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 1))
print("up", flush=True)
signal.pause()
"""

GET: Final = """
import sys, urllib.error, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:
        print(answer.status)
        print(answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    print(0)
"""


CLIENTS: Final = f"""
import sys, boto3
s3, firehose = (boto3.client(name, endpoint_url="http://127.0.0.1:{AWS_PORT}", region_name="eu-west-1")
                for name in ("s3", "firehose"))
"""
MAKE: Final = """
bucket, stream = sys.argv[1:]
s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
to = {"RoleARN": "arn:aws:iam::123456789012:role/firehose", "BucketARN": f"arn:aws:s3:::{bucket}"}
firehose.create_delivery_stream(DeliveryStreamName=stream, ExtendedS3DestinationConfiguration=to)
"""
LIST: Final = """
print(*(each["Key"] for each in s3.list_objects_v2(Bucket=sys.argv[1]).get("Contents", ())), sep="\\n")
"""


def can_be_made() -> bool:
    """Return whether this user and kernel may make the namespaces of a pod."""
    if os.geteuid() != 0 or not all(map(shutil.which, TOOLS)):
        return False
    tried = ["unshare", "-m", "-n", "-p", "--fork", "mount", "--make-rprivate", "/"]
    return subprocess.run(tried, capture_output=True, timeout=60, check=False).returncode == 0


class Pod:
    """The pod of a workload. What it reaches, a queue and a recipient, runs in its network, on loopback."""

    def __init__(self, workload: Workload, directory: Path) -> None:
        self.workload = workload
        self.directory = directory
        self.running: list[subprocess.Popen[bytes]] = []
        network = subprocess.Popen([*TOGETHER, "unshare", "-n", sys.executable, "-c", NETWORK], stdout=subprocess.PIPE)
        self.running.append(network)
        assert network.stdout is not None
        assert network.stdout.readline() == b"up\n"
        self.network = network.pid
        self.names = [each.config.queue.removeprefix(QUEUE_PREFIX) for each in workload.configs()]

    def inside(self, *command: str, mounts: int = 0) -> list[str]:
        """Return a command that runs in the pod's network, and in the mounts of a process."""
        return [
            "nsenter",
            f"--net=/proc/{self.network}/ns/net",
            *([f"--mount=/proc/{mounts}/ns/mnt"] if mounts else []),
            *command,
        ]

    def open(self, name: str) -> IO[bytes]:
        return (self.directory / f"{name}.log").open("ab")

    def log(self, name: str = "courier") -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def spawn(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self.open(name) as log:
            process = subprocess.Popen(
                [*TOGETHER, *command],
                env={"PATH": os.environ["PATH"], **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.running.append(process)
        return process

    def start_neighbours(self) -> None:
        """Start the queues, and for each a harness that fills it; the first one takes the deliveries of all."""
        program = [sys.executable, "-m", "courier"]
        queues = [word for name in self.names for word in ("--queue", name)]
        self.spawn("virtual", self.inside(*program, "virtual", "--port", str(QUEUE_PORT), *queues), {})
        self.wait_for(f"http://127.0.0.1:{QUEUE_PORT}/", {200, 400, 404, 405})
        for number, name in enumerate(self.names):
            command = [*program, "harness", "--queue", name, "--endpoint-url", f"http://127.0.0.1:{QUEUE_PORT}"]
            command += ["--port", str(RECIPIENT_PORT + number), "--rate", "20"]
            self.spawn(f"harness-{number}", self.inside(*command), KEYS)

    def start_aws(self) -> None:
        """Start moto's server as S3 and Firehose, with the bucket and the stream that the settings name."""
        (config,) = (each.config for each in self.workload.configs())
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(AWS_PORT)]
        self.spawn("moto", self.inside(*command), {})
        self.wait_for(f"http://127.0.0.1:{AWS_PORT}/moto-api/", {200})
        bucket = (config.audit_archive or "s3://my-bucket").split("/")[2]
        self.aws(MAKE, bucket, config.firehose_stream or "unused")

    def aws(self, script: str, *arguments: str) -> str:
        """Run a script with clients of moto's server, and return what it printed."""
        command = self.inside(sys.executable, "-c", CLIENTS + script, *arguments)
        environment = {"PATH": os.environ["PATH"], **KEYS}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def start(self) -> None:
        """Start Courier as the pod's first process, with a root that it can't write to."""
        environment = self.workload.environment()
        environment |= {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        environment["COURIER_ENDPOINT_URL"] = f"http://127.0.0.1:{QUEUE_PORT}"
        for service in ("FIREHOSE", "AUDIT_ARCHIVE"):
            if any(name.startswith(f"COURIER_{service}") for name in environment):
                environment[f"COURIER_{service}_ENDPOINT_URL"] = f"http://127.0.0.1:{AWS_PORT}"
        script = ["set -e", "mount --make-rprivate /", "mount -t tmpfs tmpfs /var/lib"]
        for number, (path, volume) in enumerate(self.volumes().items()):
            outside = self.directory / f"volume-{number}"
            outside.mkdir(exist_ok=True)
            place = path if path.startswith("/var/lib/") else f"/var/lib/volume-{number}"
            if "configMap" in volume:
                for name, text in self.workload.named("ConfigMap", volume["configMap"]["name"])["data"].items():
                    (outside / name).write_text(self.on_loopback(text))
                environment["COURIER_CONFIG"] = environment["COURIER_CONFIG"].replace(path, place)
            script.append(f"mkdir -p {place}")
            if path != "/tmp":
                script.append(f"mount --bind {outside} {place}")
        size = quantity(self.volumes()["/tmp"]["emptyDir"]["sizeLimit"])
        # The program may lie in a checkout below /tmp, which the volume would hide.
        kept = [str(ROOT)] if ROOT.is_relative_to("/tmp") else []
        script += [f"mkdir /var/lib/checkout && mount --bind {path} /var/lib/checkout" for path in kept]
        script += [
            f"mount -t tmpfs -o size={size} tmpfs /tmp",
            *(f"mkdir -p {path} && mount --bind /var/lib/checkout {path}" for path in kept),
            "mount -o remount,bind,ro /",
            "mount -o remount,ro /var/lib",
        ]
        environment = {name: self.on_loopback(value) for name, value in environment.items()}
        shell = "\n".join([*script, 'exec "$@"'])
        command = ["unshare", "-m", "-p", "--fork", "--kill-child", "--mount-proc", "sh", "-c", shell, "sh"]
        command += [sys.executable, "-m", "courier", *self.workload.arguments()]
        self.courier = self.spawn("courier", self.inside(*command), environment)
        self.environment = environment

    def is_ready(self) -> bool:
        """Return whether the program has said that it is ready, all of its queues."""
        lines = [json.loads(line) for line in self.log().splitlines(keepends=True) if line.endswith("\n")]
        several = len(self.names) > 1
        return any(each["event"] == "ready" and ("queues" in each) == several for each in lines)

    def volumes(self) -> dict[str, dict[str, Any]]:
        """Return the pod's volumes by the path where they are mounted; a claim has its name alone."""
        volumes = {each["name"]: each for each in self.workload.pod["volumes"]}
        volumes |= {name: {"name": name} for name in claims(self.workload)}
        return {each["mountPath"]: volumes[each["name"]] for each in self.workload.container["volumeMounts"]}

    def on_loopback(self, text: str) -> str:
        """Return settings with the queues and the recipients of this machine in place of those of the overlay."""
        for config in (each.config for each in self.workload.configs()):
            text = text.replace(config.recipient_url, f"http://127.0.0.1:{RECIPIENT_PORT}/")
        return text.replace(QUEUE_PREFIX, "")

    @property
    def pid(self) -> int:
        """The pod's first process, as this machine numbers it."""
        (pid,) = children(self.courier.pid)
        return pid

    def memory(self) -> int:
        """Return the bytes of all processes; what several share counts once."""
        found, kib = [self.pid], 0
        for pid in found:
            found += children(pid)
            with suppress(OSError):
                kib += sum(
                    map(int, re.findall(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M))
                )
        return kib * 1024

    def get(self, path: str) -> int:
        """Return the status of the answer of the API; 0 if there is none."""
        (port,) = self.workload.container["ports"]
        return self.fetch(f"http://127.0.0.1:{port['containerPort']}{path}")

    def fetch(self, url: str) -> int:
        return int(self.answer(url)[0])

    def answer(self, url: str) -> list[str]:
        """Return the status and the lines of an answer."""
        command = self.inside(sys.executable, "-c", GET, url)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()

    def status(self) -> dict[str, Any]:
        """Return what GET /status says."""
        (port,) = self.workload.container["ports"]
        found: dict[str, Any] = json.loads(self.answer(f"http://127.0.0.1:{port['containerPort']}/status")[1])
        return found

    def wait_for(self, url: str, statuses: set[int]) -> None:
        until(lambda: self.fetch(url) in statuses, every=0.1)

    def execute(self, *words: str) -> dict[str, Any]:
        """Run a command of Courier's in the pod, as ``kubectl exec`` does; return its answer."""
        command = self.inside(sys.executable, "-m", "courier", *words, "-o", "json", mounts=self.pid)
        ran = subprocess.run(
            command,
            env={"PATH": os.environ["PATH"], **self.environment},
            # A mount namespace begins in its root.
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        answer: dict[str, Any] = json.loads(ran.stdout)
        return answer

    def stop(self) -> int:
        """End the pod as the kubelet does; return the exit code. It must be gone before the kubelet would kill it."""
        os.kill(self.pid, signal.SIGTERM)
        return self.courier.wait(self.workload.grace_seconds)

    def close(self) -> None:
        for process in reversed(self.running):
            if process.poll() is None:
                for pid in children(process.pid):
                    os.kill(pid, signal.SIGKILL)
                process.kill()
                process.wait()
