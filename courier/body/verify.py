"""The step that unwraps only what SNS has signed for a topic that the operator names."""

from __future__ import annotations

from collections.abc import Callable, Collection

from courier.body.certificates import Certificates, Found, PendingCertificate
from courier.body.sns_signature import certificate_url, check
from courier.body.unwrap import Unwrap, unwrap
from courier.http.answer import Failure
from courier.recipient.content import FORGED
from courier.request.content import Content, Made, Pending


class Verify:
    """The step, in place of :class:`courier.body.unwrap.Unwrap`. A message without an envelope of SNS is refused."""

    def __init__(self, unwrap_step: Unwrap, topics: Collection[str], certificates: Certificates) -> None:
        self._unwrap = unwrap_step
        self._topics = frozenset(topics)
        self._certificates = certificates

    def __call__(self, content: Content, done: Callable[[Made], None]) -> Made | Pending:
        """Take the envelopes off, once the certificate is there and says that SNS signed the message."""
        unwrapped = unwrap(content.message)
        if isinstance(unwrapped, Failure):
            return unwrapped
        notification = unwrapped.notification
        if notification is None:
            return Failure(FORGED, "it has no envelope of SNS, or not one as SNS writes it", 0.0)
        url = certificate_url(notification, self._topics)
        if isinstance(url, Failure):
            return url

        def checked(found: Found) -> Made:
            failure = found if isinstance(found, Failure) else check(notification, found)
            return failure or self._unwrap.content(content, unwrapped)

        def arrived(found: Found) -> None:
            try:
                made = checked(found)
            except Exception as error:
                # A bug, which harms only this message.
                made = error
            done(made)

        found = self._certificates.get(url, arrived)
        return found if isinstance(found, PendingCertificate) else checked(found)
