from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from scripts.faults.sockets import ports_of
from tests.process.world import kill, until

CONNECTED = """
import socket, sys, time
streams = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(2)]
listener = socket.create_server(("127.0.0.1", 0))
time.sleep(600)
"""


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_has_the_ports_of_its_connections_even_while_it_is_stopped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        process = subprocess.Popen([sys.executable, "-c", CONNECTED, str(listener.getsockname()[1])])
        try:
            accepted = [listener.accept() for _ in range(2)]
            ports = {address[1] for _, address in accepted}
            until(lambda: ports_of(process.pid) == ports)
            os.kill(process.pid, signal.SIGSTOP)
            until(lambda: state(process.pid) == "T")
            assert ports_of(process.pid) == ports
            assert not ports & ports_of(os.getpid())
            for stream, _ in accepted:
                stream.close()
        finally:
            kill(process.pid, signal.SIGKILL)
            process.wait()
        assert ports_of(process.pid) == frozenset()
