"""The contract: a replay's request is that of the recorded delivery, byte by byte, but for what a record lacks."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.audit.found import parse
from courier.audit.record import recorder
from courier.http.url_parsing import read_url
from courier.local.exchange import Request, Response
from courier.local.virtual.service import VirtualSqs
from courier.message import Message
from courier.replay.candidate import Candidate, read_candidate
from courier.replay.feeder import stored
from courier.replay.settings import REPLAY_HEADER
from courier.request.auth import Authentication
from courier.request.head import DeliveryHead, HeadStyle
from courier.request.header_templates import HeaderTemplate, Part, parse_header
from courier.request.signing import parse_secrets
from courier.sqs.received import read_received
from tests.examples import examples

URL = read_url("http://recipient.example/in?key=1")
RUN = "20261126T120000Z-abcdef"
IDS = st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters="\x7f"), min_size=1, max_size=100)
BODIES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
TEMPLATES = [
    "X-Id: {message_id}",
    "X-Group: {group}",
    "X-Sent: at {sent_at}",
    "X-Count: {receive_count}",
    "X-Q: {queue}",
]
SECRET = "whsec_" + b64encode(b"k" * 32).decode()

NOT_RECORDED = re.compile(
    rb"(?:Courier-Replay|X-Aws-Sqsd-Sender-Id|Courier-Sender-Id|X-Aws-Sqsd-First-Received-At|Courier-First-Received-At"
    rb"|webhook-timestamp|webhook-signature): [^\r]*\r\n",
    re.IGNORECASE,
)
"""What the page about replays says to differ."""


def received_again(candidate: Candidate, *, fifo: bool) -> Message:
    """Return the message that a consumer receives of what the feeder has put into the queue."""

    async def receive() -> Message:
        sqs = VirtualSqs()
        queue = sqs.create_queue("q.fifo" if fifo else "q")
        queue.apply(queue.settings._replace(retention=10**12))
        queue.restore(stored(candidate, sqs.clock()), sqs.clock())
        asked = {
            "QueueUrl": f"http://host{sqs.path_of(queue.name)}",
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        headers = {"x-amz-target": "AmazonSQS.ReceiveMessage", "authorization": "any", "host": "host"}
        answer = sqs.handle(Request("POST", "/", headers, orjson.dumps(asked)))
        assert isinstance(answer, Response)
        fields: Any = orjson.loads(answer.body)
        (message,) = read_received(fields, 1.0, 30).messages
        return message

    return asyncio.run(receive())


@settings(max_examples=examples(1000))
@given(
    IDS,
    BODIES,
    st.sampled_from(["", "g", "tenant/7"]),
    st.integers(1, 4_000_000_000_000),
    st.sampled_from(["sqsd", "courier", "none"]),
    st.lists(st.sampled_from(TEMPLATES), unique=True),
    st.booleans(),
    st.booleans(),
)
def test_a_replayed_request_is_that_of_the_delivery_but_for_what_a_record_lacks(
    message_id: str,
    body: str,
    group: str,
    sent_ms: int,
    headers: str,
    own: Sequence[str],
    is_signed: bool,
    is_group_in_order: bool,
) -> None:
    delivered = Message(message_id, "r", 1.0, 1.0, 1, sent_ms, sent_ms, "sender", group, "", (), body.encode())
    templates = tuple(map(parse_header, own))
    proof = Authentication(None, [], parse_secrets(SECRET)) if is_signed else None
    first = DeliveryHead(URL, "orders", HeadStyle(headers, templates), proof)
    marked = (*templates, HeaderTemplate(REPLAY_HEADER, (Part(RUN, ""),)))
    again = DeliveryHead(URL, "orders", HeadStyle(headers, marked), proof)

    raw = recorder("json", "full")(delivered, "delivered", 200, 0.1, 1.0)
    fields = parse(".jsonl", raw)
    assert fields is not None
    candidate = read_candidate(fields, ".jsonl")
    assert isinstance(candidate, Candidate)
    message = received_again(candidate, fifo=is_group_in_order)

    assert message.body == delivered.body
    assert message.sent_ms == delivered.sent_ms
    head = again.render(message)
    assert head.count(b"Courier-Replay: " + RUN.encode()) == 1
    assert NOT_RECORDED.sub(b"", head) == NOT_RECORDED.sub(b"", first.render(delivered))
    assert b"Sender-Id" not in head
