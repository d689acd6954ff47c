"""The options of SNS's signatures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from courier.config.body import UNWRAP, BodyConfig
from courier.config.checks import check_aws_url, refuse
from courier.config.option import option
from courier.config.units import TEXT, YES_NO, OptionType

_option = partial(option, "Bodies")


def _topic(value: object) -> str:
    # Imported here, because few programs name a topic.
    from courier.body.unwrap import topic

    text = str(value).strip()
    if topic(text) is None:
        raise ValueError(f"{value!r} must be the ARN of an SNS topic, like arn:aws:sns:eu-west-1:123456789012:orders")
    return text


@dataclass(frozen=True, kw_only=True)
class SnsConfig(BodyConfig):
    """The options of bodies, with those of SNS's signatures."""

    sns_verify: bool = _option(
        False,
        "--sns-verify",
        YES_NO,
        "Deliver only messages that SNS has signed.",
        "A message without a valid signature, or of a topic that --sns-topic doesn't name, is rejected.",
    )
    sns_topic: tuple[str, ...] = _option(
        (),
        "--sns-topic",
        OptionType("ARN", _topic),
        "Topic whose messages --sns-verify accepts; repeatable.",
        "--sns-verify needs it, because anybody can have a message signed by a topic of their own.",
        repeated=True,
    )
    sns_endpoint_url: str = _option(
        "",
        "--sns-endpoint-url",
        TEXT,
        "URL from which to fetch the certificates of SNS.",
        "The default is https://sns.<region>.amazonaws.com. A VPC endpoint may have another name.",
    )

    def _check_body(self) -> None:
        """Raise ConfigError if the values don't fit together."""
        super()._check_body()
        if self.sns_verify and UNWRAP not in self.body_steps:
            refuse("--sns-verify", "needs --body unwrap: the signature is part of SNS's envelope")
        if self.sns_verify and not self.sns_topic:
            refuse("--sns-verify", "needs --sns-topic: anybody can have a message signed by a topic of their own")
        if not self.sns_verify:
            for flag, given in (("--sns-topic", self.sns_topic), ("--sns-endpoint-url", self.sns_endpoint_url)):
                if given:
                    refuse(flag, "needs --sns-verify yes: without it, an envelope may claim any topic")
        if self.sns_endpoint_url:
            check_aws_url("--sns-endpoint-url", self.sns_endpoint_url, "https://sns.eu-west-1.amazonaws.com")
