"""Containers of the image, made of its file system by namespaces alone: no daemon and no registry is needed.

The image is built by ``deploy/image/build``. A container has a mount and a pid namespace of its own, so that Courier is
its PID 1, and the network of this machine, where the queue and the recipient of a test are.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.process.world import children, until
from tests.unit.deploy.files import ROOT
from tests.unit.deploy.tools import PATH

STORE: Final = ROOT / ".venv" / "image"
BUILT: Final = STORE / "built.json"
RUN: Final = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"process {os.getpid()}"
"""This run of the tests, for all of its workers."""

BUILD_SECONDS: Final = 600
START_SECONDS: Final = 60.0

# The root is bound to itself, so that it can be made read-only while what is mounted below it stays as it is.
# What a writable one writes goes to a layer of its own. Arguments: the root, the layer or nothing, user, the volumes as
# SOURCE:TARGET, "--", and what replaces this shell.
ENTER: Final = """
root=$1 layer=$2 user=$3; shift 3
if [ -n "$layer" ]; then
    mkdir -p "$layer/upper" "$layer/work"
    mount -t overlay -o "lowerdir=$root,upperdir=$layer/upper,workdir=$layer/work" overlay "$root"
else
    mount --bind "$root" "$root"
fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for file in hosts resolv.conf; do : >>"$root/etc/$file"; mount --bind "/etc/$file" "$root/etc/$file"; done
while [ "$1" != -- ]; do
    mkdir -p "$root${1#*:}"
    case $1 in
        tmpfs:*) mount -t tmpfs -o mode=1777,size=64m tmpfs "$root${1#*:}" ;;
        *) mount --bind "${1%%:*}" "$root${1#*:}" ;;
    esac
    shift
done
shift
[ -n "$layer" ] || mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" "$@"
"""

# The container's namespace of pids is inside another one, which ends with this process, however it ends, and takes the
# container along. The container's own PID 1 can't be told to: the kernel forgets that when its user changes.
SURROUND: Final = ("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child")


class Image:
    """A built image: the file system of it, and its configuration as Docker would read it."""

    def __init__(self) -> None:
        """Build it from the checkout, once in a run of the tests. Until it is closed, no other run has the store."""
        STORE.mkdir(parents=True, exist_ok=True)
        self._lock = (STORE / "lock").open("w")
        built = self._built()
        while built is None:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if self._read() is None:
                self._build()
            built = self._built()
        self.config: dict[str, Any] = built["config"]
        self.root = Path(built["root"])

    def _built(self) -> dict[str, Any] | None:
        """Return what this run has built, and keep it; ``None`` if it hasn't."""
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        return self._read()

    def _read(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(BUILT.read_text())
        except FileNotFoundError:
            return None
        return found if found["run"] == RUN else None

    def _build(self) -> None:
        # What the last run left: removing it is work that the first one in a checkout, as in CI, doesn't have.
        BUILT.unlink(missing_ok=True)
        for remove in (["rm", "--all"], ["rmi", "--prune"]):
            self._buildah(*remove)
        built = subprocess.run(
            [str(ROOT / "deploy" / "image" / "build"), str(STORE)],
            env={**os.environ, "PATH": PATH},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-4000:]
        name = built.stdout.split()[-1]
        config = json.loads(self._buildah("inspect", "--type", "image", name))["Docker"]["config"]
        container = self._buildah("from", "--pull=never", name).strip()
        root = self._buildah("mount", container).strip()
        BUILT.write_text(json.dumps({"run": RUN, "config": config, "root": root}))

    @property
    def variables(self) -> dict[str, str]:
        return dict(word.split("=", 1) for word in self.config["Env"])

    def close(self) -> None:
        """Let others build."""
        self._lock.close()

    def _buildah(self, *arguments: str) -> str:
        store = ["--root", f"{STORE}/store", "--runroot", f"{STORE}/run", "--storage-driver", "vfs"]
        ran = subprocess.run(
            ["buildah", *store, *arguments],
            env={**os.environ, "PATH": PATH},
            capture_output=True,
            text=True,
            check=True,
        )
        return ran.stdout


class Container:
    """A container of an image, started as ``docker run --read-only --cap-drop ALL`` would."""

    def __init__(
        self,
        image: Image,
        *arguments: str,
        log: Path,
        variables: Mapping[str, str] = {},
        volumes: Mapping[str, Path | None] = {},
        read_only: bool = True,
        entrypoint: Sequence[str] | None = None,
    ) -> None:
        """``volumes`` names directories by their place inside; ``None`` stands for a tmpfs."""
        self.image = image
        self.log_path = log
        binds = [f"tmpfs:{target}" if source is None else f"{source}:{target}" for target, source in volumes.items()]
        given = {**image.variables, **variables}
        # Docker gives them to the first process and to each later one.
        self._surroundings = [
            *("env", "--ignore-environment", f"--chdir={image.config['WorkingDir']}"),
            *(f"{name}={value}" for name, value in given.items()),
        ]
        program = [
            *self._surroundings,
            *(image.config["Entrypoint"] if entrypoint is None else entrypoint),
            *arguments,
        ]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *SURROUND,
                    *("unshare", "--mount", "--pid", "--fork", "sh", "-ec", ENTER, "sh"),
                    *(
                        str(image.root),
                        "" if read_only else f"{log}.layer",
                        image.config["User"],
                        *binds,
                        "--",
                        *program,
                    ),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that is PID 1 inside, as this machine numbers it."""
        (outer,) = children(self.process.pid)
        (pid,) = children(outer)
        return pid

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_ready(self) -> Container:
        until(lambda: "event=ready" in self.log() or self.process.poll() is not None, START_SECONDS, self.log)
        assert self.process.poll() is None, self.log()
        return self

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as ``docker exec`` does."""
        uid, _, gid = self.image.config["User"].partition(":")
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--root", "--setuid", uid, "--setgid", gid]
        return subprocess.run(
            [*enter, *self._surroundings, *command], capture_output=True, text=True, timeout=60, check=False
        )

    def check_health(self) -> subprocess.CompletedProcess[str]:
        """Run the HEALTHCHECK."""
        kind, *command = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.execute(*command)

    def signal(self, number: int) -> None:
        """Send a signal to PID 1, as ``docker kill`` does."""
        os.kill(self.pid, number)

    def stop(self, seconds: float = 45.0) -> int:
        """Stop it as ``docker stop`` does, and return the exit code."""
        self.signal(signal.Signals[self.image.config["StopSignal"]])
        return self.wait(seconds)

    def wait(self, seconds: float = 60.0) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the container did not end within {seconds} s:\n{self.log()}") from None

    def kill(self) -> None:
        """End all of its processes, and with them its namespaces."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
