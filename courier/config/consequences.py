"""Consequences of the options that the user set: adapted defaults, and settings without effect.

``given`` are the options set by flag, variable or file, by the names of Config's fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from courier.config.body import DECODE
from courier.config.config import OPTIONS, Config
from courier.config.loading import WEBHOOK_SECRET_VARIABLE
from courier.config.option import VARIABLE_PREFIX
from courier.http.url import Url
from courier.recipient.policy import parse_statuses
from courier.request.head import OFF
from courier.request.header_sets import CLOUDEVENTS

ORDERED: Final = (
    ("connect_timeout_seconds", "timeout_seconds"),
    ("breaker_cool_down_seconds", "breaker_longest_cool_down_seconds"),
    ("backoff_base_seconds", "backoff_cap_seconds"),
)
"""Pairs of options; the first must not exceed the second."""

OTHER_VARIABLES: Final = frozenset({f"{VARIABLE_PREFIX}CONFIG", WEBHOOK_SECRET_VARIABLE})

# Variables of the other commands, and those that Kubernetes sets in each pod for a service named "courier".
_NOT_OURS: Final = re.compile(rf"{VARIABLE_PREFIX}(HARNESS_|VIRTUAL_|DEMO_|SERVICE_|PORT$|PORT_)")


class OptionNote(NamedTuple):
    """A setting without effect; ``reason`` says why, and what to do about it."""

    name: str
    reason: str


def adapt_defaults(values: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Return the defaults adapted to the given options: ``--timeout 2`` alone also means a connect timeout of 2 s.

    If both options of a pair were given and contradict each other, neither changes, and Config raises an error.
    """
    changed: dict[str, Any] = {}
    for lesser, greater in ORDERED:
        if values[lesser] <= values[greater] or (lesser in given) == (greater in given):
            continue
        if lesser in given:
            changed[greater] = values[lesser]
        else:
            changed[lesser] = values[greater]
    return changed


def options_without_effect(config: Config, given: Collection[str], environment: Mapping[str, str]) -> list[OptionNote]:
    """Return the given settings that have no effect with these options, including proxy variables."""
    notes = [
        OptionNote(OPTIONS[name].flag, reason)
        for does_nothing, names, reason in _INEFFECTIVE
        if does_nothing(config)
        for name in names
        if name in given
    ]
    if "#" in config.recipient_url:
        reason = "HTTP never sends the part from # on; remove it, or write # as %23"
        notes.append(OptionNote("--recipient-url", reason))
    notes += _unread_variables(config, environment)
    return notes


def unknown_variables(environment: Iterable[str]) -> list[OptionNote]:
    """Return the COURIER_ variables that belong to no option, each with the closest option."""
    known = [option.variables[0] for option in OPTIONS.values()]
    options = [name.removeprefix(VARIABLE_PREFIX) for name in known]
    notes = []
    for name in sorted(environment):
        if not name.startswith(VARIABLE_PREFIX) or name in known or name in OTHER_VARIABLES or _NOT_OURS.match(name):
            continue
        # Compared without the prefix, which would make all names similar.
        near = get_close_matches(name.removeprefix(VARIABLE_PREFIX), options, n=1)
        hint = f"did you mean {VARIABLE_PREFIX}{near[0]}?" if near else "courier --help lists the options; unset it"
        notes.append(OptionNote(name, f"there is no such option; {hint}"))
    return notes


def _unread_variables(config: Config, environment: Mapping[str, str]) -> Iterator[OptionNote]:
    if config.transport != "native":
        return
    scheme = config.recipient.scheme
    if any(name.lower().endswith("_proxy") for name in environment) and (name := _proxy_variable(config.recipient)):
        shown = next((each for each in (name.upper(), name) if environment.get(each)), name)
        reason = "the native transport connects directly; use --transport requests, or add the recipient to NO_PROXY"
        yield OptionNote(shown, reason)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if environment.get(name) and scheme == "https" and config.ca_file is None:
            yield OptionNote(name, "only --transport requests reads it; name the file in --ca-file")


def _proxy_variable(recipient: Url) -> str:
    """Return the variable, in lower case, whose proxy is meant for the recipient; empty if there is none."""
    # Imported here: urllib.request takes as long to import as all options together, and few machines have a proxy.
    from urllib.request import getproxies_environment, proxy_bypass

    scheme, proxies = recipient.scheme, getproxies_environment()
    if not (scheme in proxies or "all" in proxies) or proxy_bypass(recipient.host):
        return ""
    return f"{scheme}_proxy" if scheme in proxies else "all_proxy"


def _receives_nothing(config: Config) -> bool:
    return config.queue_type == "nop"


def _never_opens(config: Config) -> bool:
    return not (config.breaker_threshold or config.reject_share)


def _is_covered(statuses: str, *others: str) -> bool:
    """Return whether other lists, which count first, have all statuses of a list. An empty list is empty on purpose."""
    those = set(parse_statuses(statuses))
    return bool(those) and those <= {status for other in others for status in parse_statuses(other)}


