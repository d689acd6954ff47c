"""The client of the hot calls: receive, delete, change visibility, send.

They are JSON 1.0 requests over our own HTTP session, signed by our own signer: a tenth of what boto3 costs. The
client repeats a call only to mend it: once, after new credentials or a corrected clock. Backing off is the caller's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
import structlog

from courier.errors import SqsError
from courier.http.session import Limits, Session
from courier.sqs.batch import (
    EntryFailure,
    Outgoing,
    check_sent,
    delete_entries,
    results,
    send_entries,
    visibility_entries,
)
from courier.sqs.credentials import CredentialSource, NoKeys
from courier.sqs.errors import NO_CREDENTIALS, SKEWED, STALE_KEYS, UNKNOWN_KEYS, unreadable
from courier.sqs.queue import QueueInfo
from courier.sqs.received import Received, read_received
from courier.sqs.reply import Refusal, Success, read_reply, server_time
from courier.sqs.signer import Keys, Signer
from courier.sqs.trust import trust

__all__ = ["EntryFailure", "Outgoing", "Received", "SqsClient"]

TIMEOUT_SECONDS: Final = 10.0
"""For a call that SQS answers at once; a long poll has its wait time on top."""

NO_KEYS_IN_TIME: Final = "boto3's chain gave no credentials in time; a credential process or IMDS hangs"

ANSWER_CAP: Final = 80 * 1024 * 1024
"""Ten messages of 1 MiB, each character escaped to six at worst, and their attributes."""

RECEIVES_KEPT: Final = 64
"""Receives of different counts and wait times that are remembered as requests."""

DIFFERENCE_WORTH_A_LINE: Final = 60.0
"""Seconds between two clocks; SQS itself bears with minutes."""

log = structlog.get_logger("courier.sqs")


class SqsClient:
    """Calls SQS for one queue; serves any number of calls at once, all in one event loop.

    Every call raises SqsError where it failed as a whole.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        queue: QueueInfo,
        credentials: CredentialSource,
        *,
        timeout: float = TIMEOUT_SECONDS,
        on_call: Callable[[str, str | None], None] | None = None,
    ) -> None:
        """Build it after the fork.

        ``credentials`` may be shared with other clients, and is closed by whoever made it. ``timeout`` (seconds)
        bounds a call, in a long poll what comes after the wait time. ``on_call`` is told the action and the error
        code, ``None`` for success, of each request that was made, and of each that wasn't for want of credentials.
        """
        tls = trust(queue.ca_bundle) if queue.endpoint.scheme == "https" else None
        limits = Limits(timeout=timeout, answer_cap=ANSWER_CAP)
        self._session = Session(loop, queue.endpoint, limits, tls)
        self._signer = Signer(queue.endpoint, queue.region)
        self._credentials = credentials
        self._queue_url = queue.url
        self._where = f"queue {queue.name!r} in {queue.region}"
        self._timeout = timeout
        self._on_call = on_call
        self._clock_offset = 0.0
        # The bodies of receives, of which there are few: each is kept, and signed once a second.
        self._receives: dict[tuple[int, int, int], bytes] = {}

    async def receive(
        self, count: int, wait_time_seconds: int, visibility_timeout: int, attempt_id: str | None = None
    ) -> Received:
        """Receive up to ``count`` (1 to 10) messages, waiting up to 20 seconds for the first.

        ``attempt_id`` makes a lost answer of a FIFO queue repeatable for five minutes. Cancelling the call closes
        its connection; what SQS had already handed over is shown again after its visibility timeout.
        """
        asked = count, wait_time_seconds, visibility_timeout
        body = self._receives.get(asked) if attempt_id is None else None
        if body is None:
            body = orjson.dumps(self._receive_request(*asked, attempt_id))
            if attempt_id is None and len(self._receives) < RECEIVES_KEPT:
                self._receives[asked] = body
        reply = await self._call("ReceiveMessage", body, wait_time_seconds + self._timeout)
        try:
            return read_received(reply.fields, reply.answer.first_byte_at, visibility_timeout)
        except TypeError:
            raise unreadable("ReceiveMessage", reply.answer) from None

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
        """Delete up to 10 messages; the result of each stands at its place, ``None`` for success."""
        return await self._batch("DeleteMessageBatch", delete_entries(receipts))

    async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> list[EntryFailure | None]:
        """Hide up to 10 messages for so many seconds from now, each; results as in :meth:`delete`."""
        return await self._batch("ChangeMessageVisibilityBatch", visibility_entries(entries))

    async def send(self, messages: Sequence[Outgoing]) -> list[EntryFailure | None]:
        """Send up to 10 messages, 1 MiB in all; results as in :meth:`delete`.

        A message that SQS says it took with another body has failed too, though it may be in the queue.
        """
        return await self._batch("SendMessageBatch", send_entries(messages), messages)

    def close(self) -> None:
        """Cancel the calls under way: they raise SqsError, not retriable. Later calls do the same."""
        self._session.close()

    async def _batch(
        self, action: str, entries: list[dict[str, Any]], sent: Sequence[Outgoing] = ()
    ) -> list[EntryFailure | None]:
        if not entries:
            return []
        body = orjson.dumps({"QueueUrl": self._queue_url, "Entries": entries})
        reply = await self._call(action, body, self._timeout)
        try:
            outcome = results(len(entries), reply.fields)
            if sent:
                check_sent(sent, reply.fields, outcome)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise unreadable(action, reply.answer) from None
        return outcome

    async def _call(self, action: str, body: bytes, timeout: float) -> Success:
        """Make a call, and once more where new keys or a corrected clock may mend it."""
        keys = await self._keys(action)
        reply = await self._exchange(action, body, keys, timeout)
        if isinstance(reply, Refusal) and await self._mend(action, reply, keys):
            reply = await self._exchange(action, body, await self._keys(action), timeout)
        if not isinstance(reply, Success):
            raise reply.error
        return reply

    async def _exchange(self, action: str, body: bytes, keys: Keys, timeout: float) -> Success | Refusal:
        head = self._signer.head(keys, action, body, time.time() + self._clock_offset)
        reply = read_reply(action, self._where, await self._session.request(head, body, timeout))
        if self._on_call is not None:
            self._on_call(action, None if isinstance(reply, Success) else reply.error.code)
        return reply

    async def _keys(self, action: str) -> Keys:
        known = self._credentials.known()
        if known is not None:
            return known
        try:
            async with asyncio.timeout(self._timeout):
                return await self._credentials.keys()
        except (NoKeys, TimeoutError) as error:
            if self._on_call is not None:
                self._on_call(action, NO_CREDENTIALS)
            detail = str(error) if isinstance(error, NoKeys) else NO_KEYS_IN_TIME
            raise SqsError(action, NO_CREDENTIALS, detail, retriable=True) from None

    async def _mend(self, action: str, refusal: Refusal, keys: Keys) -> bool:
        """Do what may let a refused call succeed: renew the keys, or go by the clock of SQS. False: nothing may."""
        code = refusal.error.code
        if code in STALE_KEYS or code in UNKNOWN_KEYS:
            try:
                async with asyncio.timeout(self._timeout):
                    if await self._credentials.renew(keys) != keys:
                        return True
            except NoKeys as error:
                raise SqsError(action, NO_CREDENTIALS, str(error), retriable=True) from None
            except TimeoutError:
                raise SqsError(action, NO_CREDENTIALS, NO_KEYS_IN_TIME, retriable=True) from None
        if code not in SKEWED or refusal.answer is None:
            return False
        now = server_time(refusal.answer)
        if now is None:
            return False
        offset = now - time.time()
        if abs(offset - self._clock_offset) > DIFFERENCE_WORTH_A_LINE:
            log.warning("the clock differs from that of SQS, signing by theirs", seconds=round(offset))
        self._clock_offset = offset
        return True
