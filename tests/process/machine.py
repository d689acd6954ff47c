"""A machine with systemd as its process 1, in namespaces of this one: to install, upgrade and run packages in it.

It needs root, a hierarchy of control groups of version 2, and mmdebstrap, which makes its file system once. Its
network is a loopback of its own. What is written in it is gone with it.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.process.world import until

ROOT: Final = Path(__file__).parents[2]
SYSTEM: Final = ROOT / "build" / "debian"
"""Where the file system of all machines is made."""
PACKAGES: Final = "python3,systemd,systemd-sysv,ca-certificates"
PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS: Final = 120.0

# Runs in the new namespaces and becomes process 1. In a container systemd expects shared mounts, over which
# it passes credentials to services. Kernel settings are this machine's, so that they are read-only.
BOOT: Final = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
ip link set lo up 2>/dev/null || "$3" -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH22x", b"lo", 0x41))'
pivot_root . mnt
umount -l /mnt
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console
"""
# What asks for a terminal, or for what these namespaces don't have.
MASKED: Final = ("console-getty.service", "getty@.service", "systemd-logind.service", "systemd-modules-load.service")


class Machine:
    """A running machine."""

    def __init__(self, process_1: int) -> None:
        self.process_1 = process_1

    def command(self, line: str) -> list[str]:
        """Return the command that runs a line of the shell in the machine."""
        inside = ["env", "-i", "--chdir=/", f"PATH={PATH}", "LC_ALL=C.UTF-8", "HOME=/root", "sh", "-c", line]
        return ["nsenter", f"--target={self.process_1}", "--all", *inside]

    def run(self, line: str, *, check: bool = True) -> str:
        """Run a line of the shell, and return what it prints."""
        done = subprocess.run(
            self.command(line), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
        )
        assert not check or done.returncode == 0, f"{line}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def succeeds(self, line: str) -> bool:
        return subprocess.run(self.command(line), capture_output=True, timeout=300, check=False).returncode == 0

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        data = content.encode() if isinstance(content, str) else content
        line = f"mkdir -p {shlex.quote(str(Path(path).parent))} && cat >{shlex.quote(path)} && chmod {mode:o} {path}"
        subprocess.run(self.command(line), input=data, timeout=300, check=True)

    def start(self, line: str) -> None:
        """Start a program that runs until the machine ends."""
        self.run(f"nohup {line} >/tmp/$$.log 2>&1 </dev/null &")


def why_not() -> str:
    """Return what is missing for a machine; empty if there is all."""
    import os

    if os.geteuid():
        return "needs root"
    if _control_groups() is None:
        return "needs control groups of version 2"
    ended = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--cgroup", "--net", "true"], capture_output=True)
    return "" if ended.returncode == 0 else "needs namespaces"


def file_system() -> Path:
    """Return the file system of a machine, made once."""
    if not (SYSTEM / "complete").exists():
        shutil.rmtree(SYSTEM, ignore_errors=True)
        SYSTEM.mkdir(parents=True)
        command = ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie", str(SYSTEM / "root")]
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert made.returncode == 0, made.stdout[-2000:]
        for unit in MASKED:
            (SYSTEM / "root/etc/systemd/system" / unit).symlink_to("/dev/null")
        (SYSTEM / "complete").touch()
    return SYSTEM / "root"


@contextmanager
def booted(directory: Path, python: str) -> Iterator[Machine]:
    """Start a machine with ``directory`` as the place of its files; ``python`` is an interpreter of this machine."""
    groups = _control_groups()
    assert groups is not None
    group = groups / f"courier-test-{time.monotonic_ns()}"
    group.mkdir()
    log = (directory.parent / f"{directory.name}.log").open("wb")
    spaces = ["--pid", "--fork", "--mount", "--uts", "--ipc", "--cgroup", "--net", "--kill-child"]
    line = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        *spaces,
        "sh",
        "-c",
        BOOT,
        "boot",
        str(file_system()),
        str(directory),
        python,
    ]
    outer = subprocess.Popen(
        ["sh", "-c", line, "enter", str(group), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        until(lambda: bool(children.read_text().split()), explain=lambda: Path(log.name).read_text())
        machine = Machine(int(children.read_text().split()[0]))
        ready = ("running", "degraded")
        until(
            lambda: machine.run("systemctl is-system-running", check=False).strip() in ready,
            START_SECONDS,
            explain=lambda: Path(log.name).read_text(errors="replace"),
        )
        yield machine
    finally:
        # The kernel ends all of a namespace with its process 1.
        outer.send_signal(signal.SIGKILL)
        outer.wait()
        log.close()
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group and those below it, once their processes are gone."""
    for _ in range(100):
        for path in sorted(group.rglob("*/"), reverse=True):
            with suppress(OSError):
                path.rmdir()
        with suppress(OSError):
            group.rmdir()
        if not group.exists():
            return
        time.sleep(0.1)


def _control_groups() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(place)
    return None
