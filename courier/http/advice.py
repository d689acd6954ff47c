"""Advice: what an operator can do about a failed connection to any server. Pure."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from courier.http import answer

RESOLV_CONF: Final = Path("/etc/resolv.conf")

BY_SHORTAGE: Final[Mapping[str, str]] = {
    answer.NO_DESCRIPTORS: "raise LimitNOFILE (systemd) or ulimit -n, or lower --concurrency; where all of the system "
    "is out of them, raise fs.file-max",
    answer.NO_PORTS: "widen net.ipv4.ip_local_port_range, lower --senders or --concurrency, or let the recipient keep "
    "connections alive",
    answer.NO_MEMORY: "give the host more memory or larger socket buffers, or lower --senders or --concurrency",
    answer.NO_THREADS: "raise TasksMax (systemd), the container's pids limit or ulimit -u, or lower --concurrency",
}
"""What to do about each shortage of this machine."""

BY_NAME_FAILURE: Final[Mapping[str, str]] = {
    answer.RESOLVE: "DNS has no such name or no address for it: correct the host name, or add it to DNS",
    answer.RESOLVER_FAILED: "the name servers in /etc/resolv.conf don't answer or fail: check them and the network "
    "to them; Courier asks again by itself",
    answer.NO_RESOLVER: "/etc/resolv.conf names no name server: configure DNS for this machine or container",
}
"""What to do about a name that was not resolved."""

_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY, socket.EAI_SERVICE})


def name_failure(error: Exception, resolv_conf: Path = RESOLV_CONF) -> str:
    """Return the reason, a key of :data:`BY_NAME_FAILURE`, that an error of ``socket.getaddrinfo`` stands for.

    A name that DNS doesn't have is a typing error of the operator; name servers that fail are an outage. The C library
    reports an outage even if no name server is configured.
    """
    if not isinstance(error, socket.gaierror) or error.errno in _NO_SUCH_NAME:
        return answer.RESOLVE
    return answer.RESOLVER_FAILED if _names_a_server(resolv_conf) else answer.NO_RESOLVER


def _names_a_server(resolv_conf: Path) -> bool:
    try:
        lines = resolv_conf.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.split()[:1] == ["nameserver"] for line in lines)
