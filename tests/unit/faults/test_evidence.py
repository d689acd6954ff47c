"""What is kept of the messages for which a promise did not hold."""

from __future__ import annotations

from pathlib import Path

from scripts.faults.events import Deleted, Delivery, Held, Received, Sent
from scripts.faults.evidence import write_evidence
from scripts.faults.oracle import Seen, judge

DIGEST = b"d" * 16


def seen(*, twice: bool) -> Seen:
    deliveries = [Delivery(12.0, 12.5, "a", 200, DIGEST, 77)]
    if twice:
        deliveries.append(Delivery(15.0, 15.5, "a", 200, DIGEST, 78))
    return Seen(
        sent=[Sent(11.0, "a", "", DIGEST), Sent(11.0, "b", "", DIGEST)],
        deliveries=[*deliveries, Delivery(12.0, 12.5, "b", 200, DIGEST, 77)],
        received=[Received(11.5, "a", "receipt"), Received(11.5, "b", "receipt")],
        deletes=[Deleted(13.0, "a", recorded=True, done=True), Deleted(13.0, "b", recorded=True, done=True)],
        recorded={"a", "b"},
        held=[Held(12.0, "a kill", frozenset({"b"}))],
    )


def test_all_that_was_seen_of_a_message_is_written_in_order(tmp_path: Path) -> None:
    path = tmp_path / "evidence.txt"
    found = seen(twice=True)
    write_evidence(path, found, judge(found), began=10.0)
    assert path.read_text().splitlines() == [
        "a",
        "    1.000 sent",
        "    1.500 received",
        "    2.000 delivered from port 77",
        "    2.500 answered 200 to port 77",
        "    3.000 deleted: recorded True, done True",
        "    5.000 delivered from port 78",
        "    5.500 answered 200 to port 78",
        "",
    ]


def test_nothing_is_written_where_all_held(tmp_path: Path) -> None:
    path = tmp_path / "evidence.txt"
    found = seen(twice=False)
    write_evidence(path, found, judge(found), began=10.0)
    assert not path.exists()
