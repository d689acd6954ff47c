"""Keys from the fixed addresses of AWS, in a network of the test's own: those of an ECS task and of an EC2 instance."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

SCRIPT: Final = """
import json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from courier.sqs.credentials import NoKeys
from courier.sqs.discovery import aws_configuration

class Fake(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"Code": "Success", "AccessKeyId": "ASIA" + self.server.name, "SecretAccessKey": "s",
                           "Token": "t", "Expiration": "2999-01-01T00:00:00Z"})
        if self.path.endswith("/security-credentials/"):
            body = "courier"
        if self.path.endswith("/api/token"):
            body = "token"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    do_PUT = do_GET
    def log_message(self, *_): pass

for name, address in (("TASK", "169.254.170.2"), ("INSTANCE", "169.254.169.254"), ("PROXY", "127.0.0.1")):
    server = ThreadingHTTPServer((address, 3128 if name == "PROXY" else 80), Fake)
    server.name = name
    threading.Thread(target=server.serve_forever, daemon=True).start()
try:
    print(aws_configuration(os.environ).find_keys("us-east-1").read().access_key, flush=True)
except NoKeys as error:
    print(error, flush=True)
os._exit(0)
"""
NETWORK: Final = (
    'ip link set lo up && ip addr add 169.254.170.2/32 dev lo && ip addr add 169.254.169.254/32 dev lo && exec "$@"'
)
RELATIVE: Final = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/of-the-task"}
PROXY: Final = {"HTTP_PROXY": "http://127.0.0.1:3128"}


def isolated() -> list[str]:
    """Return the command that runs another in a network of its own, empty where this machine allows none."""
    command = ["unshare", "-rn", "sh", "-c", NETWORK, "sh"]
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return []
    return command if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0 else []


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        (RELATIVE, "ASIATASK"),
        ({}, "ASIAINSTANCE"),
        # Of the addresses of containers boto3 knows that no proxy leads to them, of the instance's it doesn't.
        (RELATIVE | PROXY, "ASIATASK"),
        (PROXY, "ASIAPROXY"),
        (PROXY | {"NO_PROXY": "169.254.169.254"}, "ASIAINSTANCE"),
    ],
)
def test_a_task_and_an_instance_give_keys_at_the_addresses_of_aws(
    tmp_path: Path, variables: dict[str, str], found: str
) -> None:
    command = isolated()
    if not command:
        pytest.skip("needs unshare and ip, and the right to use them")
    environ = {"HOME": str(tmp_path), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [*command, sys.executable, "-c", SCRIPT], env=environ | variables, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == found, done.stderr
