"""A recipient behind TLS: the cost that encryption adds to a message."""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from pathlib import Path
from typing import Final

from scripts.bench.programs import Program, courier
from scripts.bench.rig import Rig
from scripts.bench.scenario import Outcome, table
from scripts.bench.trial import Trial

HELP: Final = "a recipient behind TLS"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the amount of work."""
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)


def run(given: argparse.Namespace) -> Outcome:
    """Measure without and with TLS, in interleaved rounds."""
    trials: dict[str, list[Trial]] = {"plain": [], "TLS": []}
    with Rig(given.output) as rig:
        certificate, program = trusted(rig.directory("certificate"))
        for _ in range(given.rounds):
            for kind, those in trials.items():
                recipient = rig.recipient(certificate=certificate if kind == "TLS" else None)
                trial = rig.trial(program, given.messages, recipient=recipient)
                those.append(trial)
                print(f"{kind}: {trial.micros:.1f} µs/msg, {trial.rate:,.0f} msg/s", flush=True)
    micros = {kind: statistics.median(trial.micros for trial in those) for kind, those in trials.items()}
    rates = {kind: statistics.median(trial.rate for trial in those) for kind, those in trials.items()}
    rows = [[kind, f"{micros[kind]:.1f}", f"{rates[kind]:,.0f}"] for kind in trials]
    line = f"tls: {micros['TLS']:.1f} µs/msg, {micros['TLS'] - micros['plain']:.1f} more than plain"
    return Outcome(table(["recipient", "CPU µs/msg", "msg/s"], rows), line, trials)


def trusted(directory: Path) -> tuple[Path, Program]:
    """Return a new certificate file for 127.0.0.1 with its key, and a Courier that trusts its issuer."""
    import trustme  # here, because no other command needs it

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    file, anchor = directory / "certificate.pem", directory / "authority.pem"
    file.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    authority.cert_pem.write_to_path(str(anchor))
    return file, dataclasses.replace(courier(), variables={"SSL_CERT_FILE": str(anchor)})
