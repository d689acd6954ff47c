"""``courier audit replay``: every chosen record is answered, and none again whose record is durable."""

from __future__ import annotations

import gzip
import hashlib
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
from courier.replay.run_file import FILE_NAME, read_run
from tests.process.conftest import Start
from tests.process.hostile_recipient import ENDLESS_SUCCESS, HOSTILITIES, RETRY_AFTER, HostileRecipient
from tests.process.replaying import BusyLog, Replay, capture, write_bodies, write_records
from tests.process.strict_recipient import StrictRecipient
from tests.process.world import Queue, Recipient, alive, children, missing, until

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
    command += ["--header", "X-Tenant: {attribute.tenant}", "--header", "X-Id: {message_id}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert "20 of 20 records in audit to http://127.0.0.1:" in done.stdout
    assert "id-0" in done.stdout
    assert "nothing was sent; add --yes to send" in done.stdout
    assert "--header X-Tenant: left out, since no record has attribute.tenant\n" in done.stdout
    assert "X-Id" not in done.stdout
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


def test_its_own_records_are_segments_that_verify_and_that_it_goes_on_from_when_compressed(
    tmp_path: Path, recipient: Recipient, begin: Begin
) -> None:
    ids = write_records(tmp_path / "audit", range(800))
    small = ("--audit-max-bytes", "8192", "--audit-compress", "gzip")
    first = begin("--rate-limit", "200", *small)
    until(lambda: list(first.own.glob("*.gz")))
    first.interrupt()
    assert first.wait() == 130, first.output
    assert begin(*small).wait() == 0
    assert recipient.accepted == dict.fromkeys(ids, 1)
    command = [sys.executable, "-m", "courier", "audit", "verify", str(first.own)]
    verified = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "800 records" in verified.stdout


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


def test_what_was_removed_from_the_log_meanwhile_is_counted_and_fails_it(
    tmp_path: Path, recipient: Recipient, begin: Begin
) -> None:
    write_records(tmp_path / "audit", range(100), 1)
    write_records(tmp_path / "audit", range(100, 2000), 2)
    first = begin("--rate-limit", "300")
    until(lambda: len(recipient.accepted) > 150)
    first.interrupt()
    assert first.wait() == 130
    (removed,) = (tmp_path / "audit").glob("courier-000002-*")
    records = removed.read_bytes().splitlines(keepends=True)
    removed.write_bytes(b"".join(records[:1000]))
    second = begin()
    assert second.wait() == 1
    assert "900 were in the log when the replay began, and have been removed from it since" in second.output
    third = begin()
    assert third.wait() == 1
    assert "nothing is left to send" in third.output
    assert len(recipient.accepted) == 1100
    assert not recipient.duplicates()


def test_a_replay_goes_on_only_with_the_same_choice(tmp_path: Path, recipient: Recipient, begin: Begin) -> None:
    write_records(tmp_path / "audit", range(10))
    assert begin("--since", "2025-11-24T00:00Z", "--status", "2xx").wait() == 0
    assert len(recipient.accepted) == 10
    other = begin("--since", "2h", "--status", "2xx")
    assert other.wait() == 2
    assert "--resume: --since was given as 2025-11-24T00:00Z when the replay began" in other.output


def test_a_strict_recipient_finds_nothing_to_refuse_in_requests_with_any_content(tmp_path: Path) -> None:
    draw = random.Random(5)
    strange = '\x00\x01\r\n\t"\\\u0085\u2028\ufffe\U0010ffff\u202eäß\U0001f600'
    bodies = ["".join(draw.choices(strange, k=draw.randint(1, 40))) + f"{n}" for n in range(300)]
    ids = write_bodies(tmp_path / "audit", bodies)
    strict = StrictRecipient()
    try:
        replay = Replay(tmp_path / "audit", strict.url, tmp_path / "own", "--senders", "2")
        code = replay.wait()
    finally:
        strict.stop()
    assert not strict.faults
    assert strict.taken.keys() | strict.refused.keys() == set(ids)
    assert strict.digests == {f"id-{n}": hashlib.md5(body.encode()).hexdigest() for n, body in enumerate(bodies)}
    assert f"{len(strict.taken)} sent, {len(strict.refused)} failed, 0 not sent yet" in replay.output
    assert code == (1 if strict.refused else 0)


def test_a_hostile_recipient_gets_no_false_success_and_no_message_out_of_a_replay(tmp_path: Path) -> None:
    kinds = [ENDLESS_SUCCESS, RETRY_AFTER, *HOSTILITIES] * 2
    ids = write_bodies(tmp_path / "audit", kinds)
    patient = (
        *("--senders", "2", "--backoff-base", "0.1", "--backoff-cap", "0.3", "--breaker-threshold", "0"),
        *("--breaker-cool-down", "0.1", "--breaker-longest-cool-down", "0.1"),
    )
    options = (*patient, "--timeout", "2", "--connect-timeout", "1", "--max-receives", "2", "--give-up-after", "8")
    with HostileRecipient() as hostile:
        first = Replay(tmp_path / "audit", hostile.url, tmp_path / "own", *options)
        assert first.wait() == 1, first.output
        delivered = read_answered(first.own).delivered
        assert {kind for name, kind in zip(ids, kinds, strict=True) if name in delivered} == {ENDLESS_SUCCESS}
        assert all(hostile.attempts[name] for name in ids)
        assert not hostile.redirected
        hostile.calm_down()
        second = Replay(tmp_path / "audit", hostile.url, tmp_path / "own", *options)
        assert second.wait() == 0, second.output
        assert {hostile.attempts[name] for name, kind in zip(ids, kinds, strict=True) if kind == ENDLESS_SUCCESS} == {1}


def test_a_rate_limit_holds_for_the_whole_replay(tmp_path: Path, recipient: Recipient, begin: Begin) -> None:
    write_records(tmp_path / "audit", range(120))
    replay = begin("--rate-limit", "40")
    assert replay.wait() == 0, replay.output
    first, last = recipient.deliveries[0].at, recipient.deliveries[-1].at
    # Each sender may begin with one token more than its share.
    assert len(recipient.deliveries) <= 40 * (last - first) + 2 * 2


def test_an_outage_of_the_recipient_pauses_it_and_costs_no_message_its_attempts(
    tmp_path: Path, recipient: Recipient, begin: Begin
) -> None:
    ids = write_records(tmp_path / "audit", range(600))
    recipient.behave = lambda delivery: Response(200 if len(recipient.accepted) < 100 else 503)
    replay = begin("--breaker-cool-down", "0.2")
    # More than what both senders had under way: it probes.
    until(lambda: len(recipient.deliveries) - len(recipient.accepted) > 50)
    failed = Counter(d.message_id for d in recipient.deliveries if d.message_id not in recipient.accepted)
    recipient.behave = lambda delivery: Response(200)
    assert replay.wait() == 0, replay.output
    assert recipient.accepted == dict.fromkeys(ids, 1)
    assert len(failed) <= 50
    assert {d.receive_count for d in recipient.deliveries if d.message_id not in failed} == {1}


def test_what_never_succeeds_is_given_up_named_and_tried_again_when_it_goes_on(
    tmp_path: Path, recipient: Recipient, begin: Begin
) -> None:
    write_records(tmp_path / "audit", range(200))
    recipient.behave = lambda delivery: Response(500 if int(delivery.message_id[3:]) % 10 == 3 else 200)
    first = begin("--give-up-after", "2")
    assert first.wait() == 1
    assert "180 sent" in first.output
    assert "(given up" in first.output
    assert "  id-193 had no success\n" in first.output or "  id-193 status 500" in first.output
    recipient.behave = lambda delivery: Response(200)
    second = begin()
    assert second.wait() == 0, second.output
    assert len(recipient.accepted) == 200
    assert not recipient.duplicates()


def test_a_replay_of_a_log_that_is_written_rotated_and_compressed_sends_what_was_there(
    tmp_path: Path, recipient: Recipient, begin: Begin
) -> None:
    audit = tmp_path / "audit"
    ids = [name for n in range(1, 11) for name in write_records(audit, range(n * 100, n * 100 + 100), n)]
    replay = begin("--rate-limit", "400")
    until(lambda: (replay.own / FILE_NAME).exists())
    for n, path in enumerate(sorted(audit.iterdir()), 1):
        if n < 10:
            compressed = path.with_name(path.name + ".gz")
            compressed.write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        else:
            with path.open("ab") as active:
                active.write(b'{"message_id":"late","outcome":"delivered","body":"late"}\n{"message_id":"torn"')
        write_records(audit, range(5000 + n * 10, 5010 + n * 10), 10 + n)
    assert replay.wait() == 0, replay.output
    assert recipient.accepted == dict.fromkeys(ids, 1)


def test_a_log_that_is_written_at_ten_thousand_records_a_second_is_replayed_up_to_where_it_ended(
    tmp_path: Path, recipient: Recipient, begin: Begin
) -> None:
    log = BusyLog(tmp_path / "audit")
    log.append(3000)
    with log.busy():
        replay = begin()
        assert replay.wait() == 0, replay.output
    chosen = log.before(*read_run(replay.own).end)
    assert len(chosen) >= 3000
    assert recipient.accepted == dict.fromkeys(chosen, 1)
    assert f"{log.number:06d}" > read_run(replay.own).end.name.split("-")[1]


@pytest.mark.parametrize("transport", ["native", "requests"])
def test_a_request_is_that_of_the_delivery_byte_by_byte_but_for_the_header_of_the_replay(
    tmp_path: Path, start: Start, queue: Queue, transport: str
) -> None:
    secret = tmp_path / "token"
    secret.write_text("a-token")
    secret.chmod(0o600)
    templates = ["X-Id: {message_id}", "X-At: {sent_at}", "X-Count: {receive_count}", "X-Queue: {queue}"]
    options = ["--headers", "none", "--bearer-token-file", str(secret), "--transport", transport]
    options += ["--content-type", "application/json", *(f"--header={each}" for each in templates)]
    bodies = [f"{n}: ü\\n\t\u2028 {'x' * n * 50}" for n in range(40)]
    with capture() as first:
        queue.send(bodies)
        courier = start(queue, *options, COURIER_RECIPIENT_URL=first.url)
        until(lambda: len(first.requests) == 40, explain=courier.log)
        assert courier.drain() == 0
    with capture(first.port) as again:
        replay = Replay(tmp_path / "audit", again.url, tmp_path / "own", "--queue", queue.name, *options)
        assert replay.wait() == 0, replay.output
    header = f"Courier-Replay: {read_run(tmp_path / 'own').run_id}\r\n".encode()
    assert all(request.count(header) == 1 for request in again.requests)
    assert sorted(request.replace(header, b"") for request in again.requests) == sorted(first.requests)


@pytest.mark.parametrize("fifo", [False, True])
def test_records_go_into_a_queue_with_their_groups_and_the_ids_that_they_had(
    tmp_path: Path, begin: Begin, virtual_queue: str, fifo: bool
) -> None:
    ids = write_records(tmp_path / "audit", range(150), groups=5)
    queue = Queue(virtual_queue, fifo=fifo)
    replay = begin("--to-queue", queue.name, "--endpoint-url", virtual_queue)
    assert replay.wait() == 0, replay.output
    assert "150 sent, 0 failed, 0 not sent yet" in replay.output
    got = list(_received(queue))
    assert sorted(name for _, name in got) == sorted(ids)
    assert all(group == f"g{int(name[3:]) % 5}" for group, name in got)
    for group in range(5 if fifo else 0):
        numbers = [int(name[3:]) for of, name in got if of == f"g{group}"]
        assert numbers == sorted(numbers)


def _received(queue: Queue) -> Iterator[tuple[str, str]]:
    while messages := queue.sqs.receive_message(
        QueueUrl=queue.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"]
    ).get("Messages"):
        for message in messages:
            assert message["MessageAttributes"]["CourierReplay"]["StringValue"]
            yield (
                message["Attributes"]["MessageGroupId"],
                message["MessageAttributes"]["CourierMessageId"]["StringValue"],
            )
            queue.sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])


