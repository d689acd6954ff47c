"""Workloads: the same messages from the same seed, all of them legal in SQS, hardly any of them kind."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from courier.local.virtual.content import read_message
from scripts.faults.workload import MOST_BYTES, SIZES, Message, Workload, messages, size_of

WORKLOADS = (
    Workload(300, seed=1),
    Workload(300, groups=10, sizes="mixed", attributes=True, seed=2),
    Workload(8, sizes="large", attributes=True, seed=3),
    Workload(300, groups=3, sizes=(1, 40), attributes=True, beyond_bmp=False, seed=4),
)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: str(workload.sizes))
def test_a_workload_is_the_same_messages_each_time_and_others_with_another_seed(workload: Workload) -> None:
    made = list(messages(workload))
    assert len(made) == workload.messages
    assert made == list(messages(workload))
    assert made != list(messages(replace(workload, seed=99)))


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: str(workload.sizes))
def test_sqs_accepts_every_message(workload: Workload) -> None:
    least, most = workload.bounds
    for message in messages(workload):
        assert read_message(_parameters(message)).size <= size_of(message) <= MOST_BYTES
        # The attributes of the largest messages take their bytes from the body.
        assert min(least, MOST_BYTES - 10_000) <= len(message.body.encode())
        assert len(message.body.encode()) <= most or (workload.sizes == "mixed" and size_of(message) == MOST_BYTES)


@pytest.mark.parametrize("sizes", SIZES)
def test_bodies_are_distinct(sizes: str) -> None:
    bodies = [message.body for message in messages(Workload(10 if sizes == "large" else 2000, sizes=sizes, seed=5))]
    tiny = [body for body in bodies if len(body.encode()) <= 2]
    rest = [body for body in bodies if len(body.encode()) > 2]
    assert len(set(rest)) == len(rest)
    # There are only 94 printable characters.
    assert len(set(tiny)) >= len(tiny) // 2


def test_bodies_that_begin_as_json_are_json_and_others_are_hostile() -> None:
    bodies = [message.body for message in messages(Workload(1000, seed=6))]
    objects = [body for body in bodies if body.startswith("{")]
    assert [json.loads(body)["n"] for body in objects] == [n for n, body in enumerate(bodies) if body in objects]
    rest = "".join(body for body in bodies if body not in objects)
    assert all(piece in rest for piece in ("\r\n\r\n", "💩", "\ufeff", '"', "\\u0000", "<![CDATA["))


def test_the_sizes_of_a_mixed_workload_go_from_a_byte_to_a_mebibyte() -> None:
    sizes = [size_of(message) for message in messages(Workload(1000, sizes="mixed", seed=7))]
    assert min(sizes) == 1
    assert sizes.count(MOST_BYTES) == 4
    assert len([size for size in sizes if 30_000 < size <= 65_536]) > 10


def test_each_group_and_each_type_of_attribute_comes_up() -> None:
    made = list(messages(Workload(500, groups=10, attributes=True, seed=8)))
    assert len({message.group for message in made}) == 10
    assert all(len(message.group) <= 128 for message in made)
    attributes = [message.attributes for message in made if message.attributes]
    assert {len(each) for each in attributes} == set(range(1, 11))
    assert {kind.partition(".")[0] for each in attributes for kind, _ in each.values()} == {
        "String",
        "Number",
        "Binary",
    }
    assert {message.group for message in messages(Workload(10))} == {""}


def test_without_characters_beyond_the_basic_plane_bodies_keep_their_sizes() -> None:
    workload = Workload(500, attributes=True, seed=9)
    plain = list(messages(replace(workload, beyond_bmp=False)))
    assert all(max(message.body) <= "\uffff" for message in plain)
    assert [size_of(message) for message in plain] == [size_of(message) for message in messages(workload)]


@pytest.mark.parametrize("sizes", [(0, 10), (10, 9), (1, MOST_BYTES + 1), "huge"])
def test_sizes_that_sqs_refuses_are_refused(sizes: str | tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="sizes"):
        Workload(1, sizes=sizes)


def _parameters(message: Message) -> dict[str, object]:
    """Return the message as SQS gets it."""
    attributes = {
        name: {"DataType": kind, "BinaryValue" if kind.startswith("Binary") else "StringValue": value}
        for name, (kind, value) in message.attributes.items()
    }
    return {"MessageBody": message.body, "MessageAttributes": attributes}
