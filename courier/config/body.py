"""The options that say how the body to send is made from a message: which steps, and which codings are undone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from courier.body.names import CODINGS, MOST_CODINGS
from courier.config.checks import refuse
from courier.config.option import option
from courier.config.units import TEXT, OptionType, or_off, size

UNWRAP = "unwrap"
FETCH = "fetch"
DECODE = "decode"
STEPS = (UNWRAP, FETCH, DECODE)
"""The steps that make the body to send from a message, in their order."""

BY_ATTRIBUTE = "attribute"
CONTENT_ENCODING = "Content-Encoding"
DEFAULT_BODY_BYTES = 16 * 1024**2
MOST_BODY_BYTES = 1024**3

_option = partial(option, "Bodies")


def _words(value: object) -> list[str]:
    return [word.strip().lower() for word in str(value).split(",")]


def _steps(value: object) -> str:
    words = _words(value)
    if words == [""]:
        return ""
    if not set(words) <= set(STEPS) or words != [step for step in STEPS if step in words]:
        raise ValueError(f"{value!r} must be {','.join(STEPS)}, or some of these in this order")
    return ",".join(words)


def _codings(value: object) -> str:
    words = _words(value)
    if words != [BY_ATTRIBUTE] and not (set(words) <= set(CODINGS) and len(words) <= MOST_CODINGS):
        known = ", ".join(CODINGS)
        raise ValueError(f"{value!r} must be {BY_ATTRIBUTE}, or up to {MOST_CODINGS} of {known}, like base64,gzip")
    return ",".join(words)


@dataclass(frozen=True, kw_only=True)
class BodyConfig:
    """The options of the steps, and of decoding."""

    body: str = _option(
        "",
        "--body",
        or_off(OptionType(f"{','.join(STEPS)}", _steps), ""),
        "Steps that make the body to send from a message.",
        "unwrap: remove the envelopes of SNS and EventBridge. fetch: get the body from S3, where an extended client "
        "put it. decode: undo base64, gzip and zstd.",
    )
    decode: str = _option(
        BY_ATTRIBUTE,
        "--decode",
        OptionType(f"{BY_ATTRIBUTE}|CODINGS", _codings),
        "Codings that decode undoes, in this order.",
        "attribute: those that --decode-attribute names in each message. base64,gzip, for example: these in every "
        "message.",
    )
    decode_attribute: str = _option(
        CONTENT_ENCODING,
        "--decode-attribute",
        TEXT,
        "Attribute that names the codings.",
        "It names them in the order in which they were applied, as HTTP's Content-Encoding does.",
    )
    body_max_bytes: int = _option(
        DEFAULT_BODY_BYTES,
        "--body-max-bytes",
        size(1024, MOST_BODY_BYTES),
        "Maximum size of a decoded body.",
        "A message whose body would be larger is rejected.",
    )

    def _check_body(self) -> None:
        """Raise ConfigError if the values don't fit together."""
        if DECODE not in self.body_steps:
            defaults = (
                ("--decode", self.decode, BY_ATTRIBUTE),
                ("--decode-attribute", self.decode_attribute, CONTENT_ENCODING),
            )
            for flag, value, default in defaults:
                if value != default:
                    refuse(flag, f"needs --body {DECODE}")
        if not self.decode_attribute:
            refuse("--decode-attribute", f"must be the name of a message attribute, like {CONTENT_ENCODING}")

    @property
    def body_steps(self) -> tuple[str, ...]:
        """The steps of --body."""
        return tuple(filter(None, self.body.split(",")))

    @property
    def codings(self) -> tuple[str, ...]:
        """The codings of --decode; none if each message names its own."""
        return () if self.decode == BY_ATTRIBUTE else tuple(self.decode.split(","))
