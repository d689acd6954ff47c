"""What ``courier migrate`` writes: a file that Courier reads, whatever the settings of the other program hold."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from courier.cli import COMMANDS
from courier.cli.config import command as config_command
from courier.cli.migrate import command
from courier.config.loading import read_file
from courier.errors import ConfigError
from courier.migration import aws_sqsd, simple_sqsd
from courier.migration.env_file import read_variables
from courier.migration.translation import problem_of, whole_number, write_toml

QUEUE_URL: Final = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
SECRET: Final = "s3cr3t-of-a-producer"
ENV: Final = f"""\
# as for docker --env-file
SQSD_QUEUE_REGION=eu-west-1
export SQSD_QUEUE_URL="{QUEUE_URL}"
SQSD_HTTP_URL=http://127.0.0.1:8000/jobs
SQSD_HTTP_CONTENT_TYPE='application/json'
"""

VALUES: Final = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.sampled_from(["true", "0", "none", "{queue}", '"', "\\", "a\x7fb", "http://[", "Bearer x", "\u2028", "=", "#"]),
)
NAMES: Final = st.one_of(st.sampled_from([*aws_sqsd.OF_THE_DAEMON, "verbose", "debug", "https"]), st.text())


def migrated(text: str, program: str = "simple-sqsd") -> tuple[int, str, str]:
    result = CliRunner().invoke(command, ["--from", program, "-"], input=text.encode())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@given(st.dictionaries(st.sampled_from(sorted(simple_sqsd.VARIABLES)), VALUES))
def test_whatever_the_variables_hold_the_file_is_toml_of_options_with_values_that_courier_takes(
    tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]
) -> None:
    file = tmp_path_factory.getbasetemp() / "variables.toml"
    file.write_text(write_toml(simple_sqsd.translate(variables), "simple-sqsd"))
    read = read_file(file)
    assert set(tomllib.loads(file.read_text())) == {
        key for each in simple_sqsd.translate(variables) for key in each.options if f"\n{key} = " in file.read_text()
    }
    # Every value parses: what is wrong with the whole is a line, never an exception.
    assert isinstance(problem_of(simple_sqsd.translate(variables)), str)
    connections = whole_number(variables.get("SQSD_HTTP_MAX_CONNS") or "25")
    assert read.get("max_in_flight") == (
        25 if connections is None else connections if 0 < connections <= 1_000_000 else None
    )


@given(
    st.dictionaries(
        st.one_of(st.sampled_from([*aws_sqsd.OF_THE_DAEMON, "verbose", "debug", "https", "x"]), st.text()), VALUES
    )
)
def test_whatever_the_yaml_holds_the_file_is_toml_of_options(
    tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]
) -> None:
    named = {aws_sqsd.OF_THE_DAEMON.get(name, name): value for name, value in settings.items()}
    file = tmp_path_factory.getbasetemp() / "yaml.toml"
    file.write_text(write_toml(aws_sqsd.translate(named), "aws-sqsd"))
    read_file(file)
    assert isinstance(problem_of(aws_sqsd.translate(named)), str)


@pytest.mark.parametrize("variable", sorted(simple_sqsd.VARIABLES))
def test_each_variable_is_written_or_a_note_says_why_not(variable: str) -> None:
    _, text, _ = migrated(f"{ENV}{variable}=7\n")
    assert re.search(rf"^# {variable}\b(?!, which isn't set)", text, re.MULTILINE)


def test_the_whole_file_starts_courier(tmp_path: Path) -> None:
    code, text, errors = migrated(f"{ENV}SQSD_HTTP_TIMEOUT=3\nSQSD_HTTP_MAX_CONNS=50\nLOG_LEVEL=warn\n")
    assert (code, errors) == (0, "")
    file = tmp_path / "courier.toml"
    file.write_text(text)
    shown = CliRunner().invoke(config_command, ["--config", str(file), "--changed"])
    assert shown.exit_code == 0
    rows = {line.split()[0]: line.split()[1] for line in shown.stdout.splitlines()}
    expected = {"queue": QUEUE_URL, "timeout": "3", "max-in-flight": "50", "log-level": "warning"}
    assert expected.items() <= rows.items()


@pytest.mark.parametrize(
    "line",
    [
        f"SQSD_HMAC_SECRET_KEY={SECRET}\nSQSD_HTTP_HMAC_HEADER=X-Hmac",
        f"SQSD_HTTP_AUTHORIZATION_HEADER={SECRET}",
        f"SQSD_HTTP_AUTHORIZATION_HEADER=Bearer {SECRET}",
        f"SQSD_HTTP_AUTHORIZATION_HEADER=basic {SECRET}",
        f"SQSD_HTTP_AUTHORIZATION_HEADER={SECRET}\nSQSD_HTTP_AUTHORIZATION_HEADER_NAME=X-Key",
    ],
)
def test_a_secret_is_not_repeated(line: str) -> None:
    _, text, errors = migrated(f"{ENV}{line}\n")
    assert SECRET not in text + errors


@pytest.mark.parametrize(
    ("text", "program"),
    [
        (f"SQSD_QUEUE_URL=https://key:{SECRET}@sqs.eu-west-1.amazonaws.com/123456789012/orders", "simple-sqsd"),
        (f"{ENV}SQSD_AWS_ENDPOINT=http://key:{SECRET}@127.0.0.1:4566", "simple-sqsd"),
        (f"{ENV}SQSD_HTTP_URL=http://user:{SECRET}@127.0.0.1:8000/jobs", "simple-sqsd"),
        (f"{ENV}SQSD_HTTP_URL=//user:a@b:{SECRET}@127.0.0.1:8000/jobs", "simple-sqsd"),
        (f"queue_url: https://key:{SECRET}@sqs.eu-west-1.amazonaws.com/123456789012/orders", "aws-sqsd"),
    ],
)
def test_the_password_of_a_url_is_not_repeated(text: str, program: str) -> None:
    _, written, errors = migrated(f"{text}\n", program)
    assert SECRET not in written + errors
    assert "the user and password of the URL are left out" in " ".join(written.replace("\n# ", " ").split())
    # An @ of the path is none.
    _, written, _ = migrated(f"{ENV}SQSD_HTTP_URL=http://127.0.0.1:8000/users/@me\n")
    assert tomllib.loads(written)["recipient-url"] == "http://127.0.0.1:8000/users/@me"


def test_a_query_that_may_be_a_key_is_pointed_out() -> None:
    _, text, _ = migrated(f"{ENV}SQSD_HTTP_URL=https://example.com/hook?key={SECRET}\n")
    assert tomllib.loads(text)["recipient-url"].endswith(SECRET)
    assert "let only Courier read this file" in " ".join(text.replace("\n# ", " ").split())


def test_the_error_about_a_line_does_not_repeat_it() -> None:
    with pytest.raises(ConfigError) as raised:
        migrated(f"{ENV}{SECRET}\n")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "option"),
    [("Bearer abc", "bearer-token-file"), ("Basic YTpi", "basic-auth-file"), ("Digest x", None)],
)
def test_an_authorization_becomes_the_file_for_its_kind(value: str, option: str | None) -> None:
    _, text, _ = migrated(f"{ENV}SQSD_HTTP_AUTHORIZATION_HEADER={value}\n")
    found = tomllib.loads(text).keys() & {"bearer-token-file", "basic-auth-file", "header"}
    assert found == ({option} if option else set())


@pytest.mark.parametrize(
    "document",
    [
        {"option_settings": {aws_sqsd.NAMESPACE: {"HttpPath": "/w", "MaxRetries": 5, "VisibilityTimeout": 60}}},
        {
            "option_settings": [
                {"namespace": aws_sqsd.NAMESPACE, "option_name": "HttpPath", "value": "/w"},
                {"namespace": aws_sqsd.NAMESPACE, "option_name": "VisibilityTimeout", "value": "60"},
                {"namespace": "aws:other", "option_name": "MimeType", "value": "text/plain"},
            ]
        },
        {"http_path": "/w", "visibility_timeout": 60, "via_sns": False},
        {
            "ConfigurationSettings": [
                {
                    "OptionSettings": [
                        {"Namespace": aws_sqsd.NAMESPACE, "OptionName": "HttpPath", "Value": "/w"},
                        {"Namespace": aws_sqsd.NAMESPACE, "OptionName": "VisibilityTimeout", "Value": "60"},
                    ]
                }
            ]
        },
    ],
    ids=["by namespace", "as a list", "the daemon's file", "describe-configuration-settings"],
)
def test_the_settings_are_found_in_each_place_where_they_stand(document: Any) -> None:
    code, text, errors = migrated(yaml.safe_dump(document), "aws-sqsd")
    assert code == 0
    assert tomllib.loads(text) == {
        "preset": "sqsd",
        "recipient-url": "http://127.0.0.1/w",
        "visibility-timeout": 60,
        "max-in-flight": 50,
    }
    assert "--queue: is missing" in errors


def test_port_scheme_and_envelope_of_the_daemons_file_count() -> None:
    settings = "http_path: jobs\nhttp_port: 8443\nhttps: true\nvia_sns: true\nverbose: true\ndebug: true\n"
    _, text, _ = migrated(f"queue_url: {QUEUE_URL}\n{settings}", "aws-sqsd")
    expected = {"recipient-url": "https://127.0.0.1:8443/jobs", "body": "unwrap", "log-level": "debug"}
    assert expected.items() <= tomllib.loads(text).items()


@pytest.mark.parametrize(
    ("text", "program", "line"),
    [
        ("no equals sign\n", "simple-sqsd", "line 1 is not NAME=value"),
        ("PATH=/bin\n", "simple-sqsd", "no variable of simple-sqsd"),
        ("", "simple-sqsd", "no variable of simple-sqsd"),
        ("a: [", "aws-sqsd", "is not YAML at line"),
        ("a: 1", "aws-sqsd", "no setting of aws-sqsd"),
        ("[" * 500, "aws-sqsd", "is not YAML"),
        ("- 1", "aws-sqsd", "no setting of aws-sqsd"),
        ("option_settings:\n  aws:elasticbeanstalk:sqsd: 5", "aws-sqsd", "no setting of aws-sqsd"),
        ("#" * (1 << 20) + "#", "aws-sqsd", "more than 1,048,576 bytes"),
        ("ConfigurationSettings: &a\n- ConfigurationSettings: *a", "aws-sqsd", "no setting of aws-sqsd"),
        ("queue_url: q\nhttp_path: [/a, /b]", "aws-sqsd", "HttpPath is neither a text nor a number"),
        ("queue_url: &a [*a]", "aws-sqsd", "WorkerQueueURL is neither a text nor a number"),
        ("queue_url: 0x" + "f" * 4000, "aws-sqsd", "WorkerQueueURL is neither a text nor a number"),
        ("queue_url: q\nhttp_port: 80@example.com", "aws-sqsd", "http_port is no port"),
    ],
)
def test_a_file_of_something_else_is_refused_in_one_line(text: str, program: str, line: str) -> None:
    with pytest.raises(Exception, match=re.escape(line)) as raised:
        migrated(text, program)
    assert getattr(raised.value, "exit_code", None) == 2
    assert "\n" not in str(raised.value)


def test_what_is_not_utf_8_is_refused() -> None:
    result = CliRunner().invoke(command, ["--from", "aws-sqsd", "-"], input=b"\xff\xfe")
    assert "is not UTF-8" in str(result.exception)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("export A=b", "b"),
        ("A='b c'", "b c"),
        ('A="b \\"c\\"" # note', 'b "c"'),
        ("A=b#c", "b#c"),
        ("A='b", "'b"),
        ("A=", ""),
        ("A = b", "b"),
    ],
)
def test_a_line_of_variables_is_read_as_shells_and_docker_do(line: str, value: str) -> None:
    assert read_variables(f"\n# comment\n{line}\n", "file") == {"A": value}


def test_only_line_feeds_end_the_lines_of_a_file_of_variables() -> None:
    # What else Unicode takes for the end of a line may stand in a password.
    assert read_variables("A=b\u2028c\x85d\x0be\r\nF=g\r\n", "file") == {"A": "b\u2028c\x85d\x0be", "F": "g"}


def test_migrate_is_a_command() -> None:
    assert "migrate" in COMMANDS