_INEFFECTIVE: Final[tuple[tuple[Callable[[Config], bool], tuple[str, ...], str], ...]] = (
    (
        lambda config: config.audit == "none",
        ("audit_policy", "audit_format", "audit_body", "audit_events"),
        "--audit is none, so nothing is recorded; use --audit files or firehose",
    ),
    (
        lambda config: config.audit != "files",
        (
            "audit_path",
            "audit_max_bytes",
            "audit_max_age_seconds",
            "audit_compress",
            "audit_keep_seconds",
            "audit_keep_bytes",
            "audit_sign_key",
            "audit_archive",
        ),
        "only --audit files writes files",
    ),
    (
        lambda config: config.audit != "files" and config.dedupe_window > 0,
        ("dedupe_window",),
        "only --audit files knows which messages are recorded, so none is recognised that comes again",
    ),
    (
        lambda config: config.audit == "files" and config.audit_policy != "required" and config.dedupe_window > 0,
        ("dedupe_window",),
        "--audit-policy best-effort also deletes what isn't recorded, so no message is recognised that comes again",
    ),
    (
        lambda config: config.audit_archive is None or config.audit != "files",
        ("audit_archive_endpoint_url",),
        "without --audit files and --audit-archive, nothing is uploaded to S3",
    ),
    (
        lambda config: config.audit != "firehose",
        ("firehose_stream", "firehose_endpoint_url"),
        "records go to a stream only with --audit firehose",
    ),
    (
        lambda config: not config.reject_share,
        ("reject_window_seconds",),
        "--reject-share is off, so rejections aren't counted",
    ),
    (
        _never_opens,
        ("breaker_cool_down_seconds", "breaker_longest_cool_down_seconds"),
        "--breaker-threshold and --reject-share are both off, so the circuit breaker never opens",
    ),
    (
        lambda config: _is_covered(config.retry, config.success),
        ("retry",),
        "all of its statuses are on --success too, which counts first; remove them from one of the lists",
    ),
    (
        lambda config: _is_covered(config.reject, config.success, config.retry),
        ("reject",),
        "all of its statuses are on --success or --retry too, which count first; remove them from those",
    ),
    (
        lambda config: config.retry_delay_seconds is not None,
        ("backoff_base_seconds", "backoff_cap_seconds"),
        "--retry-delay sets the delay of every retry",
    ),
    (
        _receives_nothing,
        (
            "queue",
            "batch_size",
            "wait_time_seconds",
            "poll_interval_seconds",
            "visibility_timeout_seconds",
            "dedupe_window",
        ),
        "--queue-type nop receives nothing; use remote or virtual",
    ),
    (
        lambda config: config.queue_type != "remote" and config.audit != "firehose" and config.audit_archive is None,
        ("region",),
        "neither the queue nor the audit log is in AWS",
    ),
    (
        lambda config: config.queue_type != "remote" and config.role_arn is not None,
        ("role_arn",),
        "only calls to SQS are made with the role, and the queue isn't in SQS",
    ),
    (
        lambda config: config.role_arn is None,
        ("role_session_name",),
        "without --role-arn no role is assumed",
    ),
    (
        lambda config: config.adaptive and config.concurrency == 1,
        ("adaptive",),
        "--concurrency is 1, which leaves nothing to adapt; raise it",
    ),
    (
        lambda config: (
            config.max_in_flight is not None
            and config.max_in_flight >= config.senders * config.concurrency
            and not config.is_batched
        ),
        ("max_in_flight",),
        "--senders x --concurrency is no more than that, so it limits nothing",
    ),
    (
        lambda config: config.api_address is None,
        ("api_host",),
        "--api is none, so nothing is served",
    ),
    (
        lambda config: not config.traces,
        ("traces_sample",),
        "without --traces, nothing is traced",
    ),
    (
        lambda config: DECODE not in config.body_steps,
        ("body_max_bytes",),
        "without --body decode no body is decoded",
    ),
    (
        lambda config: config.is_batched,
        (
            "headers",
            "attribute_headers",
            "attribute_allow",
            "content_type_attribute",
            "receipt_header",
            "reject",
        ),
        "with --format lambda a request holds several messages; each is whole in the event, and none is rejected",
    ),
    (
        lambda config: not config.is_batched,
        ("batch_wait_seconds", "batch_item_failures"),
        "only --format lambda sends batches",
    ),
    (
        lambda config: config.headers in (OFF, CLOUDEVENTS) and config.attribute_headers == "prefixed",
        ("attribute_headers",),
        "--headers none and cloudevents have no prefix for attributes; use --attribute-headers bare",
    ),
    (
        lambda config: config.headers != CLOUDEVENTS,
        ("cloudevents_source", "cloudevents_type", "cloudevents_subject"),
        "only --headers cloudevents makes messages events",
    ),
)
