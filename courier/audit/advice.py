"""Advice for the operator about a failing audit directory, by the system's error number. Pure."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

_PERMISSION: Final = (
    "let Courier's user write to the directory of --audit-path (owner, mode, SELinux, a mounted volume)"
)
_HARDWARE: Final = "look at the disk and at dmesg; replace the disk, or restart with another --audit-path"
_SERVER: Final = "look at the file server, the network to it and the volume's mount"

BY_ERRNO: Final[Mapping[int, str]] = {
    errno.ENOSPC: "free space on the disk of --audit-path (blocks or inodes), for example move old audit files away",
    errno.EDQUOT: "raise the disk quota of Courier's user, or move old audit files away",
    errno.EROFS: "remount the file system of --audit-path for writing; look at dmesg, because the kernel makes it "
    "read-only after an error",
    errno.EIO: _HARDWARE,
    errno.ENXIO: _HARDWARE,
    errno.ENODEV: _HARDWARE,
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.ENOENT: "create the directory of --audit-path again, or mount it",
    errno.ENOTDIR: "give --audit-path a directory",
    errno.ELOOP: "remove the loop of symbolic links in --audit-path",
    errno.ENAMETOOLONG: "give a shorter --audit-path",
    errno.EEXIST: "find out which program puts files into the directory of --audit-path; only Courier may write to it",
    errno.EINVAL: "move the file out of the directory of --audit-path, and find out which program put it there",
    errno.EAGAIN: "stop the other process, or restart this one with another --audit-path",
    errno.EMFILE: "raise LimitNOFILE (systemd) or ulimit -n",
    errno.ENFILE: "raise fs.file-max: the whole system is out of open files",
    errno.ENOMEM: "give the host more memory, or lower --senders or --concurrency",
    errno.EFBIG: "lower --audit-max-bytes, or raise the limit on file sizes (LimitFSIZE, ulimit -f)",
    errno.ENOLCK: "use a file system for --audit-path that supports flock, or start its lock service",
    errno.EOPNOTSUPP: "use a file system for --audit-path that supports flock and fsync",
    errno.ESTALE: _SERVER,
    errno.ETIMEDOUT: _SERVER,
    errno.EHOSTDOWN: _SERVER,
}

OTHERWISE: Final = "look at the disk of --audit-path and at dmesg"


def advice(error: OSError) -> str:
    """Return what to do about a system error of the audit log; never empty."""
    return BY_ERRNO.get(error.errno or 0, OTHERWISE)
