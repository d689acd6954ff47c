"""The settings of aws-sqsd, Elastic Beanstalk's worker daemon, as options of Courier.

They stand in three places: in the ``option_settings`` of a ``.config`` file or of ``describe-configuration-settings``,
under ``aws:elasticbeanstalk:sqsd``, and with names of their own in the daemon's file, ``/etc/aws-sqsd.d/default.yaml``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from courier.errors import ConfigError
from courier.migration.translation import Translation, Value, whole_number

PROGRAM: Final = "aws-sqsd"
NAMESPACE: Final = "aws:elasticbeanstalk:sqsd"

OF_THE_DAEMON: Final = {
    "queue_url": "WorkerQueueURL",
    "http_path": "HttpPath",
    "mime_type": "MimeType",
    "http_connections": "HttpConnections",
    "connect_timeout": "ConnectTimeout",
    "inactivity_timeout": "InactivityTimeout",
    "visibility_timeout": "VisibilityTimeout",
    "error_visibility_timeout": "ErrorVisibilityTimeout",
    "retention_period": "RetentionPeriod",
    "max_retries": "MaxRetries",
}
"""The settings by their names in the daemon's own file."""

_NUMBERS: Final = {
    "HttpConnections": "max-in-flight",
    "ConnectTimeout": "connect-timeout",
    "InactivityTimeout": "timeout",
    "VisibilityTimeout": "visibility-timeout",
    "ErrorVisibilityTimeout": "retry-delay",
}

_NOTES: Final = {
    "HttpPath": "see recipient-url",
    "http_port": "see recipient-url",
    "https": "see recipient-url",
    "RetentionPeriod": "no equivalent; set the queue's MessageRetentionPeriod. Courier deletes no message for its age",
    "environment_name": "no equivalent, and not needed",
    "dynamodb_ssl": "no equivalent; Courier uses no DynamoDB",
    "sqs_ssl": "no equivalent; calls to SQS are encrypted",
    "sqs_verify_checksums": "no equivalent; Courier always verifies them",
    "keepalive": "no equivalent; Courier always keeps connections",
    "threads": "no equivalent; senders and concurrency say how many requests are under way",
    "quiet": "no equivalent; set log-level",
    "healthcheck": "no equivalent; while the application doesn't answer, Courier stops receiving and probes it with "
    "one message at a time",
}

_YES: Final = ("true", "yes", "on", "1")
DEFAULT_CONNECTIONS: Final = 50
LOCAL_PORT: Final = 80


def settings_in(document: Any, name: str) -> dict[str, str]:
    """Return the daemon's settings in a parsed YAML or JSON document. Raise ConfigError if it has none."""
    found: dict[str, str] = {}
    for setting, value in _settings(document):
        text = _text(value)
        if text is None:
            raise ConfigError(f"{name}: {setting} is neither a text nor a number; give it one value")
        found[setting] = text
    if not found:
        raise ConfigError(
            f"{name}: holds no setting of aws-sqsd; give a file with option_settings of {NAMESPACE}, "
            "or /etc/aws-sqsd.d/default.yaml"
        )
    if (port := found.get("http_port")) and not 0 < (whole_number(port) or 0) < 1 << 16:
        raise ConfigError(f"{name}: http_port is no port; give a number from 1 to 65535")
    return found


def _settings(document: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(document, dict):
        return
    configurations = document.get("ConfigurationSettings")
    for each in configurations if isinstance(configurations, list) else [document]:
        yield from _options(each)


def _options(document: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(document, dict):
        return
    options = _value_of(document, "option_settings", "OptionSettings")
    if isinstance(options, list):
        for each in options:
            if isinstance(each, dict) and _value_of(each, "namespace", "Namespace") == NAMESPACE:
                name = _value_of(each, "option_name", "OptionName")
                if isinstance(name, str):
                    yield name, _value_of(each, "value", "Value")
    elif isinstance(options, dict):
        of_daemon = options.get(NAMESPACE)
        for name, value in of_daemon.items() if isinstance(of_daemon, dict) else ():
            yield str(name), value
    elif OF_THE_DAEMON.keys() & document.keys():
        for name, value in document.items():
            yield OF_THE_DAEMON.get(str(name), str(name)), value


def _value_of(mapping: Mapping[str, Any], *names: str) -> Any:
    return next((mapping[name] for name in names if name in mapping), None)


def _text(value: Any) -> str | None:
    """Return a value as a text; ``None`` if it is a collection, maybe an endless one, or has too many digits."""
    if value is None:
        return ""
    if isinstance(value, dict | list | set | bytes):
        return None
    try:
        return str(value).lower() if isinstance(value, bool) else str(value)
    except ValueError:
        return None


def translate(settings: Mapping[str, str]) -> Iterator[Translation]:
    """Yield what the settings become, then what the daemon does by default and Courier does in another way."""
    yield Translation("The defaults of aws-sqsd", {"preset": "sqsd"})
    yield Translation(
        "HttpPath", {"recipient-url": _url(settings)}, "the daemon calls the application on its own machine"
    )
    if not settings.get("WorkerQueueURL"):
        yield Translation(
            "WorkerQueueURL, which isn't set",
            {},
            "Elastic Beanstalk made a queue for the environment: set queue to its URL",
        )
    for name, value in settings.items():
        if name != "HttpPath" and value:
            yield Translation(name, *_translated(name, value, settings))
    if not settings.get("HttpConnections"):
        note = "the default of aws-sqsd"
        yield Translation("HttpConnections, which isn't set", {"max-in-flight": DEFAULT_CONNECTIONS}, note)
    yield Translation(
        "cron.yaml", {}, 'if the application has one, add cron = "cron.yaml"; its urls are then allowed as paths'
    )


def _url(settings: Mapping[str, str]) -> str:
    scheme = "https" if settings.get("https") in _YES else "http"
    port = settings.get("http_port") or str(LOCAL_PORT)
    path = settings.get("HttpPath") or "/"
    place = "127.0.0.1" if port == str(LOCAL_PORT) else f"127.0.0.1:{port}"
    return f"{scheme}://{place}{path if path.startswith('/') else f'/{path}'}"


def _translated(name: str, value: str, settings: Mapping[str, str]) -> tuple[dict[str, Value], str]:
    if name in _NUMBERS:
        found = whole_number(value)
        return ({}, "not a whole number; left out") if found is None else ({_NUMBERS[name]: found}, _note(name))
    if name == "WorkerQueueURL":
        return {"queue": value}, ""
    if name == "MimeType":
        return {"content-type": value}, ""
    if name == "MaxRetries":
        return {}, (
            f"the queue's redrive policy decides: set its maxReceiveCount to {value}; or set failure-queue and "
            f"max-receives = {value}, which keeps the reason with the message"
        )
    if name in ("verbose", "debug"):
        return ({"log-level": "debug"}, "") if value in _YES else ({}, "")
    if name == "via_sns":
        return ({"body": "unwrap"}, "") if value in _YES else ({}, "")
    return {}, _NOTES.get(name, "no setting of aws-sqsd that Courier knows; it is left out")


def _note(name: str) -> str:
    if name == "VisibilityTimeout":
        return "Courier extends it while a delivery is under way, so that it can be much shorter"
    return ""
