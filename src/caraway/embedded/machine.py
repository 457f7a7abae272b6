"""A machine around the embedded guest: it runs, stops and moves to another host as QEMU's do, told by QMP.

Names, types, states and their order are QEMU 7.2's (spec/migration.md 6, docs/protocol-notes.md), so that what drives
a QEMU drives this. The server learns of a migration as QEMU's does: from a `MigrationNotifier`.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import os
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from caraway.client.screenshot import Screenshot
from caraway.embedded import transfer
from caraway.embedded.guest import EmbeddedGuest
from caraway.embedded.memory import PAGE
from caraway.embedded.seen import Button
from caraway.errors import CarawayError, LinkError, ProtocolError
from caraway.migration.notifier import End, MigrationNotifier, Occurrence, Start
from caraway.server import Server
from caraway.server.commands import OURS
from caraway.server.qmp import Command, CommandError, Parameter
from caraway.server.signal import Signal
from caraway.server.tasks import Tasks

log = logging.getLogger(__name__)

CONNECT_DEADLINE = 10.0
SILENCE = 30.0
"""Seconds that the other host may take to take or to say something."""

DEFAULT_BANDWIDTH = 128 << 20
"""Bytes a second."""

DEFAULT_DOWNTIME = 300
MAX_DOWNTIME = 2_000_000
"""Milliseconds."""

BURST = 0.02
"""Seconds of bandwidth that are sent at once."""

Info = Mapping[str, object]


class Status(enum.Enum):
    """Of a migration, as QEMU tells it."""

    NONE = "none"
    SETUP = "setup"
    ACTIVE = "active"
    PRE_SWITCHOVER = "pre-switchover"
    DEVICE = "device"
    COMPLETED = "completed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"


class RunState(enum.Enum):
    """Of the guest, as QEMU tells it."""

    RUNNING = "running"
    PAUSED = "paused"
    FINISH_MIGRATE = "finish-migrate"
    POSTMIGRATE = "postmigrate"
    INMIGRATE = "inmigrate"


_UNDER_WAY = frozenset({Status.SETUP, Status.ACTIVE, Status.PRE_SWITCHOVER, Status.DEVICE, Status.CANCELLING})
_FENCE = "pause-before-switchover"


class Machine:
    """Of one guest and its server: `commands` for a control socket, whose `emit` listens to `event`.

    incoming: the guest comes from another host: an address, `tcp:HOST:PORT`, or `defer` until `migrate-incoming`.
    """

    def __init__(self, guest: EmbeddedGuest, server: Server, *, incoming: str | None = None) -> None:
        self.guest, self._server = guest, server
        self.event: Signal[[str, Info | None]] = Signal()
        """Name and data of a QMP event."""
        self.state = RunState.RUNNING if guest.running else RunState.PAUSED
        self.status = Status.NONE
        self._incoming = incoming
        self._capabilities = {"events": False, _FENCE: False}
        self._bandwidth, self._downtime = DEFAULT_BANDWIDTH, DEFAULT_DOWNTIME
        self._error = ""
        self._sent = self._remaining = self._rounds = self._dirtied = 0
        self._began = self._stopped_at = 0.0
        self._total_time = self._took = 0.0
        self._fence = asyncio.Event()
        self._notifier = MigrationNotifier()
        self._given = False
        """Whether the guest is the target's."""
        self._moving: asyncio.Task[None] | None = None
        self._tasks = Tasks()
        self._listening: asyncio.Server | None = None
        self._taking = False
        self._forget = server.departures.announced.connect(self._announced)
        if incoming is not None:
            self.state = RunState.INMIGRATE
            guest.pause()
            guest.set_incoming(True)
        commands = (
            Command("query-status", self.query_status),
            Command("stop", self.stop),
            Command("cont", self.cont),
            Command("query-name", lambda: {"name": guest.name}),
            Command("query-chardev", self.query_chardev),
            Command(
                "screendump",
                self.screendump,
                (Parameter("filename"), Parameter("format", values=("ppm", "png"), optional=True)),
            ),
            Command(f"{OURS}query_seen", self.query_seen),
            Command("query-migrate", self.query_migrate),
            Command("query-migrate-capabilities", self.query_migrate_capabilities),
            Command("query-migrate-parameters", self.query_migrate_parameters),
            Command("migrate-set-capabilities", self.migrate_set_capabilities, (Parameter("capabilities", "array"),)),
            Command(
                "migrate-set-parameters",
                self.migrate_set_parameters,
                (
                    Parameter("max-bandwidth", "integer", optional=True),
                    Parameter("downtime-limit", "integer", optional=True),
                ),
            ),
            Command("migrate", self.migrate, (Parameter("uri"), Parameter("detach", "boolean", optional=True))),
            Command("migrate-incoming", self.migrate_incoming, (Parameter("uri"),)),
            Command("migrate-continue", self.migrate_continue, (Parameter("state"),)),
            Command("migrate_cancel", self.migrate_cancel),
        )
        self.commands: Mapping[str, Command] = {command.name: command for command in commands}

    async def start(self) -> None:
        """Wait for the guest, if it is to come to an address. Raises CommandError if that cannot be had."""
        if self._incoming not in (None, "defer"):
            assert self._incoming is not None
            await self.migrate_incoming(self._incoming)

    async def aclose(self) -> None:
        """End what is under way; the guest stays as it is."""
        self._forget()
        await self._tasks.aclose()
        if self._listening is not None:
            self._listening.close()

    # commands: the guest

    def query_status(self) -> Info:
        """Whether the guest runs."""
        return {"status": self.state.value, "singlestep": False, "running": self.state is RunState.RUNNING}

    def stop(self) -> Info:
        """Let the guest stand still."""
        if self.state is RunState.RUNNING:
            self._stop(RunState.PAUSED)
        return {}

    def cont(self) -> Info:
        """Let the guest go on."""
        if self.state is RunState.FINISH_MIGRATE:
            raise CommandError("Migration is not finalized yet")
        if self.state in (RunState.PAUSED, RunState.POSTMIGRATE):
            self._resume()
        return {}

    def query_chardev(self) -> list[Info]:
        """The ports that are SPICE channels, and the agent's."""
        ports = [*self.guest.ports, *([self.guest.agent] if self.guest.agent is not None else [])]
        return [{"label": port.name, "filename": "spicevmc", "frontend-open": port.opened} for port in ports]

    def screendump(self, filename: str, format: str = "ppm") -> Info:
        """Write what the guest shows to a file."""
        display = self.guest.display
        picture = Screenshot(display.width, display.height, bytes(display.pixels[: 4 * display.width * display.height]))
        try:
            if format == "png":
                data = picture.png()
            else:
                data = b"P6\n%d %d\n255\n" % (picture.width, picture.height) + picture.rgb
            Path(filename).write_bytes(data)
        except (OSError, ValueError) as error:
            raise CommandError(f"failed to open file '{filename}': {error}") from None
        return {}

    def query_seen(self) -> Info:
        """What the guest has seen of its keyboard and its pointer's buttons, oldest first."""
        seen = self.guest.seen
        keys = [{"code": key.code, "down": key.down} for key in seen.keys]
        buttons = [event.button.name.lower() for event in seen.pointer if isinstance(event, Button) and event.down]
        return {"keys": keys, "buttons": buttons}

    def _stop(self, state: RunState) -> None:
        self.state = state
        if self.guest.running:
            self.guest.pause()
            self._tell("STOP")

    def _resume(self) -> None:
        self.state = RunState.RUNNING
        self._tell("RESUME")
        self.guest.resume()

    # commands: migration

    def query_migrate(self) -> Info:
        """How a migration goes."""
        found: dict[str, object] = {}
        if self.status is not Status.NONE:
            found["status"] = self.status.value
        if self._error:
            found["error-desc"] = self._error
        if self._listening is not None:
            found["socket-address"] = [
                {"type": "inet", "host": made[0], "port": str(made[1]), "ipv6" if ":" in made[0] else "ipv4": True}
                for made in (each.getsockname() for each in self._listening.sockets)
            ]
        if self._incoming is None and self.status not in (Status.NONE, Status.SETUP, Status.FAILED, Status.CANCELLED):
            found["ram"] = {
                "total": self.guest.memory.pages * PAGE,
                "transferred": self._sent,
                "remaining": self._remaining,
                "page-size": PAGE,
                "dirty-sync-count": self._rounds,
                "dirty-pages-rate": self._dirtied,
            }
            completed = self.status is Status.COMPLETED
            found["total-time"] = _milliseconds(self._total_time if completed else _now() - self._began)
            found["downtime" if completed else "expected-downtime"] = (
                _milliseconds(self._took) if completed else self._downtime
            )
        return found

    def query_migrate_capabilities(self) -> list[Info]:
        """What may be switched on."""
        return [{"capability": name, "state": state} for name, state in self._capabilities.items()]

    def migrate_set_capabilities(self, capabilities: list[Any]) -> Info:
        """Switch on and off."""
        wanted = {}
        for at, entry in enumerate(capabilities):
            name = f"capabilities[{at}]"
            if type(entry) is not dict:
                raise CommandError(f"Invalid parameter type for '{name}', expected: object")
            for key, kind in (("capability", "string"), ("state", "boolean")):
                if key not in entry:
                    raise CommandError(f"Parameter '{name}.{key}' is missing")
                if type(entry[key]) is not {"string": str, "boolean": bool}[kind]:
                    raise CommandError(f"Invalid parameter type for '{name}.{key}', expected: {kind}")
            if entry["capability"] not in self._capabilities:
                raise CommandError(f"Parameter 'capability' does not accept value '{entry['capability']}'")
            wanted[entry["capability"]] = entry["state"]
        if self.status in _UNDER_WAY and self._incoming is None:
            raise CommandError("There's a migration process in progress")
        self._capabilities.update(wanted)
        return {}

    def query_migrate_parameters(self) -> Info:
        """How fast, and how long the guest may stand still."""
        return {"max-bandwidth": self._bandwidth, "downtime-limit": self._downtime}

    def migrate_set_parameters(self, max_bandwidth: int | None = None, downtime_limit: int | None = None) -> Info:
        """max_bandwidth: bytes a second, 0 for no limit. downtime_limit: milliseconds."""
        if max_bandwidth is not None and not 0 <= max_bandwidth < 1 << 63:
            raise CommandError("Parameter 'max-bandwidth' expects uint64")
        if downtime_limit is not None and not 0 <= downtime_limit <= MAX_DOWNTIME:
            raise CommandError("Parameter 'downtime_limit' expects an integer in the range of 0 to (2000 * 1000) ms")
        self._bandwidth = self._bandwidth if max_bandwidth is None else max_bandwidth
        self._downtime = self._downtime if downtime_limit is None else downtime_limit
        return {}

    def migrate(self, uri: str, detach: bool = False) -> Info:
        """Move the guest to the host that listens there."""
        if self.state is RunState.INMIGRATE:
            raise CommandError("Guest is waiting for an incoming migration")
        if self.status in _UNDER_WAY:
            raise CommandError("There's a migration process in progress")
        if self.state in (RunState.POSTMIGRATE, RunState.FINISH_MIGRATE):
            raise CommandError("Can't migrate the vm that was paused due to previous migration")
        host, port = _address(uri)
        self._error, self._incoming, self._given = "", None, False
        self._sent = self._remaining = self._rounds = self._dirtied = 0
        self._began = _now()
        self._set(Status.SETUP)
        self._moving = self._spawn(self._move(host, port))
        return {}

    def migrate_continue(self, state: str) -> Info:
        """Let the guest go, which stands still."""
        if state not in {status.value for status in Status}:
            raise CommandError(f"Parameter 'state' does not accept value '{state}'")
        if self.status is not Status.PRE_SWITCHOVER or state != self.status.value:
            raise CommandError(f"Migration not in expected state: {self.status.value}")
        self._fence.set()
        return {}

    async def migrate_cancel(self) -> Info:
        """The guest shall stay."""
        if self.status in _UNDER_WAY and self.status is not Status.CANCELLING and self._moving is not None:
            self._set(Status.CANCELLING)
            self._moving.cancel()
        return {}

    async def migrate_incoming(self, uri: str) -> Info:
        """Listen for the guest."""
        if self._incoming is None or self.state is not RunState.INMIGRATE:
            raise CommandError("'-incoming' was not specified on the command line")
        if self._listening is not None:
            raise CommandError("The incoming migration has already been started")
        host, port = _address(uri)
        self._set(Status.SETUP)
        try:
            self._listening = await asyncio.start_server(self._accept, host, port, limit=1 << 20)
        except (OSError, OverflowError) as error:
            raise CommandError(f"Failed to bind socket: {error}") from None
        return {}

    # the source

    async def _move(self, host: str, port: int) -> None:
        runs = self.guest.running
        try:
            await self._send_all(host, port, runs)
        except asyncio.CancelledError:
            if self._given:
                self._complete()
            else:
                self._stay(Status.CANCELLED, runs)
        except (OSError, CarawayError, asyncio.IncompleteReadError, TimeoutError) as error:
            self._error = str(error) or type(error).__name__
            log.warning("the migration to %s:%d failed: %s", host, port, self._error)
            self._stay(Status.FAILED, runs)
        else:
            self._complete()

    def _complete(self) -> None:
        self._took, self._total_time = _now() - self._stopped_at, _now() - self._began
        self.state = RunState.POSTMIGRATE
        self._set(Status.COMPLETED)

    def _stay(self, status: Status, runs: bool) -> None:
        if self.state is RunState.FINISH_MIGRATE:
            self.state = RunState.PAUSED
            if runs:
                self._resume()
        self._set(status)

    async def _send_all(self, host: str, port: int, runs: bool) -> None:
        memory, guest = self.guest.memory, self.guest
        try:
            async with asyncio.timeout(CONNECT_DEADLINE):
                reader, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else error
            raise LinkError(f"Failed to connect to '{host}:{port}': {why}") from None
        try:
            writer.write(transfer.greeting(memory))
            memory.take_dirty()
            numbers = memory.used()
            self._set(Status.ACTIVE)
            while True:
                self._rounds += 1
                await self._send_pages(writer, numbers)
                numbers = memory.take_dirty()
                self._remaining = len(numbers) * PAGE
                if not self._bandwidth or self._remaining <= self._bandwidth * self._downtime / 1000:
                    break
            self._stopped_at = _now()
            self._stop(RunState.FINISH_MIGRATE)
            if self._capabilities[_FENCE]:
                await self._wait_at_fence(writer)
            await self._send_pages(writer, [*dict.fromkeys([*numbers, *memory.take_dirty()])])
            await self._send(writer, transfer.devices(guest.device_state()))
            async with asyncio.timeout(SILENCE):
                if await reader.readexactly(1) != transfer.LOADED:
                    raise ProtocolError("the target has not loaded the guest")
            # From here on the guest is the target's, whatever becomes of this connection.
            writer.write(transfer.run(runs))
            self._given = True
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _wait_at_fence(self, writer: asyncio.StreamWriter) -> None:
        self._fence.clear()
        self._set(Status.PRE_SWITCHOVER)
        while not self._fence.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SILENCE / 4):
                    await self._fence.wait()
            await self._send(writer, transfer.pages(self.guest.memory, ()))
        self._set(Status.DEVICE)

    async def _send_pages(self, writer: asyncio.StreamWriter, numbers: list[int]) -> None:
        for at in range(0, len(numbers), transfer.MAX_PAGES):
            self._remaining = (len(numbers) - at) * PAGE
            await self._send(writer, transfer.pages(self.guest.memory, numbers[at : at + transfer.MAX_PAGES]))
        self._remaining = 0

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        began = _now()
        writer.write(data)
        async with asyncio.timeout(SILENCE):
            await writer.drain()
        self._sent += len(data)
        ahead = len(data) / self._bandwidth - (_now() - began) if self._bandwidth else 0.0
        await asyncio.sleep(max(ahead, 0.0))

    # the target

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._taking or self.state is not RunState.INMIGRATE:
            writer.transport.abort()
            return
        self._taking = True
        self._spawn(self._take_guest(reader, writer))

    async def _take_guest(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._error = ""
        try:
            runs = await self._load(reader, writer)
        except (OSError, CarawayError, asyncio.IncompleteReadError, TimeoutError) as error:
            self._error = str(error) or type(error).__name__
            log.warning("no guest came: %s", self._error)
            self.guest.set_incoming(True)
            self._set(Status.FAILED)
        else:
            self.state = RunState.PAUSED
            if runs:
                self._resume()
            self._set(Status.COMPLETED)
            if self._listening is not None:
                self._listening.close()
                self._listening = None
        finally:
            self._taking = False
            writer.close()

    async def _load(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take the guest; gives whether it is to run."""
        memory = self.guest.memory
        async with asyncio.timeout(SILENCE):
            await transfer.read_greeting(reader, memory)
        memory.clear()
        self._set(Status.ACTIVE)
        loaded = False
        while True:
            async with asyncio.timeout(SILENCE):
                kind, value = await transfer.read_record(reader, memory)
            if loaded != (kind is transfer.Kind.RUN):
                raise ProtocolError(f"a record of kind {kind.name} out of place")
            if kind is transfer.Kind.RUN:
                return bool(value)
            if kind is transfer.Kind.DEVICES:
                assert isinstance(value, bytes)
                self.guest.restore_devices(value)
                self.guest.set_incoming(False)
                loaded = True
                writer.write(transfer.LOADED)

    # what is told

    def _announced(self, announcement: object) -> None:
        self._notify(Occurrence.TARGET_KNOWN)

    def _set(self, status: Status) -> None:
        self.status = status
        if self._capabilities["events"]:
            self._tell("MIGRATION", {"status": status.value}, notify=False)
        if self._incoming is None:
            occurrence = Occurrence.of("MIGRATION", {"status": status.value})
            if occurrence is not None:
                self._notify(occurrence)

    def _tell(self, name: str, data: Info | None = None, *, notify: bool = True) -> None:
        self.event(name, data)
        occurrence = Occurrence.of(name, {}) if notify and self._incoming is None else None
        if occurrence is not None:
            self._notify(occurrence)

    def _notify(self, occurrence: Occurrence) -> None:
        for call in self._notifier.handle(occurrence):
            if isinstance(call, Start):
                self._server.migrate_start()
            elif isinstance(call, End):
                self._server.migrate_end(call.completed)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._tasks.spawn(work)


def _address(uri: str) -> tuple[str, int]:
    scheme, _, place = uri.partition(":")
    if scheme != "tcp":
        raise CommandError("Parameter 'uri' expects a valid migration protocol")
    host, _, port = place.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise CommandError(f"error parsing address '{place}'")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _now() -> float:
    return time.monotonic()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
