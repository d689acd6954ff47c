"""``courier audit replay``: every chosen record is answered, and none again whose record is durable."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courier.local.exchange import Response
from courier.replay.answered import read_answered
from tests.process.replaying import Replay, write_records
from tests.process.world import Recipient, alive, children, missing, until

Begin = Callable[..., Replay]


@pytest.fixture
def begin(tmp_path: Path, recipient: Recipient) -> Iterator[Begin]:
    """Begin a replay of the records in ``audit``, or go on with it; whatever is left is killed."""
    running: list[Replay] = []

    def begin(*options: str) -> Replay:
        replay = Replay(tmp_path / "audit", recipient.url, tmp_path / "own", "--senders", "2", *options)
        running.append(replay)
        return replay

    yield begin
    for replay in running:
        replay.kill()


def test_each_record_is_sent_once_with_its_id_its_time_and_the_id_of_the_replay(
    tmp_path: Path, recipient: Recipient, begin: Begin
) -> None:
    ids = write_records(tmp_path / "audit", [*range(300), *range(100)])
    replay = begin()
    assert replay.wait() == 0, replay.output
    assert recipient.accepted == dict.fromkeys(ids, 1)
    assert "300 sent, 0 failed, 0 not sent yet" in replay.output
    assert "100 have the message id of another chosen record" in replay.output
    first = recipient.deliveries[0]
    assert first.headers["x-aws-sqsd-sent-at"] == "2025-11-24T16:00:00Z"
    assert first.headers["idempotency-key"] == first.message_id
    assert {delivery.headers["courier-replay"] for delivery in recipient.deliveries} == {
        replay.output.partition("replay ")[2].partition(",")[0]
    }


def test_a_dry_run_sends_and_writes_nothing(tmp_path: Path, recipient: Recipient) -> None:
    write_records(tmp_path / "audit", range(20))
    command = [sys.executable, "-m", "courier", "audit", "replay", "audit", "--recipient-url", recipient.url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert "20 of 20 records in audit to http://127.0.0.1:" in done.stdout
    assert "id-0" in done.stdout
    assert "nothing was sent; add --yes to send" in done.stdout
    assert not recipient.deliveries
    assert os.listdir(tmp_path) == ["audit"]


def test_the_messages_of_a_group_go_one_after_another_in_order(
    tmp_path: Path, recipient: Recipient, begin: Begin
) -> None:
    write_records(tmp_path / "audit", range(400), groups=7)
    under_way: Counter[int] = Counter()
    most: Counter[int] = Counter()

    async def answer(number: int) -> Response:
        under_way[number % 7] += 1
        most[number % 7] = max(most[number % 7], under_way[number % 7])
        under_way[number % 7] -= 1
        return Response(500 if number % 50 == 3 and recipient.deliveries[-1].number == 1 else 200)

    recipient.behave = lambda delivery: answer(int(delivery.message_id[3:]))
    replay = begin("--backoff-base", "0.05")
    assert replay.wait() == 0, replay.output
    assert len(recipient.accepted) == 400
    assert set(most.values()) == {1}
    for group in range(7):
        numbers = [int(delivery.message_id[3:]) for delivery in recipient.deliveries]
        of_group = [n for n in numbers if n % 7 == group]
        assert of_group == sorted(of_group)


def test_refused_messages_are_listed_and_only_they_are_sent_when_it_goes_on(
    tmp_path: Path, recipient: Recipient, begin: Begin
) -> None:
    write_records(tmp_path / "audit", range(200))
    recipient.behave = lambda d: (
        Response(422, (), b"no such order") if d.message_id in ("id-7", "id-77") else Response(200)
    )
    first = begin()
    assert first.wait() == 1
    assert "198 sent, 2 failed, 0 not sent yet" in first.output
    assert "  id-7 status 422: no such order\n" in first.output
    assert f"--resume {first.own}" in first.output
    recipient.behave = lambda delivery: Response(200)
    second = begin()
    assert second.wait() == 0, second.output
    assert "200 sent, 0 failed, 0 not sent yet" in second.output
    assert not recipient.duplicates()
    assert {d.message_id for d in recipient.deliveries if d.number > 1} == {"id-7", "id-77"}


def test_ctrl_c_finishes_what_is_under_way_and_the_same_command_sends_the_rest(
    tmp_path: Path, recipient: Recipient, begin: Begin
) -> None:
    ids = write_records(tmp_path / "audit", range(2000))
    first = begin("--rate-limit", "300")
    until(lambda: len(recipient.accepted) > 100)
    first.interrupt()
    assert first.wait() == 130, first.output
    assert "not sent yet (interrupted)" in first.output
    assert len(recipient.accepted) < 2000
    assert first.delivered() == len(recipient.accepted)
    second = begin()
    assert second.wait() == 0, second.output
    assert recipient.accepted == dict.fromkeys(ids, 1)


@pytest.mark.parametrize("seed", [0, 8, *(pytest.param(n, marks=pytest.mark.full) for n in range(9, 27))])
def test_after_kills_at_random_each_record_is_answered_and_none_again_whose_record_was_durable(
    tmp_path: Path, recipient: Recipient, begin: Begin, seed: int
) -> None:
    draw = random.Random(seed)
    ids = write_records(tmp_path / "audit", range(1500), groups=draw.choice([0, 0, 5, 200]))
    done = False
    for _ in range(draw.randint(1, 4)):
        durable = set(_recorded(tmp_path / "own"))
        before = len(recipient.deliveries)
        replay = begin()
        goal = before + draw.randint(1, 400)
        until(lambda: len(recipient.deliveries) > goal or replay.process.poll() is not None)  # noqa: B023
        if replay.process.poll() is None:
            victims = [replay.pid, *children(replay.pid)]
            os.kill(draw.choice(victims) if draw.random() < 0.3 else replay.pid, signal.SIGKILL)
            if replay.process.poll() is None and draw.random() < 0.5:
                os.kill(replay.pid, signal.SIGKILL)
            until(lambda: replay.process.poll() is not None or len(recipient.accepted) == 1500, 60)  # noqa: B023
        replay.kill()
        until(lambda: not any(map(alive, children(replay.pid))))  # noqa: B023
        again = {delivery.message_id for delivery in recipient.deliveries[before:]} & durable
        assert not again
    durable, before = set(_recorded(tmp_path / "own")), len(recipient.deliveries)
    last = begin()
    assert last.wait() == 0, last.output
    done = "1500 sent, 0 failed, 0 not sent yet" in last.output
    assert done, last.output
    assert not missing(ids, recipient.accepted)
    assert not {delivery.message_id for delivery in recipient.deliveries[before:]} & durable


def _recorded(own: Path) -> Iterator[str]:
    delivered = read_answered(own).delivered
    yield from (f"id-{n}" for n in range(1500) if f"id-{n}" in delivered)
