"""What fails is kept and said: in /status, in one log line for each reason, in debug lines, and without secrets."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from courier.local.exchange import Response
from tests.process.conftest import Start
from tests.process.test_api import ANY_PORT, Api
from tests.process.world import OK, Courier, Delivery, Queue, Recipient, bodies, until

POISON = "poison"
PASSWORD = "tr0ub4dor&3/+canary"


def fail_poison(delivery: Delivery) -> Response:
    """Refuse one kind of message, as a recipient does that repeats what it was sent."""
    if delivery.body != POISON.encode():
        return OK
    told = f"refused: {delivery.headers['authorization']} ({PASSWORD})\nbad \x1b[31morder".encode()
    return Response(422, body=told)


def kept(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(api.get("/status")[1])["failures"]
    return found


def lines(courier: Courier, event: str) -> list[str]:
    return [line for line in courier.log().splitlines() if f'event="{event}"' in line or f"event={event} " in line]


def test_a_failure_is_shown_with_its_answer_and_logged_once_with_its_count(
    start: Start, queue: Queue, recipient: Recipient, tmp_path: Path
) -> None:
    recipient.behave = fail_poison
    secret = tmp_path / "basic"
    secret.write_text(f"user:{PASSWORD}\n")
    secret.chmod(0o600)
    queue.send([*bodies(20), POISON, POISON])
    options = ["--basic-auth-file", str(secret), "--backoff-cap", "1", "--log-level", "debug"]
    courier = start(queue, *options, "--senders", "2", COURIER_API=ANY_PORT)
    api = Api(courier)
    until(lambda: any(failure["count"] >= 4 for failure in kept(api)), 30, courier.log)
    until(lambda: lines(courier, "deliveries failed"), 30, courier.log)
    [failure] = kept(api)
    assert (failure["reason"], failure["status"]) == ("status 422", 422)
    assert failure["answer"].startswith("refused: Basic *** (***) bad ")
    assert "\x1b" not in failure["answer"]
    assert failure["action"].startswith(("returned to its queue", "kept, and tried again"))
    assert failure["attempts"] >= 1
    [line] = lines(courier, "deliveries failed")
    assert 'reason="status 422"' in line
    assert re.search(r"count=\d+", line)
    assert failure["advice"] in line
    attempts = lines(courier, "attempt")
    assert len([line for line in attempts if "status=200" in line]) >= 20
    assert [line for line in attempts if "status=422" in line]
    secrets = [PASSWORD, base64.b64encode(f"user:{PASSWORD}".encode()).decode().rstrip("=")]
    told = [courier.log(), *(api.get(path)[1].decode() for path in ("/status", "/metrics"))]
    assert not [secret for secret in secrets for text in told if secret in text]
    assert courier.drain() == 0


def test_an_outage_is_one_line_for_its_reason(start: Start, queue: Queue, recipient: Recipient) -> None:
    recipient.stop()
    queue.send(bodies(5))
    courier = start(queue, "--senders", "3", "--consumers", "1", COURIER_API=ANY_PORT)
    api = Api(courier)
    until(lambda: kept(api), 30, courier.log)
    until(lambda: lines(courier, "deliveries failed"), 30, courier.log)
    assert kept(api)[0]["reason"] == "connection refused"
    [line] = lines(courier, "deliveries failed")
    assert "start the recipient" in line
    assert not lines(courier, "attempt")
