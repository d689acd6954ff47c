"""The [[queue]] tables: what each queue gets, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.cli.options import config_parameters
from courier.cli.queues import QueueConfig, read_configs, read_each
from courier.config.config import OPTIONS, Config
from courier.config.queues import MOST_QUEUES, OF_PROGRAM, RESERVED
from courier.errors import ConfigError

COMMON: Final = 'recipient-url = "http://127.0.0.1:1/in"\n'


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in OPTIONS.values():
        for name in option.variables:
            monkeypatch.delenv(name, raising=False)


def parsed(tmp_path: Path, content: str, *arguments: str, read: Any = read_configs) -> Any:
    path = tmp_path / "courier.toml"
    path.write_text(content)
    found: list[Any] = []

    @click.command("run", params=config_parameters())
    def parse(**values: Any) -> None:
        found.append(read(values))

    parse.main(["--config", str(path), *arguments], standalone_mode=False)
    return found[0]


def configs(tmp_path: Path, content: str, *arguments: str) -> dict[str, Config]:
    found: Sequence[QueueConfig] = parsed(tmp_path, content, *arguments)
    return {each.name: each.config for each in found}


def refusal(tmp_path: Path, content: str, *arguments: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parsed(tmp_path, content, *arguments)
    line = str(refused.value)
    assert "\n" not in line
    return line


def table(name: str, *lines: str) -> str:
    return "\n".join(["[[queue]]", f'name = "{name}"', f'queue = "q-{name}"', *lines, ""])


def test_each_queue_starts_from_what_stands_above_the_tables_and_has_what_its_table_says(tmp_path: Path) -> None:
    content = f"{COMMON}senders = 3\ntimeout = 9\n" + table("a", "senders = 5") + table("b", "timeout = '2s'")
    found = configs(tmp_path, content)
    assert list(found) == ["a", "b"]
    assert (found["a"].senders, found["a"].timeout_seconds, found["a"].queue) == (5, 9.0, "q-a")
    assert (found["b"].senders, found["b"].timeout_seconds, found["b"].queue) == (3, 2.0, "q-b")


def test_a_table_wins_over_the_command_line_which_wins_over_the_rest_of_the_file(tmp_path: Path) -> None:
    content = f"{COMMON}senders = 3\n" + table("a", "senders = 5") + table("b")
    found = configs(tmp_path, content, "--senders", "7")
    assert (found["a"].senders, found["b"].senders) == (5, 7)


def test_an_option_that_every_table_overrules_is_noted(tmp_path: Path) -> None:
    content = COMMON + table("a", "senders = 5") + table("b", "senders = 6")
    found: Sequence[QueueConfig] = parsed(tmp_path, content, "--senders", "7", "--consumers", "1")
    assert [note.name for each in found for note in each.notes] == ["--senders"]


def test_a_preset_and_the_defaults_that_follow_are_those_of_the_table(tmp_path: Path) -> None:
    content = COMMON + table("a", "preset = 'sqsd'", "connect-timeout = 3") + table("b", "timeout = 2")
    found = configs(tmp_path, content)
    assert (found["a"].timeout_seconds, found["a"].connect_timeout_seconds) == (299.0, 3.0)
    assert (found["b"].timeout_seconds, found["b"].connect_timeout_seconds) == (2.0, 2.0)


URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/mails"


def test_no_queue_shares_its_audit_directory_or_archive_with_another(tmp_path: Path) -> None:
    content = f"{COMMON}audit-path = '/srv/log'\naudit-archive = 's3://my-bucket/x/'\n" + table("a") + table("b")
    found = configs(tmp_path, content)
    assert [str(each.audit_path) for each in found.values()] == ["/srv/queues/a/log", "/srv/queues/b/log"]
    assert [each.audit_archive for each in found.values()] == ["s3://my-bucket/x/a", "s3://my-bucket/x/b"]


def test_the_queue_option_names_a_table_and_that_queue_is_as_it_is_among_the_others(tmp_path: Path) -> None:
    content = f"{COMMON}senders = 3\n" + table("a", "senders = 5") + table("b")
    together = configs(tmp_path, content)
    for name in ("a", "b"):
        assert configs(tmp_path, content, "--queue", name) == {"": together[name]}
    assert "give one of a, b" in refusal(tmp_path, content, "--queue", "q-a")


def test_the_variable_of_other_programs_names_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SQS_QUEUE", "theirs")
    found = configs(tmp_path, COMMON + table("a") + table("b"))
    assert [each.queue for each in found.values()] == ["q-a", "q-b"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (table("a", "sender = 3"), "courier.toml, queue a: there is no option 'sender'; did you mean 'senders'?"),
        (table("a", "senders = 0"), "courier.toml, queue a: senders: 0 must be a whole number from 1 to 256"),
        (table("a", "senders = [1]"), "courier.toml, queue a: senders must be a string or a number"),
        (table("a", "connect-timeout = 50"), "queue a"),
        ("[[queue]]\nname = 'a'\n", "courier.toml, queue a: queue is missing"),
        ("[[queue]]\nqueue = 'a'\n", "[[queue]] 1: name must be"),
        (table("Orders"), "[[queue]] 1: name must be"),
        (table("a") + table("a"), "two tables [[queue]] have the name a"),
        (table("a") + "[[queue]]\nname = 'b'\nqueue = 'q-a'\n", "queue b: queue q-a is that of queue a too"),
        (table("a", "audit-path = 'x'") + table("b", "audit-path = './x'"), "queue b: audit-path x is that of queue a"),
        (table("a", "audit-path = 'x'") + table("b", "audit-path = 'y/../x'"), "queue b: audit-path y/../x is that of"),
        (
            "".join(f"[[queue]]\nname = '{name}'\nqueue = '{URL}{end}'\n" for name, end in (("a", ""), ("b", "/"))),
            "queue b: queue is that of queue a too",
        ),
        ("[queue]\nname = 'a'\n", "write [[queue]], with two brackets"),
        ("queue = []\n", "there must be 1 to 64 tables"),
        ("".join(table(f"a{n}") for n in range(MOST_QUEUES + 1)), "there must be 1 to 64 tables"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_that_names_the_table(tmp_path: Path, content: str, reason: str) -> None:
    if "connect-timeout" in content:
        content += "timeout = 2\n"
    assert reason in refusal(tmp_path, COMMON + content)


@pytest.mark.parametrize("name", sorted(OF_PROGRAM))
def test_an_option_of_the_whole_program_is_refused_in_a_table(tmp_path: Path, name: str) -> None:
    key = OPTIONS[name].key
    assert f"queue a: {key} belongs to the whole program" in refusal(tmp_path, COMMON + table("a", f"{key} = 'x'"))


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_queue_is_not_named_as_a_process_is(tmp_path: Path, name: str) -> None:
    assert "no name of a process" in refusal(tmp_path, COMMON + table(name))


def test_no_error_quotes_a_value_that_may_be_a_secret(tmp_path: Path) -> None:
    for name, option in OPTIONS.items():
        if option.may_hold_secret and name not in OF_PROGRAM:
            for value in ('"pa\\nss-s3cret"', "{ a = 's3cret' }", "['s3cret', 1]"):
                line = f"{option.key} = {value}"
                with pytest.raises(ConfigError) as refused:
                    parsed(tmp_path, f"{COMMON}[[queue]]\nname = 'a'\n{line}\n")
                assert "s3cret" not in str(refused.value), option.key


def test_a_wrong_table_harms_only_its_own_queue_when_the_file_is_read_again(tmp_path: Path) -> None:
    content = COMMON + table("a", "senders = 0") + table("b") + "[[queue]]\nname = 'c'\nqueue = 'q-b'\n"
    found = parsed(tmp_path, content, read=lambda values: read_each(values, {}))
    assert "senders: 0 must be" in found["a"]
    assert isinstance(found["b"], Config)
    assert "is that of queue b too" in found["c"]


_VALUES: Final = {
    "senders": st.integers(1, 256),
    "consumers": st.integers(1, 256),
    "concurrency": st.integers(1, 4096),
    "visibility-timeout": st.integers(1, 43_200),
    "max-header-bytes": st.integers(4096, 65_536),
    "breaker-threshold": st.integers(0, 1000),
    "drain-timeout": st.integers(0, 86_400),
    "log-level": st.sampled_from(["debug", "info", "warning", "error"]),
    "audit": st.sampled_from(["files", "none"]),
}
_FIELDS: Final = {option.key: name for name, option in OPTIONS.items()}
_OPTIONS: Final = st.fixed_dictionaries({}, optional={k: v for k, v in _VALUES.items() if k in _FIELDS})


@given(
    above=_OPTIONS,
    tables=st.dictionaries(st.from_regex(r"q[a-z0-9]{0,9}", fullmatch=True), _OPTIONS, min_size=1, max_size=5),
)
def test_whatever_the_tables_say_each_queue_has_its_own_or_the_common_value_or_the_default(
    tmp_path_factory: pytest.TempPathFactory, above: dict[str, Any], tables: dict[str, dict[str, Any]]
) -> None:
    def lines(values: dict[str, Any]) -> list[str]:
        return [f"{key} = {value!r}" for key, value in values.items()]

    content = COMMON + "\n".join(lines(above)) + "\n" + "".join(table(n, *lines(v)) for n, v in tables.items())
    found = configs(tmp_path_factory.mktemp("conf"), content)
    assert list(found) == list(tables)
    for name, own in tables.items():
        for key, field in _FIELDS.items():
            if key in _VALUES:
                default = Config.__dataclass_fields__[field].default
                assert getattr(found[name], field) == own.get(key, above.get(key, default)), (name, key)
    assert len({each.audit_path for each in found.values()}) == len(tables)
