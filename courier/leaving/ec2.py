"""EC2's instance metadata (IMDSv2): the notices of a spot interruption, a rebalance and the Auto Scaling lifecycle.

Each request carries a token that a PUT brings. Its answer travels no further than the hop limit of the instance, which
is 1 on most: in a container it never arrives.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from courier.http.answer import Answer, Failure
from courier.http.head import header_value
from courier.leaving.metadata import SILENT, Endpoint, Poll, Unavailable
from courier.leaving.notice import Notice, Unreadable, lifecycle_notice, rebalance_notice, spot_notice

NAME: Final = "the instance metadata"

TOKEN: Final = "/latest/api/token"
SPOT_ACTION: Final = "/latest/meta-data/spot/instance-action"
LIFECYCLE_STATE: Final = "/latest/meta-data/autoscaling/target-lifecycle-state"
REBALANCE: Final = "/latest/meta-data/events/recommendations/rebalance"
INSTANCE_ID: Final = "/latest/meta-data/instance-id"
REGION: Final = "/latest/meta-data/placement/region"

TOKEN_SECONDS: Final = 21_600
"""The life of a token, in seconds: the longest there is."""

TOKEN_HEADER: Final = "X-aws-ec2-metadata-token"
LIFE_HEADER: Final = "X-aws-ec2-metadata-token-ttl-seconds"
LONGEST_TOKEN: Final = 1024

_NO_ANSWER: Final = (
    "in a container raise the instance's metadata hop limit to 2 (aws ec2 modify-instance-metadata-options "
    "--http-put-response-hop-limit 2); outside of EC2 leave out --watch-termination"
)
_OFF: Final = "turn on the instance's metadata (HttpEndpoint enabled), or leave out --watch-termination"
_WRONG: Final = (
    "find out what answers there, often a proxy or an emulator; outside of EC2 leave out --watch-termination"
)


class Ec2:
    """The instance metadata, asked with a token that is renewed at half of its life, or when it is refused."""

    def __init__(
        self, endpoint: Endpoint, *, drains_on_rebalance: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._endpoint = endpoint
        self._drains_on_rebalance = drains_on_rebalance
        self._clock = clock
        self._token = ""
        self._renew_at = 0.0

    async def poll(self) -> Poll:
        """Return the notices in force, the most urgent first. One counts even if another can't be read."""
        found: list[Notice | None] = []
        error: Unavailable | None = None
        for path, read in (
            (SPOT_ACTION, spot_notice),
            (LIFECYCLE_STATE, lifecycle_notice),
            (REBALANCE, self._rebalance),
        ):
            try:
                answer = await self.get(path)
                found.append(None if answer is None else read(answer))
            except Unreadable as unreadable:
                error = self._endpoint.unreadable(path, str(unreadable))
            except Unavailable as unavailable:
                error = unavailable
                if not self._token:
                    # Without a token no other request can succeed, and each would wait for it.
                    break
        return Poll([notice for notice in found if notice is not None], error)

    async def get(self, path: str) -> str | None:
        """Return the text of an item; ``None`` if there is none. Raise Unavailable."""
        answer = await self._ask(path)
        if answer.status == 401:
            # The token has expired, or belongs to another boot of this machine.
            self._token = ""
            answer = await self._ask(path)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._endpoint.refused(path, answer.status, _OFF if answer.status == 403 else _WRONG)
        return answer.body.decode(errors="replace")

    async def _ask(self, path: str) -> Answer:
        token = await self._current_token()
        answer = await self._endpoint.ask("GET", path, [(TOKEN_HEADER, token)])
        if isinstance(answer, Failure):
            raise self._endpoint.failed(answer, _NO_ANSWER if answer.reason in SILENT else _WRONG)
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._endpoint.close()

    def _rebalance(self, answer: str) -> Notice:
        return rebalance_notice(answer, drains=self._drains_on_rebalance)

    async def _current_token(self) -> str:
        now = self._clock()
        if self._token and now < self._renew_at:
            return self._token
        answer = await self._endpoint.ask("PUT", TOKEN, [(LIFE_HEADER, str(TOKEN_SECONDS))])
        if isinstance(answer, Failure):
            self._token = ""
            raise self._endpoint.failed(answer, _NO_ANSWER if answer.reason in SILENT else _WRONG)
        if answer.status != 200:
            self._token = ""
            raise self._endpoint.refused(TOKEN, answer.status, _OFF if answer.status == 403 else _WRONG)
        token = answer.body.decode(errors="replace")
        if not token or len(token) > LONGEST_TOKEN or header_value(token) is None:
            self._token = ""
            raise self._endpoint.unreadable(TOKEN, "it isn't a token")
        self._token, self._renew_at = token, now + _life(answer.header(LIFE_HEADER.lower().encode())) / 2
        return token


def _life(header: bytes | None) -> float:
    """Return the life of a token in seconds, which the answer may shorten."""
    text = (header or b"").decode(errors="replace")
    return min(int(text), TOKEN_SECONDS) if text.isascii() and text.isdecimal() else TOKEN_SECONDS
