"""AWS's runtime interface client with a function, behind the HTTP port that its runtime interface emulator opens.

The client (``awslambdaric``) is AWS's own, in a process of its own. The emulator is a program in Go that no registry
has, so this stands in for it: the Runtime API, and invocations, of which it takes one at a time. Source:
``internal/lambda/rie/handlers.go`` in aws/aws-lambda-runtime-interface-emulator, for the statuses and for a failed
function, which is answered with status 200.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from courier.local.exchange import Request, Response
from tests.threaded_server import ThreadedServer

INVOCATIONS: Final = "/2015-03-31/functions/function/invocations"
RUNTIME: Final = "/2018-06-01/runtime/"
TIMEOUT_SECONDS: Final = 10.0


class Emulator:
    """The emulator and its runtime. ``events`` are those that it took, ``answers`` what the function made of them."""

    def __init__(self, directory: Path, handler: str) -> None:
        """Run the function ``handler`` (module.name), whose module is in ``directory``."""
        self.events: list[dict[str, Any]] = []
        self.answers: list[Any] = []
        self.statuses: list[int] = []
        self._next: asyncio.Queue[bytes] | None = None
        self._answered: asyncio.Future[bytes] | None = None
        self.server = ThreadedServer(self._answer)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COURIER_"))}
        environment |= {
            "AWS_LAMBDA_RUNTIME_API": self.server.url.removeprefix("http://"),
            "AWS_LAMBDA_FUNCTION_NAME": "test_function",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/Functions",
            "AWS_LAMBDA_LOG_STREAM_NAME": "$LATEST",
            "AWS_REGION": "us-east-1",
        }
        self.runtime = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", handler],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def url(self) -> str:
        return f"{self.server.url}{INVOCATIONS}"

    def batches(self) -> list[list[str]]:
        """Return the bodies of each event."""
        return [[record["body"] for record in event["Records"]] for event in self.events]

    def stop(self) -> None:
        self.runtime.kill()
        self.runtime.wait(10)
        self.server.stop()

    async def _answer(self, request: Request) -> Response:
        if self._next is None:
            self._next = asyncio.Queue()
        if request.target == INVOCATIONS:
            response = await self._invoke(request.body)
            self.statuses.append(response.status)
            return response
        action = request.target.removeprefix(RUNTIME)
        if action == "invocation/next":
            return _event(await self._next.get())
        if action.startswith("invocation/") and action.endswith(("/response", "/error")) and self._answered:
            self._answered.set_result(request.body)
            return Response(202, [("Content-Type", "application/json")], b'{"status": "OK"}')
        return Response(404)

    async def _invoke(self, body: bytes) -> Response:
        if self._answered is not None:
            return Response(400)
        assert self._next is not None
        self.events.append(json.loads(body))
        self._answered = asyncio.get_running_loop().create_future()
        self._next.put_nowait(body)
        try:
            answer = await asyncio.wait_for(self._answered, TIMEOUT_SECONDS)
        except TimeoutError:
            answer = f"Task timed out after {TIMEOUT_SECONDS:.2f} seconds".encode()
        finally:
            self._answered = None
        self.answers.append(answer)
        return Response(200, (), answer)


def _event(body: bytes) -> Response:
    headers = [
        ("Lambda-Runtime-Aws-Request-Id", f"{time.monotonic_ns():032d}"),
        ("Lambda-Runtime-Deadline-Ms", str(int((time.time() + TIMEOUT_SECONDS) * 1000))),
        ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:012345678912:function:test_function"),
        ("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"),
        ("Content-Type", "application/json"),
    ]
    return Response(200, headers, body)
