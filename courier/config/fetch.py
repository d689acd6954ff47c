"""The options of bodies that lie in S3: from where they are fetched, and what becomes of the objects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Final

from courier.config.body import FETCH, BodyConfig
from courier.config.checks import check_aws_url, refuse
from courier.config.option import option
from courier.config.units import TEXT, YES_NO, OptionType, seconds, size
from courier.fetch.pointer import BucketPrefix

DEFAULT_FETCH_BYTES: Final = 100 * 1024**2
MOST_FETCH_BYTES: Final = 2 * 1024**3
"""The most bytes that the extended clients put into an object."""

DEFAULT_FETCH_SECONDS: Final = 300.0
LONGEST_FETCH_SECONDS: Final = 3600

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]|arn:aws[a-z-]*:s3[a-z-]*:[A-Za-z0-9:_-]{1,200}")
"""The name of a bucket, by the rules of old ones too, or the ARN of an access point, up to its name."""

_option = partial(option, "Bodies")


def _place(value: object) -> BucketPrefix:
    text = str(value).strip().removeprefix("s3://")
    bucket, _, prefix = text.partition("/")
    if bucket.startswith("arn:") and prefix:
        # The name of an access point follows the first slash of its ARN.
        name, _, prefix = prefix.partition("/")
        bucket = f"{bucket}/{name}"
    if not _NAME.fullmatch(bucket.partition("/")[0]):
        raise ValueError(f"{value!r} must be the name of a bucket, or BUCKET/PREFIX for a part of it")
    return BucketPrefix(bucket, prefix)


@dataclass(frozen=True, kw_only=True)
class FetchConfig(BodyConfig):
    """The options of bodies, with those of bodies that lie in S3."""

    fetch_bucket: tuple[BucketPrefix, ...] = _option(
        (),
        "--fetch-bucket",
        OptionType("BUCKET[/PREFIX]", _place),
        "Bucket from which fetch may get bodies; repeatable.",
        "fetch follows no pointer to another bucket, because anybody who may send to the queue can write a pointer "
        "to any object that Courier's role can read. With a prefix, it gets only keys that begin with it.",
        repeated=True,
    )
    fetch_max_bytes: int = _option(
        DEFAULT_FETCH_BYTES,
        "--fetch-max-bytes",
        size(1024, MOST_FETCH_BYTES),
        "Maximum size of a fetched object.",
        "A message that points to a larger one is rejected. A temporary file holds an object of more than 1 MiB.",
    )
    fetch_timeout_seconds: float = _option(
        DEFAULT_FETCH_SECONDS,
        "--fetch-timeout",
        seconds(1, LONGEST_FETCH_SECONDS),
        "Maximum time to fetch an object.",
        "--timeout begins only when the whole object is there.",
    )
    fetch_delete: bool = _option(
        False,
        "--fetch-delete",
        YES_NO,
        "Delete each object after its message.",
        "Leave it off if other messages may point to the same object, as with a topic that several queues subscribe "
        "to. A kill may leave an object without its message, but never a message without its object.",
    )
    fetch_endpoint_url: str | None = _option(
        None,
        "--fetch-endpoint-url",
        TEXT,
        "URL of an S3 API other than AWS's, for fetch.",
        "For example, that of an emulator or of another object store.",
        may_hold_secret=True,
    )

    def _check_body(self) -> None:
        """Raise ConfigError if the values don't fit together."""
        super()._check_body()
        if FETCH in self.body_steps:
            if not self.fetch_bucket:
                refuse("--fetch-bucket", f"is missing; name the buckets from which --body {FETCH} may get bodies")
        else:
            for flag, is_given in (
                ("--fetch-bucket", bool(self.fetch_bucket)),
                ("--fetch-max-bytes", self.fetch_max_bytes != DEFAULT_FETCH_BYTES),
                ("--fetch-timeout", self.fetch_timeout_seconds != DEFAULT_FETCH_SECONDS),
                ("--fetch-delete", self.fetch_delete),
                ("--fetch-endpoint-url", bool(self.fetch_endpoint_url)),
            ):
                if is_given:
                    refuse(flag, f"needs --body {FETCH}")
        if self.fetch_endpoint_url:
            check_aws_url("--fetch-endpoint-url", self.fetch_endpoint_url, "http://127.0.0.1:4566")
