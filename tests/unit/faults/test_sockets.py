from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from scripts.faults.process_tree import kill, state
from scripts.faults.sockets import Connection, connections, ports_of
from tests.process.world import until

CONNECTED = """
import socket, sys, time
streams = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(2)]
listener = socket.create_server(("127.0.0.1", 0))
time.sleep(600)
"""


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
            port = listener.getsockname()[1]
            assert set(connections(process.pid)) == {Connection(each, port) for each in ports}
            assert ports_of(process.pid) == ports
            assert not ports & ports_of(os.getpid())
            for stream, _ in accepted:
                stream.close()
        finally:
            kill(process.pid, signal.SIGKILL)
            process.wait()
        assert ports_of(process.pid) == frozenset()
