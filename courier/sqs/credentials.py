"""The keys that sign: boto3's chain finds them and renews them, in a thread, since both may wait for the network.

A chain belongs to the process that made it, so nothing of it exists before the first call: build a
:class:`CredentialSource` in the child, after the fork.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import boto3
import structlog
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from courier.errors import CourierError
from courier.sqs.signer import Keys

LOOK_EVERY_SECONDS: Final = 10.0
"""How often a call asks whether the keys are near their end; a failed renewal is tried again at this pace."""

RENEW_EVERY_SECONDS: Final = 10.0
"""The pace of renewals that SQS's refusals ask for: many calls fail at once, and STS has limits of its own."""

NO_CREDENTIALS: Final = (
    "no AWS credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile in AWS_PROFILE, "
    "or give the machine, task or service account a role"
)

log = structlog.get_logger("courier.sqs")


class NoKeys(CourierError):
    """boto3's chain gave no usable credentials; the line says why and, where known, how to mend it."""


def open_session(region: str | None) -> boto3.Session:
    """Open a session of boto3, which reads its files and variables anew. Raises NoKeys, for an unknown profile say."""
    try:
        return boto3.Session(region_name=region)
    except _CHAIN_ERRORS as error:
        raise NoKeys(f"no AWS credentials: {_one_line(error)}") from error


def find_credentials(session: boto3.Session) -> Credentials:
    """Go through the chain of a session: the first time it may block for seconds. Raises NoKeys."""
    try:
        credentials = session.get_credentials()
    except _CHAIN_ERRORS as error:
        raise NoKeys(f"no AWS credentials: {_one_line(error)}") from error
    if credentials is None:
        raise NoKeys(NO_CREDENTIALS)
    return credentials


def chain(region: str | None) -> Credentials:
    """Go through boto3's chain with nothing cached. It may block for seconds. Raises NoKeys.

    ``region`` is for the calls that some members of the chain make, such as those to STS.
    """
    return find_credentials(open_session(region))


def local_keys(_: str | None) -> Credentials:
    """Give keys for a queue that takes any, so that the embedded one asks for no AWS account."""
    return Credentials("courier", "courier")


def freeze(credentials: Credentials) -> Keys:
    """Read the keys of one moment, renewed first where they are near their end. It may block. Raises NoKeys."""
    try:
        frozen = credentials.get_frozen_credentials()
    except _CHAIN_ERRORS as error:
        raise NoKeys(f"the AWS credentials can't be renewed: {_one_line(error)}") from error
    keys = Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token or "")
    if not keys.access_key or not keys.secret_key:
        raise NoKeys(NO_CREDENTIALS)
    for name, value in zip(("access key id", "secret access key", "session token"), keys, strict=True):
        # Two of them become header values: a line break, often the last byte of a mounted file, would end the header.
        if not all("!" <= c <= "~" for c in value):
            raise NoKeys(f"the AWS {name} holds a space, a line break or another character that no key has")
    return keys


class CredentialSource:
    """The current keys of a process, never waited for once they are there.

    Near their end they are renewed in a thread while calls go on with the current ones. SQS is the judge of what has
    expired: after its refusal :meth:`renew` goes through the whole chain again.
    """

    def __init__(
        self,
        region: str | None,
        clock: Callable[[], float] = time.monotonic,
        find: Callable[[str | None], Credentials] = chain,
    ) -> None:
        """``region`` is given to ``find``, which is as :func:`chain`; ``clock`` gives seconds that only go forward."""
        self._region = region
        self._find = find
        self._clock = clock
        self._found: Credentials | None = None
        self._keys: Keys | None = None
        self._look_at = 0.0
        self._renewed_at = -math.inf
        self._under_way: asyncio.Future[Keys | NoKeys] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def known(self) -> Keys | None:
        """Give the current keys without waiting; ``None`` where there are none yet."""
        if self._keys is not None and self._clock() >= self._look_at:
            self._look()
        return self._keys

    async def keys(self) -> Keys:
        """Give the current keys; only the first call waits. Raises NoKeys where there are none."""
        keys = self._keys
        if keys is None:
            return await self._wait_for(self._find_and_freeze)
        if self._clock() >= self._look_at:
            self._look()
        return keys

    async def renew(self, refused: Keys) -> Keys:
        """Give other keys than those that SQS refused, or the same where there are no others.

        Raises NoKeys where the chain has none any more.
        """
        if self._keys is None or self._keys is not refused:
            return await self.keys()
        now = self._clock()
        if self._under_way is None and now - self._renewed_at < RENEW_EVERY_SECONDS:
            return refused
        self._renewed_at = now
        return await self._wait_for(self._find_and_freeze)

    def close(self) -> None:
        """Let go of the thread; a renewal under way is given up."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    def _look(self) -> None:
        """Start a renewal where the keys are near their end: 15 minutes, boto3's advisory period."""
        self._look_at = self._clock() + LOOK_EVERY_SECONDS
        found = self._found
        if self._under_way is None and isinstance(found, RefreshableCredentials) and found.refresh_needed():
            self._start(lambda: freeze(found))

    async def _wait_for(self, read: Callable[[], Keys]) -> Keys:
        under_way = self._under_way or self._start(read)
        # Many calls wait for the one future: the cancellation of one must not cancel it for the others.
        outcome = await asyncio.shield(under_way)
        if isinstance(outcome, NoKeys):
            # A new one for each waiter: raised again and again, one error would collect all their tracebacks.
            raise NoKeys(str(outcome))
        return self._keys or outcome

    def _start(self, read: Callable[[], Keys]) -> asyncio.Future[Keys | NoKeys]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="credentials")
        loop = asyncio.get_running_loop()
        self._under_way = loop.run_in_executor(self._thread, _outcome, read)
        self._under_way.add_done_callback(self._done)
        return self._under_way

    def _done(self, future: asyncio.Future[Keys | NoKeys]) -> None:
        self._under_way = None
        self._look_at = self._clock() + LOOK_EVERY_SECONDS
        if future.cancelled():
            return
        outcome = future.result()
        if isinstance(outcome, Keys):
            # The same object is kept for the same keys: the signer and the refusals go by identity.
            if outcome != self._keys:
                self._keys = outcome
        elif self._keys is not None:
            log.warning("cannot renew the AWS credentials, going on with the old ones", reason=str(outcome))

    def _find_and_freeze(self) -> Keys:
        found = self._find(self._region)
        keys = freeze(found)
        self._found = found
        return keys


def _outcome(read: Callable[[], Keys]) -> Keys | NoKeys:
    try:
        return read()
    except NoKeys as error:
        return error


_CHAIN_ERRORS: Final = (BotoCoreError, ClientError, OSError, KeyError, RuntimeError, ValueError)
"""What members of the chain raise: OSError and ValueError come from a credential process that is missing or
answers with something else than JSON, RuntimeError from a renewal that brought expired keys."""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
