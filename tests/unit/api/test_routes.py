"""What /status, the metrics and the readiness say of several recipients."""

from __future__ import annotations

import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from courier.api.collector import BoardCollector
from courier.api.observed import Observed
from courier.api.readiness import not_ready
from courier.api.routes import routes_status
from courier.api.status import Status
from courier.api.workers import worker
from courier.process import scoreboard
from courier.process.scoreboard import READY, Scoreboard, Slot
from courier.process.standby import HAS_ROOM
from courier.recipient.breaker import View
from courier.recipient.views import write_view
from tests.unit.api.boards import Waiting, observed, running_board

ROUTE = "sender:orders"


@pytest.fixture
def seen() -> Observed:
    """A program with a route, in which all is well."""
    now = time.monotonic()
    board = Scoreboard.create({"consumer": 1, "sender": 1, ROUTE: 1, "auditor": 1, "api": 1})
    for role in board.roles():
        slot = board.slots(role)[0]
        slot.words[scoreboard.STATE], slot.words[scoreboard.DUTY] = READY, HAS_ROOM
        slot.reals[scoreboard.STARTED] = slot.reals[scoreboard.BEAT] = now
        write_view(slot, View(closed_at=now - 100.0))
    return Observed(board, Waiting(), Waiting(), {ROUTE: Waiting(1)})


def sender(seen: Observed, role: str) -> Slot:
    return seen.board.slots(role)[0]


def open_breaker(slot: Slot, refused: int = 0) -> None:
    now = time.monotonic()
    write_view(
        slot,
        View(opened_at=now, open_until=now + 9.0, since=now, trips=1, refused=refused, answers=refused, status=404),
    )


def metric(seen: Observed, name: str, **labels: str) -> float:
    registry = CollectorRegistry()
    registry.register(BoardCollector(seen))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    [found] = [s.value for family in families for s in family.samples if s.name == name and s.labels == labels]
    return found


@pytest.mark.parametrize("broken", ["sender", ROUTE])
def test_an_open_breaker_of_any_route_is_that_of_the_program_and_its_own(seen: Observed, broken: str) -> None:
    open_breaker(sender(seen, broken))
    status = Status(seen, {})
    status.sample()
    answer = status.answer()
    assert answer["breaker"]["state"] == "open"
    assert len(answer["breaker"]["history"]) == 1
    states = {route["name"]: route["breaker"] for route in answer["routes"]}
    name = {"sender": "default", ROUTE: "orders"}[broken]
    assert states == {"default": "closed", "orders": "closed"} | {name: "open"}
    assert metric(seen, "courier_breaker_state") == metric(seen, "courier_route_breaker_state", route=name) == 1.0
    assert not_ready(seen, time.monotonic()) == []


def test_a_route_that_refuses_everything_is_a_reason_that_names_it(seen: Observed) -> None:
    open_breaker(sender(seen, ROUTE), refused=20)
    [reason] = not_ready(seen, time.monotonic())
    assert reason.startswith("recipient refuses messages: route orders: 20 of 20 messages")


def test_a_route_without_senders_is_not_ready(seen: Observed) -> None:
    sender(seen, ROUTE).words[scoreboard.STATE] = scoreboard.EMPTY
    assert not_ready(seen, time.monotonic()) == ["no sender:orders running"]


def test_figures_of_a_route_are_its_own_and_the_totals_are_of_all(seen: Observed) -> None:
    for number, role in enumerate(("sender", ROUTE), 1):
        words = sender(seen, role).words
        words[scoreboard.DELIVERED], words[scoreboard.REJECTED] = 10 * number, number
        words[scoreboard.IN_FLIGHT], words[scoreboard.LIMIT] = 2 * number, 4 * number
    consumer = seen.board.slots("consumer")[0].words
    consumer[scoreboard.HIDDEN + 1] = 7
    consumer[scoreboard.PUT + 1], sender(seen, ROUTE).words[scoreboard.TAKEN] = 30, 25
    consumer[scoreboard.PUT] = sender(seen, "sender").words[scoreboard.TAKEN] = 100

    default, orders = routes_status(seen, time.monotonic())
    assert default["totals"] == {"delivered": 10, "retried": 0, "rejected": 1, "hidden": 0}
    assert orders["totals"] == {"delivered": 20, "retried": 0, "rejected": 2, "hidden": 7}
    assert (default["in_flight"], default["limit"], default["queued"]) == (2, 4, 0)
    assert (orders["in_flight"], orders["limit"], orders["queued"]) == (4, 8, 5)
    answer = Status(seen, {}).answer()
    assert (answer["totals"]["delivered"], answer["in_flight"], answer["limit"]) == (30, 6, 12)
    assert answer["queued"]["work"]["waiting"] == 0
    assert answer["queued"]["work:orders"]["waiting"] == 5
    assert metric(seen, "courier_route_delivered_total", route="orders") == 20
    assert metric(seen, "courier_route_hidden_total", route="orders") == 7
    assert metric(seen, "courier_channel_depth", channel="work:orders") == 5


def test_senders_of_a_route_are_shown_as_senders_with_their_limit_and_duty(seen: Observed) -> None:
    slot = sender(seen, ROUTE)
    slot.words[scoreboard.LIMIT] = 3
    shown = worker(slot, time.monotonic())
    assert (shown["role"], shown["limit"], shown["on_duty"]) == (ROUTE, 3, True)
    assert metric(seen, "courier_workers_on_duty", role=ROUTE) == 1


def test_without_routes_status_has_none() -> None:
    assert Status(observed(running_board()), {}).answer()["routes"] == []


def test_a_route_may_have_the_name_of_a_role() -> None:
    board = Scoreboard.create({"consumer": 1, "sender": 1, "sender:sender": 1, "auditor": 1})
    seen = Observed(board, Waiting(), Waiting(), {"sender:sender": Waiting()})
    assert list(seen.depths()) == ["work", "work:sender", "acks"]
    assert [each["name"] for each in routes_status(seen, time.monotonic())] == ["default", "sender"]
