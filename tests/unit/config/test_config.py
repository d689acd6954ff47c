from __future__ import annotations

import re
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

import courier
from courier.config.config import DEFAULTS, OPTIONS, Config
from courier.config.loading import MOST_BYTES, read_file
from courier.config.presets import PRESETS
from courier.errors import ConfigError
from courier.request.header_templates import parse_header

RECIPIENT = "https://example.com:8443/hook/secret-token?key=secret"


def config(**values: Any) -> Config:
    return Config(**({"queue": "orders", "recipient_url": RECIPIENT} | values))


def refusal(**values: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        config(**values)
    line = str(refused.value)
    assert "\n" not in line
    return line


def test_queue_and_recipient_are_all_that_must_be_given() -> None:
    assert config().senders == 4
    assert config().recipient.host == "example.com"


@pytest.mark.parametrize(
    "queue",
    [
        "orders",
        "orders.fifo",
        "a" * 80,
        "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
        "http://localhost:9324/000000000000/orders.fifo",
    ],
)
def test_names_and_urls_of_queues_are_taken(queue: str) -> None:
    assert config(queue=queue).queue == queue


@pytest.mark.parametrize("queue", ["a b", "orders.fifos", "a" * 81, "arn:aws:sqs:eu-west-1:123456789012:orders", "x/y"])
def test_what_names_no_queue_is_refused(queue: str) -> None:
    assert refusal(queue=queue).startswith("--queue: ")


@pytest.mark.parametrize(
    "url", ["ftp://host/q", "http:///q", "http://host:0/q", "http://host:99999/q", "http://[::1/q"]
)
def test_what_is_no_url_is_refused_by_option(url: str) -> None:
    assert refusal(queue=url).startswith("--queue: ")
    assert refusal(endpoint_url=url).startswith("--endpoint-url: ")


def test_a_missing_queue_is_named_with_its_variables() -> None:
    line = refusal(queue="")
    assert line.startswith("--queue: ")
    assert "COURIER_QUEUE" in line
    assert "AWS_SQS_QUEUE" in line


def test_the_queue_types_without_sqs_need_no_queue_and_take_no_endpoint() -> None:
    assert config(queue="", queue_type="virtual").queue == ""
    assert config(queue="", queue_type="nop").queue == ""
    assert refusal(queue_type="nop", endpoint_url="http://127.0.0.1:1").startswith("--endpoint-url: ")


@pytest.mark.parametrize("queue_type", ["virtual", "nop"])
def test_a_failure_queue_needs_a_queue_that_is_looked_up(queue_type: str) -> None:
    line = refusal(queue="", queue_type=queue_type, failure_queue="failures")
    assert line == f"--failure-queue: must be left out with --queue-type {queue_type}, which has no other queue"
    assert config(failure_queue="failures").failure_queue == "failures"


@pytest.mark.parametrize("queue", ["a b", "http://host:0/q", "arn:aws:sqs:eu-west-1:123456789012:failures"])
def test_a_failure_queue_that_cannot_be_one_is_refused_by_its_own_option(queue: str) -> None:
    assert refusal(failure_queue=queue).startswith("--failure-queue: ")


def test_the_embedded_queue_is_served_where_the_endpoint_says() -> None:
    assert config(queue="", queue_type="virtual", endpoint_url="http://127.0.0.1:1").endpoint_url is not None
    assert refusal(queue_type="virtual", endpoint_url="9324").startswith("--endpoint-url: ")


def test_a_recipient_that_is_missing_or_no_url_is_refused() -> None:
    assert refusal(recipient_url="").startswith("--recipient-url: is missing")
    assert refusal(recipient_url="example.com").startswith("--recipient-url: ")
    line = refusal(recipient_url="http://user:hunter2@example.com/")
    assert line.startswith("--recipient-url: ")
    assert "hunter2" not in line


def test_connecting_may_not_take_longer_than_the_whole_attempt() -> None:
    assert "--timeout (2 s)" in refusal(connect_timeout_seconds=3.0, timeout_seconds=2.0)


def test_the_back_off_may_not_begin_beyond_its_cap() -> None:
    assert "--backoff-cap (1 s)" in refusal(backoff_base_seconds=2.0, backoff_cap_seconds=1.0)


def test_what_is_told_of_a_configuration_holds_no_secret() -> None:
    told = config(senders=8, audit_path=Path("/var/audit")).summary()
    assert told == {
        "queue": "orders",
        "recipient_url": "https://example.com:8443",
        "senders": 8,
        "audit_path": "/var/audit",
    }
    assert "secret-token" not in repr(config())
    assert "key=secret" not in repr(config())


def test_of_headers_only_the_names_are_told() -> None:
    given = config(header=(parse_header("X-Api-Key: hunter2"), parse_header("X-Queue: {queue}")))
    assert given.summary()["header"] == "X-Api-Key, X-Queue"
    assert "hunter2" not in repr(given)


@pytest.mark.parametrize("content_type", ["json", "", "a/b\nc", "text/plain; charset", "é/b"])
def test_what_is_no_content_type_is_refused(content_type: str) -> None:
    assert refusal(content_type=content_type).startswith("--content-type: ")


def test_headers_that_are_given_twice_or_belong_to_another_option_are_refused() -> None:
    one = parse_header("X-A: 1")
    assert "--header: X-A is given twice" in refusal(header=(one, one))
    assert "--receipt-header: x-a is given twice" in refusal(header=(one,), receipt_header="x-a")
    assert refusal(receipt_header="Host").startswith("--receipt-header: Host is set by the connection")
    assert "--header: X-A is given twice" in refusal(header=(one, one), receipt_header="X-R")
    assert [header.name for header in config(header=(one,), receipt_header="X-R").own_headers] == ["X-A", "X-R"]


@pytest.mark.parametrize("name", ["bad name", "X-R: {receipt}", "X-R:", "é"])
def test_a_receipt_header_is_a_name_and_nothing_else(name: str) -> None:
    assert refusal(receipt_header=name).startswith(f"--receipt-header: {name!r} must be the name of a header")


@pytest.mark.parametrize("statuses", ["", ",", " , "])
def test_something_must_be_a_success_and_nothing_need_be_a_rejection(statuses: str) -> None:
    assert refusal(success=statuses).startswith("--success: must hold at least one status")
    assert not config(reject=statuses).rules.reject


def test_one_authorization_a_key_with_its_certificate_and_tls_where_there_is_tls() -> None:
    path = Path("x")
    assert refusal(bearer_token_file=path, basic_auth_file=path).startswith("--basic-auth-file: ")
    assert refusal(client_key=path).startswith("--client-key: ")
    assert refusal(client_cert=path, recipient_url="http://example.com/").startswith("--client-cert: ")
    assert refusal(ca_file=path, recipient_url="http://example.com/").startswith("--ca-file: ")
    assert config(client_cert=path, client_key=path, ca_file=path).client_key == path


def test_every_preset_sets_options_to_values_that_they_take() -> None:
    for values in PRESETS.values():
        for name, value in values.items():
            assert OPTIONS[name].kind.parse(value) == value
            assert name != "preset"


def test_every_option_is_written_once_and_has_help_and_its_own_variable() -> None:
    flags = [option.flag for option in OPTIONS.values()]
    variables = [name for option in OPTIONS.values() for name in option.variables]
    assert len(set(flags)) == len(flags)
    assert len(set(variables)) == len(variables)
    assert all(option.help.endswith(".") for option in OPTIONS.values())
    assert OPTIONS["recipient_url"].variables == ("COURIER_RECIPIENT_URL",)
    assert OPTIONS["queue"].variables == ("COURIER_QUEUE", "AWS_SQS_QUEUE")


def test_every_default_is_a_value_that_its_option_takes() -> None:
    for name, option in OPTIONS.items():
        if DEFAULTS[name] not in (None, "", ()):
            assert option.kind.parse(DEFAULTS[name]) == DEFAULTS[name]
            assert option.kind.parse(str(DEFAULTS[name])) == DEFAULTS[name]


def test_the_file_gives_an_option_that_may_be_repeated_as_a_list(tmp_path: Path) -> None:
    path = write(tmp_path, 'header = ["X-A: {queue}", "X-B: 1"]\nwebhook-secret-file = []')
    assert read_file(path) == {"header": ["X-A: {queue}", "X-B: 1"], "webhook_secret_file": []}


def write(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "courier.toml"
    path.write_text(content)
    return path


def test_a_file_gives_values_by_field(tmp_path: Path) -> None:
    path = write(tmp_path, 'queue = "orders"\nvisibility-timeout = 60\nbackoff_cap = "5m"\n')
    assert read_file(path) == {"queue": "orders", "visibility_timeout_seconds": 60, "backoff_cap_seconds": "5m"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("sender = 3", "there is no option 'sender'; did you mean 'senders'?"),
        ("config = 'x'", "there is no option 'config'"),
        ("[audit]\npath = 'x'", "tables such as [audit] are not supported; write each option on its own line"),
        ("[delivery]\nsenders = 1", "tables such as [delivery] are not supported; "),
        ("success = [200, 204]", 'success must be a string like "200,204"'),
        ("retry = []", 'retry must be a string like "200-299"'),
        (f"senders = {'9' * 5000}", "is not TOML"),
        ("senders = true", "senders must be a string or a number"),
        ("header = 'X: y'", "header must be a list of strings"),
        ("header = [1]", "header must be a list of strings"),
        ("senders = [1]", "senders must be a string or a number"),
        ("senders =", "is not TOML"),
        (f"header = {'[' * 50_000}", "is not TOML"),
        ("#" * (MOST_BYTES + 1), "has more than 1,048,576 bytes"),
        ("senders = 1\nsenders = 2", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line_that_names_it(tmp_path: Path, content: str, reason: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ConfigError) as refused:
        read_file(path)
    assert reason in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.toml", tmp_path):
        with pytest.raises(ConfigError, match="--config: cannot read"):
            read_file(path)
    (tmp_path / "latin.toml").write_bytes(b"queue = '\xff'")
    with pytest.raises(ConfigError, match="is not TOML"):
        read_file(tmp_path / "latin.toml")


def test_nothing_else_of_ours_reads_the_environment() -> None:
    package = Path(courier.__file__).parent
    readers = {path.name for path in package.rglob("*.py") if re.search(r"environ\b|getenv", path.read_text())}
    # The latter only hands it on to a child.
    assert readers == {"loading.py", "chore_child.py"}


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the proxies of whoever runs the tests out of the environment."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_a_word_every_address_is_connected_to() -> None:
    assert config().guard is None
    guard = config(deny_private=True, allow_cidr=(IPv4Network("10.0.0.0/8"),)).guard
    assert guard is not None
    assert guard.denial("10.1.2.3") is None
    assert guard.denial("127.0.0.1") is not None


def test_an_exception_without_a_rule_is_refused() -> None:
    line = refusal(allow_cidr=(IPv4Network("10.0.0.0/8"),))
    assert line.startswith("--allow-cidr: ")
    assert "--deny-private" in line


def test_only_requests_goes_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, no_proxies: None
) -> None:
    assert config(transport="requests").proxy is None
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy.example:3128")
    assert config().proxy is None
    assert config(transport="requests").proxy == ("proxy.example", 3128)
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert config(transport="requests").proxy is None


def test_a_proxy_is_not_put_behind_the_guard(monkeypatch: pytest.MonkeyPatch, no_proxies: None) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy.example:3128")
    line = refusal(transport="requests", deny_private=True)
    assert line.startswith("--deny-private: ")
    assert "proxy.example:3128" in line
    assert "hunter2" not in line
    assert config(deny_private=True).guard is not None
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert config(transport="requests", deny_private=True).guard is not None


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:1080", "https://user:hunter2@proxy:3128", "http://", "http://a:b"]
)
def test_a_proxy_that_requests_cannot_go_through_here_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, no_proxies: None, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    line = refusal(transport="requests")
    assert line.startswith("--transport: requests: ")
    assert "http://proxy:3128" in line
    assert "hunter2" not in line


def test_a_file_may_say_yes_as_toml_does(tmp_path: Path) -> None:
    path = write(tmp_path, 'deny-private = true\nallow-cidr = ["10.0.0.0/8", "fd00::/8"]\n')
    assert read_file(path) == {"deny_private": True, "allow_cidr": ["10.0.0.0/8", "fd00::/8"]}


def test_the_page_acts_only_where_there_is_a_page() -> None:
    token = Path("token")
    assert refusal(page_control=token, page="none").startswith("--page-control: ")
    assert refusal(page_control=token, api="none").startswith("--page-control: ")
    assert config(page_control=token).page_control == token
