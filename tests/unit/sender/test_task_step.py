"""A periodic task on its way to the application: as aws-sqsd delivers it."""

from __future__ import annotations

import pytest

from courier.message import Attribute, Message
from courier.request.content import Content
from courier.request.tasks import BODY, instant, iso_time
from courier.sender.task_step import task_step


def message(body: bytes = BODY, **attributes: str) -> Message:
    named = tuple(Attribute(f"beanstalk.sqsd.{name}", "String", value) for name, value in attributes.items())
    return Message("m1", "r", 9e9, 0.0, 1, 0, 0, "", "", "", named, body)


def made(sent: Message, own: tuple[str, ...] = (), *, describes: bool = True) -> Content:
    content = task_step(own, describes=describes)(Content(sent, b"X-Before: 1\r\n"), lambda _: None)
    assert isinstance(content, Content)
    return content


TASK = message(path="/backup", task_name="backup-job", scheduled_time="2014-10-21 11:01:00 UTC")


def test_a_task_has_an_empty_body_and_the_headers_of_aws_sqsd() -> None:
    content = made(TASK)
    assert content.message == TASK._replace(body=b"")
    assert content.headers.startswith(b"X-Before: 1\r\n")
    assert sorted(content.headers.split(b"\r\n")[1:-1]) == [
        b"X-Aws-Sqsd-Path: /backup",
        b"X-Aws-Sqsd-Scheduled-At: 2014-10-21T11:01:00Z",
        b"X-Aws-Sqsd-Taskname: backup-job",
    ]


def test_other_header_sets_have_none_of_them_and_the_operator_s_own_stay() -> None:
    assert made(TASK, describes=False).headers == b"X-Before: 1\r\n"
    assert b"Taskname" not in made(TASK, ("x-aws-sqsd-TASKNAME",)).headers


@pytest.mark.parametrize("body", [b"order 7", b"", BODY + b"s"])
def test_what_a_producer_wrote_itself_is_sent(body: bytes) -> None:
    assert made(TASK._replace(body=body)).message.body == body


def test_a_message_that_is_no_task_stays_as_it_is() -> None:
    assert made(message()) == Content(message(), b"X-Before: 1\r\n")
    assert made(message(path="/x")).message.body == BODY


@pytest.mark.parametrize("text", ["", "soon", "2014-10-21", "2014-10-21 11:01:00 CET", "2014-10-21 11:01:00 UTC\r\n"])
def test_a_time_that_is_none_is_left_out_and_counted(text: str) -> None:
    content = made(message(scheduled_time=text, task_name="a\r\nHost: evil"))
    assert content.headers == b"X-Before: 1\r\n"
    assert content.dropped == 2


@pytest.mark.parametrize("text", ["2014-10-21 11:01:00 UTC", "2014-10-21T11:01:00Z", "2014-10-21 11:01:00 +0000"])
def test_the_time_is_read_as_ruby_and_others_write_it(text: str) -> None:
    assert iso_time(text) == "2014-10-21T11:01:00Z"


def test_what_the_scheduler_writes_is_read() -> None:
    assert iso_time(instant(23_564_821)) == "2014-10-21T11:01:00Z"
