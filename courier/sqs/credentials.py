"""The keys that sign. They are found and renewed in a thread, since both may wait for the network.

What finds them belongs to the process that made it. So make a :class:`CredentialSource` in the child, after the fork.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import structlog

from courier.errors import CourierError
from courier.log.outage import Outage
from courier.sqs.signer import Keys

LOOK_EVERY_SECONDS: Final = 10.0
"""The shortest time between two looks at the age of the keys, and between a failed renewal and the next one."""

RENEW_EVERY_SECONDS: Final = 10.0
"""The shortest time between two renewals after refusals by SQS: many calls fail at once, and STS has limits."""

NO_CREDENTIALS: Final = (
    "no AWS credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile in AWS_PROFILE, "
    "or give the machine, task or service account a role"
)

log = structlog.get_logger("courier.sqs")


class NoKeys(CourierError):
    """boto3's chain has no usable credentials; the line says why, and how to fix it."""


class FoundKeys(Protocol):
    """Keys where they were found; ``method`` is boto3's word for that."""

    @property
    def method(self) -> str:
        """The name of the place, ``env`` for variables of the environment."""

    def read(self) -> Keys:
        """Return the current keys, renewed first if they are near their end. It may block. Raises NoKeys."""

    def are_old(self) -> bool:
        """Return whether the keys are near their end: 15 minutes before it, boto3's advisory period."""


class StaticKeys:
    """Keys without an end."""

    def __init__(self, keys: Keys, method: str) -> None:
        self.method = method
        self._keys = keys

    def read(self) -> Keys:
        """Return the keys. Raises NoKeys if they can't be the keys of AWS."""
        return checked(self._keys)

    def are_old(self) -> bool:
        """Return ``False``."""
        return False


LOCAL_KEYS: Final = Keys("courier", "courier")


def local_keys(_: str | None) -> FoundKeys:
    """Return keys for a queue that accepts any: the embedded one needs no AWS account."""
    return StaticKeys(LOCAL_KEYS, "local")


def checked(keys: Keys) -> Keys:
    """Return the keys if they can sign; raise NoKeys if one is missing, or has a character that no key has."""
    if not keys.access_key or not keys.secret_key:
        raise NoKeys(NO_CREDENTIALS)
    for name, value in zip(("access key id", "secret access key", "session token"), keys, strict=True):
        # Two of them are header values, which a line break would end. Mounted files often end in one.
        if not all("!" <= c <= "~" for c in value):
            raise NoKeys(
                f"the AWS {name} holds a space, a line break or another character that no key has; correct it where "
                "it comes from, often a mounted file that ends in a line break"
            )
    return keys


class CredentialSource:
    """The current keys of a process. Only the first call waits for them.

    A thread renews them near their end while calls go on with the current ones. SQS decides what has expired: after a
    refusal :meth:`renew` searches for keys again.
    """

    def __init__(
        self,
        find: Callable[[str | None], FoundKeys],
        region: str | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        at_hand: Keys | None = None,
    ) -> None:
        """``find`` searches anew, for a ``region``, and may raise NoKeys; ``clock`` returns monotonic seconds.

        Keys ``at_hand`` have no end. They need no search, and no thread for it, until SQS refuses them.
        """
        self._region = region
        self._find = find
        self._clock = clock
        self._found: FoundKeys | None = None
        self._keys = at_hand
        self._look_at = 0.0
        self._renewed_at = -math.inf
        self._under_way: asyncio.Future[Keys | NoKeys] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._outage = Outage()

    def known(self) -> Keys | None:
        """Return the current keys without waiting; ``None`` if there are none yet."""
        if self._keys is not None and self._clock() >= self._look_at:
            self._renew_if_old()
        return self._keys

    async def keys(self) -> Keys:
        """Return the current keys; only the first call waits. Raises NoKeys if there are none."""
        keys = self._keys
        if keys is None:
            return await self._wait_for(self._find_and_freeze)
        if self._clock() >= self._look_at:
            self._renew_if_old()
        return keys

    async def renew(self, refused: Keys) -> Keys:
        """Return other keys than those that SQS refused, or the same if there are no others.

        Raises NoKeys if the chain has none any more.
        """
        if self._keys is None or self._keys is not refused:
            return await self.keys()
        now = self._clock()
        if self._under_way is None and now - self._renewed_at < RENEW_EVERY_SECONDS:
            return refused
        self._renewed_at = now
        return await self._wait_for(self._find_and_freeze)

    def close(self) -> None:
        """Give up a renewal under way, and the thread."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    def _renew_if_old(self) -> None:
        """Start a renewal if the keys are near their end."""
        self._look_at = self._clock() + LOOK_EVERY_SECONDS
        found = self._found
        if self._under_way is None and found is not None and found.are_old():
            self._start(found.read)

    async def _wait_for(self, read: Callable[[], Keys]) -> Keys:
        under_way = self._under_way or self._start(read)
        # Many calls wait for one future. The cancellation of one must not cancel it for the others.
        outcome = await asyncio.shield(under_way)
        if isinstance(outcome, NoKeys):
            # One error raised for all would collect all their tracebacks.
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
            self._outage.worked(self._clock())
            # The signer and the refusals compare keys by identity, so equal keys stay the same object.
            if outcome != self._keys:
                self._keys = outcome
        elif self._keys is not None:
            due = self._outage.failed(str(outcome), self._clock(), time.time())
            if due is not None:
                log.warning(
                    "cannot renew the AWS credentials, going on with the old ones",
                    reason=outcome.reason,
                    advice=outcome.advice,
                    **due,
                )

    def _find_and_freeze(self) -> Keys:
        found = self._find(self._region)
        keys = found.read()
        self._found = found
        return keys


def _outcome(read: Callable[[], Keys]) -> Keys | NoKeys:
    try:
        return read()
    except NoKeys as error:
        return error
