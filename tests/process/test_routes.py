"""Messages of one queue that go to several recipients: what one of them does is no matter of the others."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from courier.control_client import ask
from courier.local.exchange import Response
from tests.process.conftest import Start
from tests.process.world import Delivery, Queue, Recipient, after, bodies, kill, missing, totals, until

RECIPIENTS = ("orders", "mails")


@pytest.fixture
def others() -> Iterator[dict[str, Recipient]]:
    """The recipients of two routes beside the one of ``--recipient-url``."""
    found = {name: Recipient() for name in RECIPIENTS}
    yield found
    for each in found.values():
        each.stop()


def write_routes(path: Path, recipients: Mapping[str, Recipient], match: str = "attribute", **options: Any) -> Path:
    """Write a file with a route for each recipient, whose messages have the name of the route."""
    text = ""
    for name, recipient in recipients.items():
        how = f'attribute = "kind"\npattern = "{name}*"' if match == "attribute" else f'group = "{name}*"'
        text += f'[[route]]\nname = "{name}"\n{how}\nurl = "{recipient.url}"\n'
        text += "".join(f"{key.replace('_', '-')} = {value!r}\n" for key, value in options.items()).replace("'", '"')
    path.write_text(text)
    return path


_numbers = itertools.count(1)


def send(queue: Queue, kinds: Sequence[str], groups: Sequence[str] | None = None) -> dict[str, str]:
    """Send a message of each kind, and return the kinds by message id; an empty kind has no attribute."""
    sent: dict[str, str] = {}
    for start in range(0, len(kinds), 10):
        entries: list[dict[str, Any]] = []
        for n, kind in enumerate(kinds[start : start + 10]):
            entry: dict[str, Any] = {"Id": str(n), "MessageBody": f"{kind}:{start + n}"}
            if kind:
                entry["MessageAttributes"] = {"kind": {"DataType": "String", "StringValue": kind}}
            if groups is not None:
                entry |= {"MessageGroupId": groups[start + n], "MessageDeduplicationId": f"d{next(_numbers)}"}
            entries.append(entry)
        answer = queue.sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
        assert not answer.get("Failed"), answer
        for each in answer["Successful"]:
            sent[each["MessageId"]] = kinds[start + int(each["Id"])]
    return sent


def of_kind(sent: Mapping[str, str], kind: str) -> set[str]:
    return {name for name, other in sent.items() if other == kind}


def test_each_message_goes_to_the_recipient_of_its_route(
    queue: Queue, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    routes = write_routes(tmp_path / "routes.toml", others, senders=1)
    courier = start(queue, "--routes", str(routes), "--senders", "1")
    sent = send(queue, random.Random(1).choices(["orders", "mails", "", "other"], k=400))
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0

    assert set(others["orders"].accepted) == of_kind(sent, "orders")
    assert set(others["mails"].accepted) == of_kind(sent, "mails")
    assert set(recipient.accepted) == of_kind(sent, "") | of_kind(sent, "other")
    assert Counter(list(sent)) == courier.recorded()
    assert {d.receive_count for each in (recipient, *others.values()) for d in each.deliveries} == {1}


@pytest.mark.parametrize("broken", ["orders", ""])
@pytest.mark.parametrize("how", ["answers-503", "never-answers", "is-gone"])
def test_a_route_that_is_down_costs_the_others_nothing_and_its_messages_few_receives(
    virtual_queue: str,
    recipient: Recipient,
    others: dict[str, Recipient],
    start: Start,
    tmp_path: Path,
    how: str,
    broken: str,
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=5)
    by_kind = {**others, "": recipient}
    failing = by_kind[broken]
    routes = write_routes(tmp_path / "routes.toml", others, senders=1)
    options = ("--breaker-threshold", "5", "--timeout", "1", "--connect-timeout", "1", "--visibility-timeout", "5")
    courier = start(queue, "--routes", str(routes), "--senders", "1", "--concurrency", "8", *options)
    if how == "is-gone":
        failing.stop()
    else:
        failing.behave = after(3600) if how == "never-answers" else lambda _: Response(503)
    kinds = random.Random(2).choices(list(by_kind), weights=[3 if kind == broken else 1 for kind in by_kind], k=600)
    sent = send(queue, kinds)

    healthy = set(by_kind) - {broken}
    until(lambda: all(of_kind(sent, k) <= set(by_kind[k].accepted) for k in healthy), 30, courier.log)
    for kind in healthy:
        assert set(by_kind[kind].accepted) == of_kind(sent, kind)
    assert dead.counts() == (0, 0)
    # The deletes come a moment after the answers.
    until(lambda: sum(queue.counts()) <= len(of_kind(sent, broken)), explain=courier.log)
    assert sum(queue.counts()) == len(of_kind(sent, broken)), "all that the dead route has is still in the queue"
    assert courier.drain() == 0
    assert totals(courier.log())["received"] < 1.2 * len(sent)


def test_messages_of_a_route_that_recovers_are_all_delivered(
    virtual_queue: str, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=20)
    routes = write_routes(tmp_path / "routes.toml", others, senders=1, breaker_cool_down="1s")
    options = ("--breaker-threshold", "3", "--timeout", "1", "--connect-timeout", "1", "--visibility-timeout", "5")
    courier = start(queue, "--routes", str(routes), "--senders", "1", "--concurrency", "4", *options)
    others["orders"].behave = lambda _: Response(503)
    sent = send(queue, ["orders", "", "mails"] * 30)
    until(lambda: "circuit breaker open" in courier.log(), explain=courier.log)
    until(lambda: len(recipient.accepted) == 30 and len(others["mails"].accepted) == 30, explain=courier.log)

    others["orders"].behave = lambda _: Response(200)
    until(lambda: queue.counts() == (0, 0), 90, courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert not missing(sent, courier.recorded())


def test_sigkill_of_a_routes_sender_loses_nothing_and_starves_nobody(
    queue: Queue, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    others["orders"].behave = after(0.05)
    routes = write_routes(tmp_path / "routes.toml", others, senders=2)
    courier = start(queue, "--routes", str(routes), "--senders", "1", "--visibility-timeout", "3")
    sent = send(queue, ["orders", "", "mails"] * 200)
    for _ in range(4):
        until(lambda: len(courier.pids("sender:orders")) == 2, explain=courier.log)
        kill(courier.pids("sender:orders")[0], signal.SIGKILL)
        time.sleep(0.2)

    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert not missing(sent, courier.recorded())
    assert not recipient.duplicates()


def test_a_slow_route_doesnt_slow_the_drain_of_the_others(
    queue: Queue, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    for each in others.values():
        each.behave = after(2.0)
    routes = write_routes(tmp_path / "routes.toml", others, senders=1)
    courier = start(queue, "--routes", str(routes), "--senders", "1", "--drain-timeout", "6")
    sent = send(queue, ["orders", "mails"] * 4)
    until(lambda: all(each.open for each in others.values()), explain=courier.log)

    assert courier.drain() == 0, courier.log()
    accepted = {*others["orders"].accepted, *others["mails"].accepted}
    assert accepted == set(courier.recorded())
    assert sum(queue.counts()) == len(sent) - len(accepted)


@pytest.mark.parametrize("match", ["attribute", "group"])
def test_a_group_keeps_its_order_across_routes(
    virtual_queue: str,
    recipient: Recipient,
    others: dict[str, Recipient],
    start: Start,
    tmp_path: Path,
    match: str,
) -> None:
    queue = Queue(virtual_queue, fifo=True)
    chance = random.Random(3)
    routes = write_routes(tmp_path / "routes.toml", others, match, senders=1)
    for each in (recipient, *others.values()):
        each.behave = after(0.005)
    courier = start(queue, "--routes", str(routes), "--senders", "2", "--visibility-timeout", "5")
    groups = chance.choices(["orders-1", "orders-2", "mails-1", "x"], k=120)
    kinds = chance.choices(["orders", "mails", ""], k=120)
    sent = send(queue, kinds, groups)
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, courier.recorded())

    of_group = dict(zip(range(120), groups, strict=True))
    all_of_them = sorted(
        (delivery for each in (recipient, *others.values()) for delivery in each.deliveries), key=lambda d: d.at
    )
    order: dict[str, list[int]] = {}
    for delivery in all_of_them:
        number = int(delivery.body.decode().partition(":")[2])
        order.setdefault(of_group[number], []).append(number)
    for group, numbers in order.items():
        assert numbers == sorted(numbers), group


def test_a_reload_changes_what_routes_say_but_not_which_there_are(
    queue: Queue, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    routes = write_routes(tmp_path / "routes.toml", {"orders": others["orders"]}, senders=1)
    config = tmp_path / "courier.toml"
    config.write_text(f'routes = "{routes}"\n')
    courier = start(queue, "--config", str(config), "--senders", "1")
    write_routes(routes, {"orders": others["mails"]}, senders=2)
    courier.signal(signal.SIGHUP)
    until(lambda: "event=reloaded" in courier.log(), explain=courier.log)
    until(lambda: len(courier.pids("sender:orders")) == 2, explain=courier.log)
    sent = send(queue, ["orders"] * 20)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert set(others["mails"].accepted) == set(sent)

    write_routes(routes, others)
    courier.signal(signal.SIGHUP)
    until(lambda: "--routes needs a restart" in courier.log(), explain=courier.log)
    send(queue, ["orders"] * 5)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0


def test_a_slow_route_leaves_the_others_their_rate(
    queue: Queue, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    others["orders"].behave = after(5.0)
    routes = write_routes(tmp_path / "routes.toml", others, senders=1, concurrency=2)
    courier = start(queue, "--routes", str(routes), "--senders", "1", "--visibility-timeout", "10")
    sent = send(queue, ["orders", "mails", ""] * 300)
    until(lambda: len(recipient.accepted) == len(others["mails"].accepted) == 300, explain=courier.log)
    assert len(others["orders"].accepted) < 20
    assert sum(queue.counts()) >= len(of_kind(sent, "orders")) - 20
    courier.drain()


def test_an_unused_route_changes_nothing_for_bodies_without_attributes(
    queue: Queue, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    routes = write_routes(tmp_path / "routes.toml", others)
    courier = start(queue, "--routes", str(routes))
    sent = queue.send(bodies(500))
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert Counter(list(sent)) == courier.recorded()
    assert {delivery.receive_count for delivery in recipient.deliveries} == {1}


def test_the_senders_of_a_route_can_be_scaled_and_no_others_by_its_name(
    queue: Queue, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    routes = write_routes(tmp_path / "routes.toml", others, senders=1)
    socket = tmp_path / "control.sock"
    courier = start(queue, "--routes", str(routes), "--senders", "1", "--control", str(socket))

    def scale(**fields: Any) -> dict[str, Any]:
        return ask(socket, {"act": "scale", **fields})

    assert scale(senders=3, route="orders")["text"] == "senders:orders 1 to 3"
    until(lambda: len(courier.pids("sender:orders")) == 3, explain=courier.log)
    assert (len(courier.pids("sender:mails")), len(courier.pids("sender "))) == (1, 1)
    assert "the routes are mails, orders" in scale(senders=3, route="none")["error"]
    assert "only senders" in scale(consumers=3, route="orders")["error"]
    assert "from 1 to 5" in scale(senders=6, route="orders")["error"]
    assert scale(senders=1, route="orders")["ok"]
    until(lambda: len(courier.pids("sender:orders")) == 1, explain=courier.log)
    assert courier.drain() == 0


def test_a_backlog_at_the_start_waits_for_the_senders_of_all_routes(
    queue: Queue, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    routes = write_routes(tmp_path / "routes.toml", others, senders=1)
    sent = send(queue, random.Random(4).choices(["orders", "mails", ""], k=500))
    courier = start(queue, "--routes", str(routes), "--senders", "1", ready=False)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert Counter(list(sent)) == courier.recorded()
    assert {d.receive_count for each in (recipient, *others.values()) for d in each.deliveries} == {1}


def test_the_last_receive_of_a_message_goes_to_its_route_even_without_room(
    virtual_queue: str, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=1)
    others["orders"].behave = after(0.5)
    routes = write_routes(tmp_path / "routes.toml", others, senders=1, concurrency=1)
    courier = start(queue, "--routes", str(routes), "--senders", "1", "--visibility-timeout", "30")
    sent = send(queue, ["orders", ""] * 20)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert not missing(sent, courier.recorded())


def test_log_lines_of_a_routes_senders_name_it(
    queue: Queue, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    others["orders"].behave = lambda _: Response(503)
    routes = write_routes(tmp_path / "routes.toml", others, senders=1)
    courier = start(queue, "--routes", str(routes), "--senders", "1", "--breaker-threshold", "3")
    send(queue, ["orders"] * 10)
    until(lambda: "circuit breaker open" in courier.log(), explain=courier.log)
    [line] = [line for line in courier.log().splitlines() if "circuit breaker open" in line][:1]
    assert " route=orders" in line
    courier.drain()


def test_check_names_the_route_that_cannot_work(
    queue: Queue, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    routes = write_routes(tmp_path / "routes.toml", others)
    routes.write_text(routes.read_text().replace(others["mails"].url, "http://name.invalid/"))
    courier = start(queue, "--routes", str(routes), ready=False)
    assert courier.wait(30) == 3
    assert "route mails: cannot resolve name.invalid" in courier.log()


@pytest.mark.full
def test_groups_of_a_route_that_was_down_come_in_order_once_it_is_back(
    virtual_queue: str, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path
) -> None:
    queue = Queue(virtual_queue, fifo=True)
    others["orders"].behave = lambda _: Response(503)
    routes = write_routes(tmp_path / "routes.toml", others, senders=1)
    options = ("--breaker-threshold", "3", "--visibility-timeout", "5", "--concurrency", "2")
    courier = start(queue, "--routes", str(routes), "--senders", "1", *options)
    chance = random.Random(5)
    groups = chance.choices([f"g{n}" for n in range(12)], k=200)
    # Groups of one route alone, and groups whose messages alternate.
    kinds = ["orders" if group < "g4" else chance.choice(["orders", "mails", ""]) for group in groups]
    sent = send(queue, kinds, groups)
    until(lambda: "circuit breaker open" in courier.log(), explain=courier.log)
    until(lambda: recipient.accepted and others["mails"].accepted, explain=courier.log)
    time.sleep(3.0)
    others["orders"].behave = lambda _: Response(200)
    until(lambda: queue.counts() == (0, 0), 240, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, courier.recorded())

    accepted: dict[str, list[int]] = {}
    for each in sorted((d for r in (recipient, *others.values()) for d in r.deliveries), key=lambda d: d.at):
        number = int(each.body.decode().partition(":")[2])
        accepted.setdefault(groups[number], []).append(number)
    for group, numbers in accepted.items():
        assert numbers == sorted(numbers), group


def _number(delivery: Delivery) -> int:
    return int(delivery.body.decode().partition(":")[2])


@pytest.mark.parametrize("seed", [1, *[pytest.param(n, marks=pytest.mark.full) for n in range(2, 8)]])
def test_kills_of_any_workers_while_a_route_fails_lose_nothing(
    virtual_queue: str, recipient: Recipient, others: dict[str, Recipient], start: Start, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=20)
    # Too few faults in a row to open the breaker: its messages would be hidden for minutes.
    failing = set(chance.sample(range(500), 100))
    others["orders"].behave = lambda each: Response(503 if _number(each) in failing and each.number == 1 else 200)
    for each in (recipient, others["mails"]):
        each.behave = after(0.02)
    routes = write_routes(tmp_path / "routes.toml", others, senders=2)
    courier = start(
        queue, "--routes", str(routes), "--senders", "2", "--visibility-timeout", "3", "--backoff-base", "0.1"
    )
    sent = send(queue, chance.choices(["orders", "mails", ""], k=500))
    for _ in range(6):
        role = chance.choice(["consumer", "sender 0", "sender:orders", "sender:mails", "auditor"])
        until(partial(courier.pids, role), explain=courier.log)
        kill(chance.choice(courier.pids(role)), signal.SIGKILL)
        time.sleep(chance.uniform(0.1, 0.5))

    until(lambda: queue.counts() == (0, 0), 75, courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert not missing(sent, courier.recorded())
    by_kind = {**others, "": recipient}
    for kind, each in by_kind.items():
        assert set(each.accepted) == of_kind(sent, kind), "nothing goes to the recipient of another route"
