"""Between the bytes of the wire and the objects of requests."""

from __future__ import annotations

import time

import requests
from requests.structures import CaseInsensitiveDict

from courier.http.answer import Answer
from courier.http.requests_attempt import Attempt
from courier.http.target import Target


def prepare(target: Target, head: bytes, body: bytes) -> requests.PreparedRequest:
    """Make the request of a head that :class:`courier.http.head.HeadTemplate` rendered, and its body.

    requests knows each header once: those of one name become a list, which means the same (RFC 9110, section 5.3).
    """
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    request = requests.PreparedRequest()
    request.method = method
    request.url = f"{target.scheme}://{target.host_header}{path}"
    request.headers = headers
    request.body = body
    return request


def read_answer(response: requests.Response, attempt: Attempt, cap: int, duration: float) -> Answer:
    """Take the answer out of a response, and give its connection back to the pool. Raises what urllib3 raises."""
    raw = response.raw
    # Not response.content: it would unpack what the server packed, however large that is.
    body = raw.read(cap + 1, decode_content=False)
    truncated = attempt.truncated or len(body) > cap
    if truncated:
        raw.close()
    raw.release_conn()
    return Answer(
        response.status_code,
        [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in raw.headers.items()],
        body[:cap],
        truncated,
        attempt.written,
        attempt.first_byte_at or time.clock_gettime(time.CLOCK_BOOTTIME),
        duration,
    )
