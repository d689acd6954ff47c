"""The client of the frequent calls: receive, delete, change visibility, send.

They are JSON 1.0 requests over our own HTTP session, signed by our own signer, for a tenth of the CPU of boto3. The
client repeats a call only once, after new credentials or a corrected clock. Backing off is up to the caller.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import orjson
import structlog

from courier.errors import SqsError
from courier.http.answer import CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, TIMEOUT
from courier.http.proxy import uses_tls
from courier.http.session import Session, SessionLimits
from courier.lease import earliest_arrival, suspended_seconds
from courier.log.recurring import RecurringLine
from courier.sqs.batch import (
    EntryFailure,
    Outgoing,
    call_in_parts,
    delete_entries,
    fail_altered,
    read_results,
    send_entries,
    visibility_entries,
)
from courier.sqs.credentials import CredentialSource, NoKeys
from courier.sqs.errors import NO_CREDENTIALS, SKEWED, STALE_KEYS, UNKNOWN_KEYS, UNSENDABLE
from courier.sqs.patience import Patience
from courier.sqs.queue import QueueDepth, QueueInfo
from courier.sqs.received import Received, read_received
from courier.sqs.reply import ErrorReply, SuccessReply, read_reply, server_time
from courier.sqs.signer import Keys, SigV4Signer
from courier.sqs.trusted_certificates import trusted_context

__all__ = ["EntryFailure", "Outgoing", "Received", "SqsClient"]

TIMEOUT_SECONDS: Final = 10.0
"""The time for a call that SQS answers at once; a long poll has its wait time on top."""

NO_KEYS_IN_TIME: Final = (
    "boto3's chain gave no credentials in time; see what hangs: a credential process, IMDS or the container endpoint"
)

SETTLE_SECONDS: Final = 2.0
"""The shortest time-out of a call that settles messages. It is short because leases end meanwhile, and because the call
can be repeated safely. It grows while SQS is slow."""

UNANSWERED: Final = frozenset({CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, TIMEOUT})
"""The causes of calls that SQS didn't answer in time."""

ANSWER_CAP: Final = 80 * 1024 * 1024
"""Ten messages of 1 MiB, with six characters for each one that is escaped, and their attributes."""

RECEIVES_KEPT: Final = 64
"""The number of receives, of different counts and wait times, whose bodies are kept."""

DEPTH_ATTRIBUTES: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)
"""The attributes that are the numbers of a QueueDepth."""

MOST_MESSAGES: Final = 1 << 53
"""More than any queue holds: a larger number isn't one of SQS."""

PAGE_OF_SOURCES: Final = 1000
MOST_SOURCES: Final = 10_000
"""Sources of a dead-letter queue after which no more are asked for: a server that isn't SQS may never end."""

DIFFERENCE_WORTH_A_LINE: Final = 60.0
"""Seconds between two clocks; SQS itself tolerates minutes."""

log = structlog.get_logger("courier.sqs")


