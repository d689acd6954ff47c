"""Batches of a FIFO queue whose bodies lie in S3, while workers are stopped and killed: what holds in any case."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from courier.local.exchange import Request, Response
from tests.faulty_s3 import CUT, FAIL, PASS, TEAR, faulty_s3, kept
from tests.process.test_fetching import fetching, send_pointer
from tests.process.world import Courier, Queue, until
from tests.threaded_server import ThreadedServer


class Function:
    """A function that names some messages as failed, fails as a whole, or is slow; it notes what it took."""

    def __init__(self, draw: random.Random) -> None:
        self.took: list[str] = []
        self.draw = draw
        self.is_calm = False
        self.server = ThreadedServer(self._answer)

    async def _answer(self, request: Request) -> Response:
        records = json.loads(request.body)["Records"]
        groups: set[str] = set()
        failed: list[str] = []
        chance = 1.0 if self.is_calm else self.draw.random()
        await asyncio.sleep(self.draw.choice([0.0, 0.01, 0.3]))
        if chance < 0.1:
            return Response(500)
        if chance < 0.2:
            return Response(200, (), b'{"errorMessage": "x", "errorType": "Y"}')
        for record in records:
            group = record["attributes"]["MessageGroupId"]
            if group in groups or (not self.is_calm and self.draw.random() < 0.05):
                groups.add(group)
                failed.append(record["messageId"])
            else:
                self.took.append(record["body"])
        answer = {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}
        return Response(200, (), json.dumps(answer).encode())


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_each_group_is_taken_in_order_whatever_is_stopped_and_killed(
    virtual_queue: str, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    queue = Queue(virtual_queue, fifo=True)
    function = Function(draw)
    groups, each = 12, 15
    names = [f"g{g}:{n}" for n in range(each) for g in range(groups)]
    with faulty_s3() as s3:
        s3.objects.update({name: kept(name.encode()) for name in names})
        s3.choose = lambda method, _: draw.choice([PASS] * 15 + [FAIL, CUT, TEAR]) if method == "GET" else PASS
        for name in names:
            send_pointer(queue, name, group=name.split(":")[0])
        wait = draw.choice(["0", "0.3", "1"])
        options = (
            "--format",
            "lambda",
            "--batch-wait",
            wait,
            "--visibility-timeout",
            "4",
            "--senders",
            "2",
            "--concurrency",
            "2",
            "--fetch-delete",
            "yes",
            "--breaker-threshold",
            "0",
            "--reject-share",
            "0",
            "--backoff-base",
            "0.1",
            "--backoff-cap",
            "1",
            "--hang-timeout",
            "20",
            "--batch-size",
            "5",
        )
        courier = Courier(
            queue.name, f"{function.server.url}/f", tmp_path, *fetching(s3, *options), endpoint=queue.endpoint
        )
        try:
            courier.wait_ready()
            end = time.monotonic() + 25
            while time.monotonic() < end and queue.counts() != (0, 0):
                time.sleep(draw.uniform(0.1, 1.0))
                pids = courier.pids("sender") + (courier.pids("auditor") if draw.random() < 0.2 else [])
                if not pids:
                    continue
                pid = draw.choice(pids)
                what = draw.random()
                with suppress(ProcessLookupError):
                    if what < 0.3:
                        os.kill(pid, signal.SIGKILL)
                    elif what < 0.8:
                        os.kill(pid, signal.SIGSTOP)
                        time.sleep(draw.choice([0.2, 1.0, 5.0]))
                        os.kill(pid, signal.SIGCONT)
                    else:
                        courier.signal(signal.SIGHUP)
            function.is_calm = True
            s3.choose = lambda *_: PASS
            until(lambda: queue.counts() == (0, 0), 90, courier.log)
            first = list(dict.fromkeys(function.took))
            assert sorted(first) == sorted(names)
            for g in range(groups):
                assert [n for n in first if n.startswith(f"g{g}:")] == [f"g{g}:{n}" for n in range(each)]
            recorded = courier.recorded()
            assert len(recorded) == len(names)
            assert courier.drain() == 0
            assert "Traceback" not in courier.log(), courier.log()
        finally:
            courier.kill()
            function.server.stop()
