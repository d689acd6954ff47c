"""SNS's certificates: fetched once each from SNS's own host, and kept."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import structlog

from courier.body.sns_signature import Certificate, CertificateUrl, read_certificate
from courier.fetch.breaker import BucketBreaker
from courier.http.answer import Answer, Failure
from courier.http.exchange import Transport
from courier.log.outage import Outage
from courier.recipient.advice import BY_REASON
from courier.recipient.content import FORGED, NO_CERTIFICATE

MOST_KEPT: Final = 64
"""The most certificates that are kept: SNS has one or two a region at a time."""

MISSING_SECONDS: Final = 600.0
MOST_MISSING: Final = 64
"""Seconds for which a certificate that isn't there isn't asked for again, and the most of them within that time.

The names come from messages, and who forges them could make this machine ask SNS again and again.
"""

NONE_THERE: Final = frozenset({404, 410})
"""Statuses that say that there is no such certificate."""

OK: Final = 200

log = structlog.get_logger("courier.body")

Found: TypeAlias = Certificate | Failure


class HostSession(NamedTuple):
    """A session with a host, and the head of the request for the certificate at a path."""

    session: Transport
    head: Callable[[str], bytes]


class PendingCertificate:
    """A wait for a certificate that is on its way; see :class:`courier.request.content.Pending`."""

    __slots__ = ("_done",)

    def __init__(self, done: Callable[[Found], None]) -> None:
        self._done: Callable[[Found], None] | None = done

    def cancel(self) -> None:
        """Give up. The certificate comes all the same, for others."""
        self._done = None

    def end(self, found: Found) -> None:
        """Pass the certificate on."""
        done, self._done = self._done, None
        if done is not None:
            done(found)


class Certificates:
    """One sender's certificates. ``open_session`` opens a session with a host when it is first needed."""

    def __init__(self, open_session: Callable[[str], HostSession], clock: Callable[[], float] = time.monotonic) -> None:
        self._open_session = open_session
        self._clock = clock
        self._kept: dict[CertificateUrl, Certificate] = {}
        self._missing: dict[CertificateUrl, float] = {}
        self._waiting: dict[CertificateUrl, list[PendingCertificate]] = {}
        self._hosts: dict[str, _Host] = {}

    def get(self, url: CertificateUrl, done: Callable[[Found], None]) -> Found | PendingCertificate:
        """Return a certificate, or why there is none; or the wait for it, after which ``done`` is called."""
        if (kept := self._kept.get(url)) is not None:
            return kept
        now = self._clock()
        if self._missing.get(url, 0.0) > now:
            return Failure(FORGED, f"{url.host} has no such certificate", 0.0)
        wait = PendingCertificate(done)
        if (waiting := self._waiting.get(url)) is not None:
            waiting.append(wait)
            return wait
        if self._too_many_are_missing(now):
            detail = f"not tried: {MOST_MISSING} certificates that recent messages named aren't there"
            return Failure(NO_CERTIFICATE, f"{url.host}: {detail}", 0.0, MISSING_SECONDS / 10)
        host = self._hosts.get(url.host)
        if host is None:
            host = self._hosts[url.host] = _Host(url.host, self._open_session(url.host))
        if refusal := host.refusal(now):
            return refusal
        self._waiting[url] = [wait]
        host.ask(url.path, lambda answer: self._answered(url, host, answer))
        return wait

    def _answered(self, url: CertificateUrl, host: _Host, answer: Answer | Failure) -> None:
        found = self._read(url, host, answer)
        for wait in self._waiting.pop(url):
            wait.end(found)

    def _read(self, url: CertificateUrl, host: _Host, answer: Answer | Failure) -> Found:
        now = self._clock()
        if isinstance(answer, Failure):
            return host.failed(f"{answer.reason}: {answer.detail}", now)
        if answer.status in NONE_THERE:
            host.worked(now)
            self._missing[url] = now + MISSING_SECONDS
            return Failure(FORGED, f"{url.host} has no such certificate", 0.0)
        if answer.status != OK:
            return host.failed(f"status {answer.status}", now)
        try:
            certificate = read_certificate(answer.body)
        except ValueError as error:
            return host.failed(f"{url.path[1:]}: {error}", now)
        host.worked(now)
        self._kept[url] = certificate
        if len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return certificate

    def _too_many_are_missing(self, now: float) -> bool:
        """Forget those that are missing no more, and return whether there are too many."""
        if len(self._missing) + len(self._waiting) < MOST_MISSING:
            return False
        self._missing = {url: until for url, until in self._missing.items() if until > now}
        return len(self._missing) + len(self._waiting) >= MOST_MISSING


class _Host:
    """What a sender knows of a host of SNS. Its breaker stops nothing but requests for its certificates."""

    def __init__(self, name: str, host_session: HostSession) -> None:
        self._name = name
        self._host_session = host_session
        self._breaker = BucketBreaker()
        self._outage = Outage()
        self._last = ""

    def refusal(self, now: float) -> Failure | None:
        """Return the failure of a request that isn't made, because the last ones failed."""
        if self._breaker.admits(now, 0.0):
            return None
        return self._failure(f"not tried, since the last requests failed: {self._last}", now)

    def ask(self, path: str, done: Callable[[Answer | Failure], None]) -> None:
        """Request the certificate at a path."""
        self._host_session.session.send(self._host_session.head(path), b"", done)

    def worked(self, now: float) -> None:
        """Record an answer."""
        self._breaker.worked()
        if failures := self._outage.worked(now):
            log.info("certificates of SNS can be fetched again", host=self._name, failures=failures)

    def failed(self, reason: str, now: float) -> Failure:
        """Record a failure, log it if a line is due, and return it."""
        self._last = reason
        self._breaker.failed(now)
        if (due := self._outage.failed(reason, now, time.time())) is not None:
            log.warning(
                "cannot fetch a certificate of SNS; its messages are returned to their queue, and tried again later",
                host=self._name,
                reason=reason,
                advice=BY_REASON[NO_CERTIFICATE],
                **due,
            )
        return self._failure(reason, now)

    def _failure(self, detail: str, now: float) -> Failure:
        hide = self._breaker.seconds_to_hide(now, random.random())
        return Failure(NO_CERTIFICATE, f"{self._name}: {detail}", 0.0, hide)
