"""The world of a trial: a queue, a program, a recipient, all that stands between them, and what was seen of them."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from scripts.faults.audit_watch import AuditWatch
from scripts.faults.clock import Clock
from scripts.faults.credentials import Credentials
from scripts.faults.disk import Disk
from scripts.faults.events import Held, Window
from scripts.faults.fault import HANG_TIMEOUT_SECONDS, Row
from scripts.faults.fault_queue import FaultQueue
from scripts.faults.firehose import FaultyFirehose
from scripts.faults.gate import Gate
from scripts.faults.injury import Injury, Program
from scripts.faults.instance import Instance
from scripts.faults.program import Adapter, Setting
from scripts.faults.proxy import TcpProxy
from scripts.faults.recipient import Recipient
from scripts.faults.recipient_behaviours import Behaviour
from scripts.faults.shims.build import combined
from scripts.faults.sockets import ports_of
from scripts.faults.sqs_servers import start_server
from tests.faulty_s3 import faulty_s3

__all__ = ["Injury", "Program", "World"]

REGION: Final = "us-east-1"


class World:
    """Everything in a trial, running until it is left. ``began`` is when the load began.

    Injectors use its parts directly, and report what they did with :meth:`note`, :meth:`hurt` and :meth:`excuse`.
    """

    def __init__(self, row: Row, adapter: Adapter, directory: Path, *, disk: Disk | None = None) -> None:
        """With a ``disk``, its program writes to that one, which lies above its directory and isn't its alone."""
        self.row: Final = row
        self.directory: Final = directory
        self.timeline: Final[list[tuple[float, str]]] = []
        self.injuries: Final[list[Injury]] = []
        self.windows: Final[list[Window]] = []
        self.ending: Final = threading.Event()
        self.began = time.monotonic()
        self._adapter = adapter
        self._disk = disk
        self._stack = ExitStack()
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._build(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ending.set()
        self._stack.close()

    @property
    def program(self) -> Program:
        """The first program, which most trials have alone."""
        return self.programs[0]

    @property
    def instance(self) -> Instance:
        """The present run of the first program."""
        return self.program.instance

    @property
    def proxy(self) -> TcpProxy | None:
        """The TCP proxy between the first program and the recipient, if the row has one."""
        return self.program.link

    @property
    def gates(self) -> list[Gate]:
        """The gates of all programs."""
        return [program.gate for program in self.programs]

    @property
    def audits(self) -> bool:
        """Whether the programs keep an audit log."""
        return self._adapter.audits

    def wait(self, seconds: float) -> bool:
        """Wait; return whether the trial still goes on."""
        return not self.ending.wait(max(0.0, seconds))

    def note(self, what: str) -> None:
        """Write a line into the timeline."""
        self.timeline.append((time.monotonic(), what))

    def hurt(
        self,
        why: str,
        ports: frozenset[int] | None,
        *,
        program: Program | None = None,
        begin: float | None = None,
    ) -> None:
        """Note that a process is hurt now: what came from these ports and isn't deleted may come again.

        Take the ports before the kill (:func:`~scripts.faults.sockets.ports_of`); None means all of them. With a
        ``program`` it must be one that received the message. What lasted until now has a ``begin``.
        """
        mapped = ports
        for each in self.programs:
            if ports is not None and mapped is not None and each.link is not None:
                mapped |= {port for port, client in list(each.link.clients.items()) if client in ports}
        now = time.monotonic()
        self.injuries.append(Injury(now if begin is None else begin, now, why, mapped, program))

    def ports(self, pid: int) -> frozenset[int]:
        """Return the ports of a process from which deliveries may come."""
        return ports_of(pid)

    def unread(self) -> int:
        """Return the bytes of the packets that wait for the senders of the programs."""
        return sum(program.unread.count() for program in self.programs)

    def excuse(self, begin: float, end: float, why: str) -> None:
        """Note a span in which no delivery is to be expected."""
        self.windows.append(Window(begin, end, why))

    def recorded(self, message_ids: Collection[str]) -> set[str]:
        """Return those of the messages whose record is durable."""
        if self.firehose is not None:
            return self.firehose.durable(message_ids)
        return self.watch.recorded(message_ids)

    def held(self) -> Iterator[Held]:
        """Yield what the faults explain, once the trial has ended."""
        yield from self.recipient.held
        for gate in self.gates:
            yield from gate.held
        if self.injuries:
            deleted = {delete.message_id: delete.at for gate in self.gates for delete in gate.deletes if delete.done}
            deliveries = list(self.recipient.deliveries)
            yield from (injury.held(deliveries, deleted) for injury in self.injuries)

    # Building it.

    def _build(self, stack: ExitStack) -> None:
        row = self.row
        server = start_server(row.server, self.directory)
        stack.callback(server.stop)
        self.server = server
        self.queue = FaultQueue(
            server.url, fifo=row.workload.groups > 0, visibility_seconds=row.visibility, receives=row.dead_after
        )
        self.failures = FaultQueue(server.url, fifo=self.queue.fifo) if row.failure_queue else None
        self.recipient = stack.enter_context(Recipient(tls=row.tls))
        if row.answer_seconds:
            self.recipient.behave = Behaviour("delay", seconds=row.answer_seconds)
        self.firehose = FaultyFirehose() if row.audit == "firehose" else None
        if self.firehose is not None:
            stack.callback(self.firehose.stop)
        self.clock = Clock(self.directory / "clock") if row.clock else None
        self.credentials = Credentials(self.directory / "credentials") if row.credentials else None
        self._disks: dict[Path, Disk] = {}
        self.archive = stack.enter_context(faulty_s3()) if row.archive else None
        archived = self.archive.contents if self.archive is not None else None
        self.watch = AuditWatch(self._directory_of(0) / "audit", self._surviving_length, archived)
        self.programs: list[Program] = []
        for number in range(row.programs):
            self.add_program(stack, number)

    def add_program(self, stack: ExitStack, number: int) -> Program:
        """Start one more program, with a directory, a disk and a gate of its own."""
        directory = self._directory_of(number)
        directory.mkdir(parents=True, exist_ok=True)
        disk = self._disk or Disk(directory / "audit", directory / "disk")
        self._disks[directory / "audit"] = disk
        self.watch.add(directory / "audit")
        gate = Gate(self.server.url, self.recorded)
        stack.callback(gate.close)
        clock = self.clock.environment() if self.clock is not None else {}
        credentials = self.credentials.environment() if self.credentials is not None else {}
        more = self.row.more_options[number - 1] if 0 < number <= len(self.row.more_options) else ()
        link = self._link(stack) if self.row.link else None
        setting = Setting(
            self.queue.url,
            gate.url,
            REGION,
            self._recipient_url(link),
            directory,
            ("--hang-timeout", f"{HANG_TIMEOUT_SECONDS:g}", *self._own_options(directory), *self.row.options, *more),
            combined(disk.environment(), clock) | credentials | self._control(stack),
        )
        program = Program(self._adapter, setting, gate, disk, link)
        stack.callback(lambda: program.instance.kill_all())
        self.programs.append(program)
        return program

    def _control(self, stack: ExitStack) -> dict[str, str]:
        """Return the variables for a control socket, whose path must be short, and for a file of options.

        There are none if no fault needs them.
        """
        if not any(fault.what in ("steer", "reload") for fault in self.row.faults):
            return {}
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="courier-"))
        Path(directory, "courier.toml").write_text("")
        return {"COURIER_CONTROL": f"{directory}/control.sock", "COURIER_CONFIG": f"{directory}/courier.toml"}

    def _own_options(self, directory: Path) -> tuple[str, ...]:
        options: tuple[str, ...] = ("--visibility-timeout", str(self.row.visibility))
        if self.row.tls:
            authority = self.recipient.write_authority(directory / "authority.pem")
            options += ("--ca-file", str(authority))
        if self.firehose is not None:
            options += ("--audit", "firehose", "--firehose-stream", self.firehose.name)
            options += ("--firehose-endpoint-url", self.firehose.url)
        if self.archive is not None:
            options += ("--audit-archive", f"s3://{self.archive.bucket}/trail")
            options += ("--audit-archive-endpoint-url", self.archive.url)
        if self.failures is not None:
            options += ("--failure-queue", self.failures.name)
        return options

    def _directory_of(self, number: int) -> Path:
        return self.directory / f"program-{number}"

    def _surviving_length(self, path: Path) -> int:
        return self._disks[path.parent].surviving_length(path)

    def _link(self, stack: ExitStack) -> TcpProxy:
        server = urlsplit(self.recipient.url)
        assert server.hostname is not None
        assert server.port is not None
        proxy = TcpProxy(server.hostname, server.port)
        stack.callback(proxy.close)
        return proxy

    def _recipient_url(self, link: TcpProxy | None) -> str:
        if link is None:
            return self.recipient.url
        url = urlsplit(self.recipient.url)
        return url._replace(netloc=f"{url.hostname}:{link.port}").geturl()
