"""Combinations of options, drawn by a seed from what is legal, with what befalls a run: an outage, a poison, a kill.

``DRAWN`` says how each option is drawn, ``LEFT`` why the others aren't. Where the legal range is bounded further, it is
so that a run ends within seconds by its own meaning.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from scripts.faults.draw import Draw, one_of, seldom

MESSAGES: Final = 40
LARGE_BYTES: Final = 150_000
"""A body that travels in a descriptor of its own."""

DRAWN: Final[Mapping[str, Draw]] = {
    # Each of them is a process on a machine of two cores.
    "--consumers": one_of(1, 2, 3),
    "--senders": one_of(1, 2, 3, 4),
    "--concurrency": one_of(1, 2, 5, 16, 64),
    "--batch-size": one_of(1, 2, 3, 7, 10),
    # Released messages stay hidden until the polls end that were open, and a drain waits for polls as well.
    "--wait-time": one_of(0, 1, 2),
    # 40 messages by one consumer with --batch-size 1 take 40 of them.
    "--poll-interval": one_of(0, 0, 0.05, 0.1),
    # What a killed worker held comes again after it.
    "--visibility-timeout": one_of(2, 3, 4, 5),
    "--hang-timeout": one_of(1, 2, 5, 30),
    "--breaker-threshold": one_of(0, 1, 2, 3, 10, 100, None),
    # After it the first probe comes; a day would be legal.
    "--breaker-cool-down": one_of(0.1, 0.3, 1),
    "--breaker-longest-cool-down": one_of(1, 2),
    "--max-in-flight": seldom(1, 2, 3, 5, 100),
    # One an hour would be legal; 40 messages and their retries have to get through.
    "--rate-limit": seldom(20, 50, 1000),
    "--adaptive": seldom(True),
    "--max-receives": seldom(1, 2, 5),
    "--reject-share": one_of(0, 0.1, 0.5, 1, None),
    "--reject-window": one_of(1, 5, 60),
    "--retry-delay": seldom(0, 0.5, 1),
    # SQS counts in whole seconds, so that each retry costs one at least.
    "--backoff-base": one_of(0.001, 0.1, 1),
    "--backoff-cap": one_of(1, 2),
    "--success": seldom("200", "200-299,404"),
    "--retry": seldom("500-599", "408,429"),
    "--reject": seldom("400-499", "400"),
    "--audit": one_of("files", "files", "none"),
    "--audit-format": one_of("json", "text", None),
    "--audit-body": one_of("full", "sha256", "none", None),
    "--audit-max-bytes": one_of(4096, 100_000, None),
    "--audit-max-age": one_of(1, 3600, None),
    "--audit-policy": one_of("required", "best-effort"),
    "--audit-events": one_of("delivered", "all", None),
    "--audit-compress": one_of("zstd", "gzip", "none", None),
    "--dedupe-window": one_of(0, 1, 7, 100_000, None),
    "--transport": one_of("native", "native", "requests"),
    "--headers": one_of("sqsd", "courier", "cloudevents", "none"),
    "--cloudevents-source": seldom("urn:shop:{queue}"),
    "--cloudevents-type": seldom("com.example.order"),
    "--cloudevents-subject": seldom("{attribute.kind}"),
    "--header": seldom("X-Queue: {queue}"),
    # Given with --path-allow.
    "--path-attribute": seldom("path"),
    "--attribute-headers": one_of("prefixed", "bare", "none"),
    "--body": seldom("unwrap", "decode", "unwrap,decode"),
    "--body-max-bytes": seldom(1024),
    "--content-type": seldom("application/json"),
    "--content-type-attribute": seldom("kind"),
    "--receipt-header": seldom("X-Receipt"),
    "--max-header-bytes": seldom(1024, 65_536),
    "--attribute-allow": seldom("traceparent"),
    "--preset": seldom("sqsd"),
    "--deny-private": seldom(True),
    "--format": one_of("message", "message", "lambda"),
    "--batch-wait": seldom(0, 0.3),
    "--batch-item-failures": seldom(False),
    # An answer takes milliseconds, on a noisy machine more.
    "--timeout": one_of(2, 3),
    "--connect-timeout": one_of(1, 2),
    "--drain-timeout": one_of(15, 30),
    "--log-level": one_of("debug", "info", "warning"),
    "--log-format": one_of("logfmt", "json"),
}

LEFT: Final[Mapping[str, str]] = {
    "--queue": "given",
    "--queue-type": "the others have no queue that outlives the program",
    "--recipient-url": "given",
    "--routes": "test_routes.py",
    "--region": "given in the environment",
    "--endpoint-url": "given in the environment",
    **dict.fromkeys(("--role-arn", "--external-id", "--role-session-name"), "need an STS: test_credentials.py"),
    "--failure-queue": "drawn with the queue",
    "--allow-cidr": "given with --deny-private",
    "--path-allow": "given with --path-attribute",
    "--cron": "adds messages: test_cron.py",
    "--audit-path": "given",
    "--sns-verify": "for signed messages: test_bodies.py",
    "--sns-topic": "for signed messages: test_bodies.py",
    "--sns-endpoint-url": "for signed messages: test_bodies.py",
    **dict.fromkeys(
        ("--fetch-bucket", "--fetch-max-bytes", "--fetch-timeout", "--fetch-delete", "--fetch-endpoint-url"),
        "need --body fetch, and an S3: test_fetching.py",
    ),
    "--decode": "needs --body decode, and bodies of that coding: test_bodies.py",
    "--decode-attribute": "needs --body decode: test_bodies.py",
    "--audit-keep": "removes what is counted: test_audit_upkeep.py",
    "--audit-keep-bytes": "removes what is counted: test_audit_upkeep.py",
    "--audit-sign-key": "test_audit_seals.py",
    "--audit-archive": "test_archive.py",
    "--audit-archive-endpoint-url": "test_archive.py",
    "--firehose-stream": "test_firehose.py",
    "--firehose-endpoint-url": "test_firehose.py",
    "--webhook-secret-file": "test_request.py",
    "--bearer-token-file": "test_request.py",
    "--basic-auth-file": "test_request.py",
    "--client-cert": "for https",
    "--client-key": "for https",
    "--ca-file": "for https",
    "--traces": "test_traces.py",
    "--traces-sample": "test_traces.py",
    "--api": "many run at once",
    "--api-host": "for --api",
    "--page": "for --api",
    "--page-control": "for --api",
    "--control": "test_control.py",
    **dict.fromkeys(
        ("--watch-termination", "--drain-on-rebalance", "--lifecycle-hook", "--task-protection"),
        "need the metadata of a platform: test_leaving.py",
    ),
}

OUTAGES: Final = ("refused connections", "503", "401", "429", "hanging", "cut connections")
ROLES: Final = ("auditor", "sender", "consumer")


class Sent(NamedTuple):
    """A message of a run; on a standard queue its group is empty."""

    body: str
    attributes: Mapping[str, Mapping[str, Any]]
    group: str


class Combination(NamedTuple):
    """What one run is made of."""

    seed: int
    options: dict[str, Any]
    fifo: bool
    failure_queue: str
    redrive: int
    outage: str
    outage_after: int
    outage_seconds: float
    victim: str
    stopped: bool
    hurt_after: int
    answer_seconds: float
    messages: list[Sent]
    poison: int

    def flags(self) -> list[str]:
        """Write the options as they are given on the command line."""
        flags: list[str] = []
        for flag, value in self.options.items():
            if value is True:
                flags.append(flag)
            elif value is not None:
                flags += [flag, str(value)]
        return flags

    @property
    def poison_ends(self) -> bool:
        """Whether the message that is always refused leaves the queue."""
        return bool(self.poison_is_rejected or self.redrive)

    @property
    def poison_is_rejected(self) -> bool:
        """Whether it goes to the failure queue. No answer to a batch rejects, but the last receive does."""
        return bool(self.failure_queue and (not self.is_batched or self.options["--max-receives"]))

    @property
    def is_batched(self) -> bool:
        return bool(self.options["--format"] == "lambda")

    @property
    def audited(self) -> bool:
        return bool(self.options["--audit"] == "files")


def combination(seed: int) -> Combination:
    """Draw one."""
    chance = random.Random(f"combination {seed}")
    options = {flag: draw(chance) for flag, draw in DRAWN.items()}
    fifo = chance.random() < 0.4
    failure_queue = chance.choice(("", "", "standard", "fifo"))
    # Well above what an outage, a kill and a failing run may cost a good message.
    redrive = chance.choice((0, 6, 8))
    if options["--retry-delay"] == 0:
        # Without a delay a message has used up its receives within a tenth of a second of the outage, and the poison
        # takes the place of others for as long as it stays in the queue.
        redrive = 0
        options["--retry-delay"] = 0 if failure_queue else 0.5
    _make_legal(options, failure_queue)
    groups = chance.choice((1, 3, 10))
    poison = chance.randrange(MESSAGES)
    messages = [_message(chance, n, f"g{chance.randrange(groups)}" if fifo else "") for n in range(MESSAGES)]
    is_rejected = failure_queue and (options["--format"] == "message" or options["--max-receives"])
    if fifo and not is_rejected:
        # It holds up its group until the redrive policy takes it, and each time costs all of its run a receive.
        messages[poison] = messages[poison]._replace(group="poison")
    return Combination(
        seed=seed,
        options=options,
        fifo=fifo,
        failure_queue=failure_queue,
        redrive=redrive,
        outage=chance.choice(OUTAGES),
        outage_after=chance.randrange(1, 20),
        outage_seconds=chance.uniform(0.5, 1.5),
        victim=chance.choice(ROLES),
        stopped=chance.random() < 0.3,
        hurt_after=chance.randrange(1, 30),
        answer_seconds=chance.choice((0.0, 0.01, 0.05)),
        messages=messages,
        poison=poison,
    )


def _make_legal(options: dict[str, Any], failure_queue: str) -> None:
    """Take out what the configuration refuses together."""
    if options["--format"] == "lambda":
        options["--path-attribute"] = None
    if not failure_queue:
        options["--max-receives"] = None
    if options["--preset"] and options["--retry-delay"] is None:
        # Else it is the preset's 2 seconds, as often as the redrive policy lets the poison come.
        options["--retry-delay"] = 1
    if options["--deny-private"]:
        options["--allow-cidr"] = "127.0.0.0/8"
    if options["--path-attribute"]:
        options["--path-allow"] = "/in"
    if options["--attribute-headers"] != "bare":
        options["--attribute-allow"] = None
    if options["--audit-format"] == "text" and options["--audit-events"] == "all":
        options["--audit-events"] = None
    if options["--audit"] == "none":
        options["--audit-events"] = None
        for flag in (
            "--audit-format",
            "--audit-body",
            "--audit-max-bytes",
            "--audit-max-age",
            "--audit-policy",
            "--audit-compress",
        ):
            options[flag] = None


def _message(chance: random.Random, n: int, group: str) -> Sent:
    """Make a message of random content; its number stands at the beginning of its body."""
    size = chance.choice((0, 0, 10, 300, 5_000, LARGE_BYTES))
    alphabet = chance.choice(("x", "ab \t\r\n", 'äß€💩"\\', "\u2028\ufffd\x85<>&'"))
    piece = "".join(chance.choices(alphabet, k=50))
    body = f"{n}:" + piece * (size // len(piece.encode())) + piece[: 1 + size % 50]
    attributes: dict[str, dict[str, Any]] = {
        name: value
        for name, value in (
            ("kind", {"DataType": "String", "StringValue": chance.choice(("application/xml", "no type", "ö"))}),
            ("path", {"DataType": "String", "StringValue": chance.choice(("/in", "/in/x", "/in/%C3%A4"))}),
            ("ce-type", {"DataType": "String", "StringValue": chance.choice(("com.example.shop", "ö %"))}),
            ("Number-1", {"DataType": "Number", "StringValue": "17"}),
            ("blob", {"DataType": "Binary", "BinaryValue": b"\0\xff"}),
            ("long", {"DataType": "String", "StringValue": "y" * 3000}),
            ("Host", {"DataType": "String", "StringValue": "elsewhere"}),
            ("traceparent", {"DataType": "String", "StringValue": "00-0af7651916cd43dd8448eb211c80319c-01"}),
        )
        if chance.random() < 0.2
    }
    return Sent(body, attributes, group)
