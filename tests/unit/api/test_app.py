"""The endpoints, asked without a network in between."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

import courier
from courier.api.app import build_app
from courier.api.readiness import BY_STATE
from courier.api.status import Status
from courier.process import scoreboard
from courier.process.pause import write_pause
from courier.process.scoreboard import Scoreboard, Slot
from courier.recipient.breaker import View
from courier.recipient.views import write_view
from tests.unit.api.boards import observed, running_board

HERE = "127.0.0.1:8080"
PATHS = ("/status/health", "/status/ready", "/status", "/status/samples", "/metrics", "/debug/stacks")


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def dumps(slots: Sequence[Slot]) -> list[tuple[Slot, int, str]]:
    return [(slot, slot.words[scoreboard.PID], "a stack") for slot in slots if slot.words[scoreboard.PID]]


def ask(app: Starlette, path: str, method: str = "GET", client: str = "127.0.0.1", **headers: str) -> Reply:
    """Make one request as an HTTP server would."""
    return asyncio.run(answer(app, path, method, client, **headers))


async def answer(app: Starlette, path: str, method: str = "GET", client: str = "127.0.0.1", **headers: str) -> Reply:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in ({"host": HERE} | headers).items()
        ],
        "client": (client, 40000),
        "server": ("127.0.0.1", 8080),
    }
    await app(scope, receive, send)
    start = sent[0]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Reply(start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body)


@pytest.fixture
def board() -> Scoreboard:
    return running_board()


@pytest.fixture
def app(board: Scoreboard) -> Starlette:
    seen = observed(board)
    return build_app(seen, Status(seen, {"queue": "orders", "senders": 2}), dumps)


def test_health_is_200_whatever_the_board_says(app: Starlette, board: Scoreboard) -> None:
    board.supervisor.words[scoreboard.STATE] = scoreboard.DRAINING
    reply = ask(app, "/status/health")
    assert (reply.status, reply.json()) == (200, {})


def test_a_pause_by_a_person_stands_beside_the_readiness_and_does_not_change_it(
    app: Starlette, board: Scoreboard
) -> None:
    write_pause(board, "root (uid 0, pid 7)", "deploying", time.monotonic() - 12)
    reply = ask(app, "/status/ready")
    assert (reply.status, reply.json()["ready"]) == (200, True)
    told = reply.json()["pause"]
    assert (told["by"], told["reason"]) == ("root (uid 0, pid 7)", "deploying")
    assert 12 <= told["seconds"] < 60
    assert abs(told["since"] - time.time()) < 60
    board.supervisor.words[scoreboard.STATE] = scoreboard.DRAINING
    reply = ask(app, "/status/ready")
    assert (reply.status, reply.json()["pause"]["reason"]) == (503, "deploying")


def test_ready_says_yes_or_503_with_reasons(app: Starlette, board: Scoreboard) -> None:
    assert ask(app, "/status/ready")[::2] == (200, b'{"ready":true}')
    board.supervisor.words[scoreboard.STATE] = scoreboard.DRAINING
    reply = ask(app, "/status/ready")
    told = {"ready": False, "reasons": ["draining"], "advice": [BY_STATE["draining"]]}
    assert (reply.status, reply.json()) == (503, told)


def test_status_shows_settings_totals_rates_and_every_worker(app: Starlette, board: Scoreboard) -> None:
    slot = board.slots("sender")[1]
    slot.words[scoreboard.DELIVERED] = 7
    slot.words[scoreboard.IN_FLIGHT] = 3
    slot.words[scoreboard.LIMIT] = 5
    slot.words[scoreboard.RESTARTS] = 2
    slot.words[scoreboard.RESTARTS_EXIT] = slot.words[scoreboard.RESTARTS_HUNG] = 1
    shown = ask(app, "/status").json()
    assert (shown["version"], shown["state"], shown["reasons"]) == (courier.__version__, "ready", [])
    assert shown["settings"] == {"queue": "orders", "senders": 2}
    assert (shown["totals"]["delivered"], shown["totals"]["restarts"], shown["in_flight"]) == (7, 2, 3)
    assert set(shown["rates"]) == {"1s", "10s", "60s"}
    assert shown["rates"]["1s"]["delivered"] > 0
    assert shown["queued"] == {"work": {"waiting": 0, "bytes": 0}, "acks": {"waiting": 0, "bytes": 0}}
    workers = [(worker["role"], worker["index"]) for worker in shown["workers"]]
    assert workers == [
        ("api", 0),
        ("auditor", 0),
        ("sender", 0),
        ("sender", 1),
        ("consumer", 0),
        ("consumer", 1),
        ("supervisor", 0),
    ]
    told = next(worker for worker in shown["workers"] if (worker["role"], worker["index"]) == ("sender", 1))
    assert told.pop("last_beat_seconds") >= 0
    assert told.pop("memory_bytes") is None or told["pid"] == 1001
    assert told == {
        "role": "sender",
        "index": 1,
        "pid": 1001,
        "state": "ready",
        "on_duty": True,
        "in_flight": 3,
        "limit": 5,
        "asked": None,
        "held": None,
        "restarts": 2,
        "restarts_by": {"exit": 1, "signal": 0, "hung": 1},
    }


def test_status_shows_the_breaker_the_pause_the_limit_and_what_was_rejected(app: Starlette, board: Scoreboard) -> None:
    shown, no = ask(app, "/status").json(), {"messages": 0, "answers": 0, "status": 0}
    quiet = {"state": "closed", "faults_in_a_row": 0, "next_probe_seconds": 0.0, "openings": 0, "refused": no}
    assert shown["breaker"] == quiet | {"history": [], "open_seconds_last_hour": 0}
    assert (shown["paused_seconds"], shown["limit"], shown["totals"]["rejected"]) == (0.0, 0, 0)
    now = time.monotonic()
    first, second = board.slots("sender")[:2]
    write_view(first, View(faults=3, fault_at=now))
    write_view(second, View(faults=7, fault_at=now, opened_at=now, open_until=now + 60, trips=2))
    second.words[scoreboard.OPENINGS] = 2
    first.words[scoreboard.REJECTED] = 4
    first.words[scoreboard.LIMIT], second.words[scoreboard.LIMIT] = 16, 5
    first.reals[scoreboard.PAUSED_UNTIL] = now + 60
    shown = ask(app, "/status").json()
    assert shown["breaker"].pop("next_probe_seconds") == pytest.approx(60, abs=5)
    told = {name: shown["breaker"][name] for name in quiet if name in shown["breaker"]}
    assert told == {"state": "open", "faults_in_a_row": 10, "openings": 2, "refused": no}
    assert shown["paused_seconds"] == pytest.approx(60, abs=5)
    assert (shown["limit"], shown["totals"]["rejected"]) == (21, 4)


@pytest.mark.parametrize(
    ("state", "word"),
    [(scoreboard.STARTING, "starting"), (scoreboard.DRAINING, "draining"), (scoreboard.READY, "ready")],
)
def test_the_state_is_that_of_the_program(app: Starlette, board: Scoreboard, state: int, word: str) -> None:
    board.supervisor.words[scoreboard.STATE] = state
    assert ask(app, "/status").json()["state"] == word


def test_what_keeps_it_from_being_ready_stands_in_the_status_too(app: Starlette, board: Scoreboard) -> None:
    board.slots("auditor")[0].words[scoreboard.AUDIT_FAILING] = 1
    shown = ask(app, "/status").json()
    assert (shown["state"], shown["reasons"]) == ("not ready", ["audit failing"])
    assert shown["advice"] == [BY_STATE["audit failing"]]


def test_metrics_come_as_text_and_as_open_metrics_where_that_is_asked_for(app: Starlette) -> None:
    plain = ask(app, "/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(plain.body.decode())}
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    opened = ask(app, "/metrics", accept=accept)
    assert opened.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in open_metrics(opened.body.decode())} == names  # type: ignore[no-untyped-call]
    assert ask(app, "/metrics", accept="text/plain;version=x;escaping=\x7f").status == 200


@pytest.mark.parametrize("client", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_stacks_are_for_this_machine(app: Starlette, client: str) -> None:
    reply = ask(app, "/debug/stacks", client=client)
    assert reply.status == 200
    assert "--- sender 1, pid 1001\na stack\n" in reply.body.decode()


@pytest.mark.parametrize("client", ["10.0.0.7", "::ffff:10.0.0.7", "2001:db8::1", "not-an-address", ""])
def test_stacks_are_not_for_other_machines(app: Starlette, client: str) -> None:
    assert ask(app, "/debug/stacks", client=client).status == 403


@pytest.mark.parametrize(
    "header",
    [
        "forwarded",
        "via",
        "x_forwarded_for",
        "x_forwarded_host",
        "x_forwarded_proto",
        "x_real_ip",
        "x_client_ip",
        "x_cluster_client_ip",
        "x_original_forwarded_for",
        "x_envoy_external_address",
        "x_amzn_trace_id",
        "true_client_ip",
        "cf_connecting_ip",
        "cf_ray",
        "fastly_client_ip",
    ],
)
def test_nor_for_whom_a_proxy_speaks(app: Starlette, header: str) -> None:
    reply = ask(app, "/debug/stacks", **{header: "127.0.0.1"})
    assert (reply.status, "through no proxy" in reply.json()["error"]) == (403, True)


@pytest.mark.parametrize("host", ["courier.example.com", "10.0.0.7:8080", "", "127.0.0.1 evil"])
def test_nor_where_a_proxy_kept_the_host_that_it_was_asked_for(app: Starlette, host: str) -> None:
    assert ask(app, "/debug/stacks", host=host).status == 403


@pytest.mark.parametrize("host", ["localhost:8080", "[::1]:8080", "127.0.0.1"])
def test_and_are_there_by_every_name_of_this_machine(app: Starlette, host: str) -> None:
    assert ask(app, "/debug/stacks", host=host).status == 200


def test_stacks_are_gathered_for_one_at_a_time(board: Scoreboard) -> None:
    async def run() -> list[int]:
        gate = asyncio.Event()

        async def slow(slots: Sequence[Slot]) -> list[tuple[Slot, int, str]]:
            await gate.wait()
            return await dumps(slots)

        seen = observed(board)
        app = build_app(seen, Status(seen, {}), slow)
        first = asyncio.ensure_future(answer(app, "/debug/stacks"))
        await asyncio.sleep(0)
        others = [await answer(app, "/debug/stacks") for _ in range(3)]
        gate.set()
        return [(await first).status, *(other.status for other in others), (await answer(app, "/debug/stacks")).status]

    assert asyncio.run(run()) == [200, 503, 503, 503, 200]


@pytest.mark.parametrize("path", ["/", "/status/", "/metrics/", "/debug", "/docs", "/openapi.json", "/status/ready/x"])
def test_there_is_nothing_else(app: Starlette, path: str) -> None:
    reply = ask(app, path)
    assert (reply.status, reply.json()) == (404, {"error": "Not Found"})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(app: Starlette, path: str, method: str) -> None:
    reply = ask(app, path, method)
    assert (reply.status, reply.json()) == (405, {"error": "Method Not Allowed"})
    assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", PATHS)
def test_head_is_answered_as_get(app: Starlette, path: str) -> None:
    assert ask(app, path, "HEAD").status == ask(app, path).status == 200
