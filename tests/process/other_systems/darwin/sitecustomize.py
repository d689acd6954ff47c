"""Takes from Python what it doesn't have on macOS: a program that runs with this on its path may be one for there.

The names are those that Python's documentation has for Linux, or not for macOS.
"""

import fcntl
import os
import resource
import select
import signal
import socket
import sys
import time
import types

MISSING = {
    fcntl: "F_ADD_SEALS F_SETPIPE_SZ F_GETPIPE_SZ F_OFD_SETLK",
    os: "memfd_create MFD_CLOEXEC eventfd eventfd_read eventfd_write EFD_CLOEXEC EFD_NONBLOCK pidfd_open pipe2 "
    "fdatasync posix_fadvise POSIX_FADV_DONTNEED posix_fallocate sched_getaffinity sched_setaffinity copy_file_range "
    "splice getxattr setns unshare getrandom O_TMPFILE O_DIRECT O_PATH O_NOATIME O_RSYNC",
    resource: "prlimit RLIMIT_SIGPENDING RLIMIT_MSGQUEUE",
    select: "epoll EPOLLIN EPOLLOUT EPOLLERR EPOLLHUP EPOLLET EPOLLONESHOT",
    signal: "sigtimedwait sigwaitinfo SIGRTMIN SIGRTMAX pidfd_send_signal SIGPOLL SIGPWR SIGSTKFLT SIGCLD",
    socket: "SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED SO_PASSCRED SCM_CREDENTIALS TCP_USER_TIMEOUT TCP_INFO TCP_QUICKACK "
    "TCP_DEFER_ACCEPT AF_NETLINK AF_VSOCK AF_ALG SO_MARK SO_PEERSEC SO_DOMAIN SO_PROTOCOL MSG_NOSIGNAL MSG_ERRQUEUE",
    time: "CLOCK_BOOTTIME CLOCK_TAI pthread_getcpuclockid",
}

sys.platform = "darwin"
for module, names in MISSING.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

proxies = types.ModuleType("_scproxy")
proxies._get_proxies = dict  # type: ignore[attr-defined]
proxies._get_proxy_settings = dict  # type: ignore[attr-defined]
sys.modules["_scproxy"] = proxies