TWO_DISKS = """
mount -t tmpfs -o size=1m tmpfs "$DISK" || exit 99
"$@" --replay-audit "$DISK/own"
echo "first: $?"
mount -o remount,size=64m "$DISK" || exit 99
"$@" --resume "$DISK/own"
echo "second: $?"
"""


def test_a_full_disk_under_its_own_records_stops_it_with_a_line_and_with_space_it_goes_on(
    tmp_path: Path, recipient: Recipient
) -> None:
    enter = ["unshare", "-m" if os.getuid() == 0 else "-Urm"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        pytest.skip("neither root nor user namespaces")
    ids = write_records(tmp_path / "audit", range(300), size=10_000)
    (tmp_path / "disk").mkdir()
    replay = [sys.executable, "-m", "courier", "audit", "replay", str(tmp_path / "audit"), "--yes"]
    options = ["--recipient-url", recipient.url, "--drain-timeout", "3"]
    done = subprocess.run(
        [*enter, "sh", "-c", TWO_DISKS, "sh", *replay, *options],
        env=os.environ | {"DISK": str(tmp_path / "disk")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "first: 3\n" in done.stdout, done.stdout + done.stderr
    assert "not sent yet (the replay's own records can't be written; the log says why)" in done.stdout
    assert "audit log failing" in done.stderr
    assert "second: 0\n" in done.stdout, done.stdout + done.stderr
    assert "300 sent, 0 failed, 0 not sent yet" in done.stdout
    assert not missing(ids, recipient.accepted)


def _recorded(own: Path) -> Iterator[str]:
    delivered = read_answered(own).delivered
    yield from (f"id-{n}" for n in range(1500) if f"id-{n}" in delivered)