class SqsClient:
    """Makes calls for one queue, any number at once, all in one event loop.

    A call that fails as a whole raises SqsError.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        queue: QueueInfo,
        credentials: CredentialSource,
        *,
        timeout: float = TIMEOUT_SECONDS,
        receives: bool = False,
        keeps_system: bool = False,
        on_call: Callable[[str, str | None], None] | None = None,
    ) -> None:
        """Open no connection yet; the client belongs to the process that makes it.

        ``credentials`` may be shared with other clients; their maker closes them. ``timeout`` (seconds) bounds a call,
        and the part of a long poll after its wait time. A client that ``receives`` counts leases from the arrival of
        the messages, however late its process reads them. With ``keeps_system`` its messages keep all system
        attributes. ``on_call`` gets the action and the error code, ``None`` for success, of each request, and of each
        that can't be made for lack of credentials.
        """
        tls = trusted_context(queue.ca_bundle) if uses_tls(queue.endpoint, queue.proxy) else None
        limits = SessionLimits(timeout=timeout, answer_cap=ANSWER_CAP, by_arrival=receives)
        self._session = Session(loop, queue.endpoint, limits, tls, proxy=queue.proxy)
        self._signer = SigV4Signer(queue.endpoint, queue.region, queue.proxy)
        self._credentials = credentials
        self._proxy = queue.proxy
        self._queue_url = queue.url
        self._fifo = queue.fifo
        self._keeps_system = keeps_system
        self._where = f"queue {queue.name!r} in {queue.region}"
        self._timeout = timeout
        self._patience = Patience(min(SETTLE_SECONDS, timeout), timeout)
        self._on_call = on_call
        self._clock_offset = 0.0
        self._clock_line = RecurringLine(log, "warning", "the clock differs from SQS's, signing with SQS's time")
        self._corrupt_line = RecurringLine(log, "error", "corrupt messages left for SQS to show again")
        # There are few different receives. A body that is the same object is signed only once a second.
        self._receives: dict[tuple[int, int, int], bytes] = {}

    async def receive(
        self, count: int, wait_time_seconds: int, visibility_timeout: int, attempt_id: str | None = None
    ) -> Received:
        """Receive up to ``count`` (1 to 10) messages, waiting up to 20 seconds for the first.

        With ``attempt_id`` a FIFO queue repeats a lost answer for five minutes. Cancelling the call closes its
        connection; SQS shows messages that it had already handed over again after their visibility timeout.
        """
        asked = count, wait_time_seconds, visibility_timeout
        body = self._receives.get(asked) if attempt_id is None else None
        if body is None:
            body = orjson.dumps(self._receive_request(*asked, attempt_id))
            if attempt_id is None and len(self._receives) < RECEIVES_KEPT:
                self._receives[asked] = body
        before = suspended_seconds()
        reply = await self._call("ReceiveMessage", body, wait_time_seconds + self._timeout)
        arrived_at = earliest_arrival(reply.answer.first_byte_at, suspended_seconds() - before)
        try:
            return read_received(
                reply.fields, arrived_at, visibility_timeout, self._corrupt_line, keeps_system=self._keeps_system
            )
        except TypeError:
            raise reply.unreadable("ReceiveMessage") from None

    def _receive_request(
        self, count: int, wait_time_seconds: int, visibility_timeout: int, attempt_id: str | None
    ) -> dict[str, Any]:
        request = {
            "QueueUrl": self._queue_url,
            "MaxNumberOfMessages": count,
            "WaitTimeSeconds": wait_time_seconds,
            "VisibilityTimeout": visibility_timeout,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        if attempt_id is not None:
            request["ReceiveRequestAttemptId"] = attempt_id
        return request

    async def delete(self, receipts: Sequence[str]) -> list[EntryFailure | None]:
        """Delete up to 10 messages and return the result of each, in their order: ``None`` for success.

        See :func:`call_in_parts` for a call that SQS refuses as a whole.
        """
        return await call_in_parts(self._delete, receipts, in_order=self._fifo)

    async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> list[EntryFailure | None]:
        """Hide up to 10 messages, each for its own seconds from now; return results as :meth:`delete` does."""
        return await call_in_parts(self._change_visibility, entries, in_order=self._fifo)

    async def send(self, messages: Sequence[Outgoing]) -> list[EntryFailure | None]:
        """Send up to 10 messages, 1 MiB in all; return results as :meth:`delete` does.

        A message that SQS took with another body has failed too, though it may be in the queue.
        """
        return await call_in_parts(self._send, messages, in_order=self._fifo)

    async def depth(self, queue_url: str = "") -> QueueDepth:
        """Return how many messages the queue holds, or another queue of its region, by its URL."""
        action = "GetQueueAttributes"
        request = {"QueueUrl": queue_url or self._queue_url, "AttributeNames": DEPTH_ATTRIBUTES}
        reply = await self._call(action, orjson.dumps(request), self._timeout)
        try:
            depth = QueueDepth(*(int(reply.fields["Attributes"][name]) for name in DEPTH_ATTRIBUTES))
        except (KeyError, OverflowError, TypeError, ValueError):
            raise reply.unreadable(action) from None
        if not all(0 <= number <= MOST_MESSAGES for number in depth):
            raise reply.unreadable(action)
        return depth

    async def queue_url(self, name: str, account: str) -> str:
        """Return the URL of another queue in the same region."""
        action = "GetQueueUrl"
        body = orjson.dumps({"QueueName": name, "QueueOwnerAWSAccountId": account})
        reply = await self._call(action, body, self._timeout)
        url = reply.fields.get("QueueUrl")
        if not isinstance(url, str) or not url:
            raise reply.unreadable(action)
        return url

    async def dead_letter_sources(self) -> list[str]:
        """Return the URLs of the queues whose redrive policy names this queue."""
        action = "ListDeadLetterSourceQueues"
        urls: list[str] = []
        request: dict[str, Any] = {"QueueUrl": self._queue_url}
        while len(urls) < MOST_SOURCES:
            reply = await self._call(action, orjson.dumps(request), self._timeout)
            found = reply.fields.get("queueUrls") or []
            if not isinstance(found, list) or not all(isinstance(url, str) for url in found):
                raise reply.unreadable(action)
            urls += found
            token = reply.fields.get("NextToken")
            if not token or not found:
                break
            request |= {"NextToken": token, "MaxResults": PAGE_OF_SOURCES}
        return urls

    def close(self) -> None:
        """Cancel the calls under way: they raise SqsError, not retriable, and so do later calls."""
        self._session.close()

    async def _delete(self, receipts: Sequence[str]) -> list[EntryFailure | None]:
        return await self._settle("DeleteMessageBatch", delete_entries(receipts))

    async def _change_visibility(self, entries: Sequence[tuple[str, int]]) -> list[EntryFailure | None]:
        return await self._settle("ChangeMessageVisibilityBatch", visibility_entries(entries))

    async def _send(self, messages: Sequence[Outgoing]) -> list[EntryFailure | None]:
        action = "SendMessageBatch"
        try:
            entries = send_entries(messages)
        except UnicodeDecodeError as error:
            raise SqsError(action, UNSENDABLE, f"a body is not UTF-8: {error.reason}", retriable=False) from None
        return await self._batch(action, entries, self._timeout, messages)

    async def _settle(self, action: str, entries: list[dict[str, Any]]) -> list[EntryFailure | None]:
        patience, began = self._patience, time.monotonic()
        try:
            results = await self._batch(action, entries, patience.seconds)
        except SqsError as error:
            if error.cause in UNANSWERED:
                patience.ended(began, time.monotonic())
            raise
        now = time.monotonic()
        patience.answered(now - began, now)
        return results

    async def _batch(
        self, action: str, entries: list[dict[str, Any]], timeout: float, sent: Sequence[Outgoing] = ()
    ) -> list[EntryFailure | None]:
        try:
            body = orjson.dumps({"QueueUrl": self._queue_url, "Entries": entries})
        except orjson.JSONEncodeError as error:
            raise SqsError(action, UNSENDABLE, f"an entry can't be JSON: {error}", retriable=False) from None
        reply = await self._call(action, body, timeout)
        try:
            outcome = read_results(len(entries), reply.fields)
            if sent:
                fail_altered(sent, reply.fields, outcome)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise reply.unreadable(action) from None
        return outcome

    async def _call(self, action: str, body: bytes, timeout: float) -> SuccessReply:
        """Make a call, and make it again if it was refused and new keys or a corrected clock may help."""
        keys = await self._keys(action)
        reply = await self._exchange(action, body, keys, timeout)
        if isinstance(reply, ErrorReply) and await self._prepare_second_call(action, reply, keys):
            reply = await self._exchange(action, body, await self._keys(action), timeout)
        if not isinstance(reply, SuccessReply):
            raise reply.error
        return reply

    async def _exchange(self, action: str, body: bytes, keys: Keys, timeout: float) -> SuccessReply | ErrorReply:
        head = self._signer.head(keys, action, body, time.time() + self._clock_offset)
        answer = await self._session.request(head, body, timeout)
        reply = read_reply(action, self._where, answer, keys, self._proxy)
        if self._on_call is not None:
            self._on_call(action, None if isinstance(reply, SuccessReply) else reply.error.code)
        return reply

    async def _keys(self, action: str) -> Keys:
        known = self._credentials.known()
        if known is not None:
            return known
        try:
            return await self._wait_for_keys(action, self._credentials.keys())
        except SqsError:
            if self._on_call is not None:
                self._on_call(action, NO_CREDENTIALS)
            raise

    async def _wait_for_keys(self, action: str, keys: Awaitable[Keys]) -> Keys:
        try:
            async with asyncio.timeout(self._timeout):
                return await keys
        except (NoKeys, TimeoutError) as error:
            detail = str(error) if isinstance(error, NoKeys) else NO_KEYS_IN_TIME
            raise SqsError(action, NO_CREDENTIALS, detail, retriable=True) from None

    async def _prepare_second_call(self, action: str, refusal: ErrorReply, keys: Keys) -> bool:
        """Renew the keys, or adopt the clock of SQS; return whether the refused call may succeed now."""
        code = refusal.error.code
        stale = code in STALE_KEYS or code in UNKNOWN_KEYS
        if stale and await self._wait_for_keys(action, self._credentials.renew(keys)) != keys:
            return True
        if code not in SKEWED or refusal.answer is None:
            return False
        now = server_time(refusal.answer)
        if now is None:
            return False
        offset = now - time.time()
        if abs(offset - self._clock_offset) > DIFFERENCE_WORTH_A_LINE:
            self._clock_line(
                code,
                seconds=round(offset),
                reason=f"SQS answered {code}",
                advice="set this machine's clock (NTP); meanwhile Courier goes on",
            )
        self._clock_offset = offset
        return True
