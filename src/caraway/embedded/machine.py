"""A machine around the embedded guest: it runs, stops and moves to another host as QEMU's do, told by QMP.

Names, types, states and their order are QEMU 7.2's (spec/migration.md 6, docs/protocol-notes.md), so that what drives
a QEMU drives this. The server learns of a migration as QEMU's does: from a `MigrationNotifier`.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
import uuid
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

from caraway.client.screenshot import Screenshot
from caraway.embedded import transfer
from caraway.embedded.address import Address
from caraway.embedded.guest import EmbeddedGuest
from caraway.embedded.memory import PAGE, Memory
from caraway.embedded.seen import Button
from caraway.errors import CarawayError, EndpointError, LinkError, ProtocolError
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

GREETING_DEADLINE = 5.0
"""Seconds that whoever connects has to say that it is a source."""

MAX_STRANGERS = 8
"""Connections that have not said so."""

DEFAULT_BANDWIDTH = 128 << 20
"""Bytes a second."""

DEFAULT_DOWNTIME = 300
MAX_DOWNTIME = 2_000_000
"""Milliseconds."""

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


class Unsigned(Parameter):
    """A number of 64 bits. A negative one is taken without its sign, as QEMU does."""

    def check(self, value: object) -> None:
        if type(value) is not int or not -(1 << 63) <= value < 1 << 64:
            raise CommandError(f"Parameter '{self.name}' expects uint64")


class Machine:
    """Of one guest and its server: `commands` for a control socket, whose `emit` listens to `event`.

    incoming: the guest comes from another host: `tcp:HOST:PORT`, `unix:PATH`, or `defer` until `migrate-incoming`.
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
        self._changed = asyncio.Event()
        """The bandwidth is another, or the target has said something."""
        self._ran = True
        """Whether the guest ran when it was stopped to be moved."""
        self._starts = True
        """Whether a guest that comes may run."""
        self._addresses: list[Info] = []
        self._listening = contextlib.ExitStack()
        self._strangers = 0
        self._taking = False
        self._forget = server.departures.announced.connect(self._announced)
        if incoming is not None:
            self.state = RunState.INMIGRATE
            guest.pause()
            guest.set_incoming(True)
        flags = [Parameter(name, "boolean", optional=True) for name in ("blk", "inc", "detach", "resume")]
        commands = (
            Command("query-status", self.query_status),
            Command("stop", self.stop),
            Command("cont", self.cont),
            Command("query-name", lambda: {"name": guest.name} if guest.name else {}),
            Command("query-uuid", lambda: {"UUID": str(guest.uuid or uuid.UUID(int=0))}),
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
                    Unsigned("max-bandwidth", optional=True),
                    Unsigned("downtime-limit", optional=True),
                ),
            ),
            Command("migrate", self.migrate, (Parameter("uri"), *flags)),
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
        self._listening.close()
        await self._tasks.aclose()

    # commands: the guest

    def query_status(self) -> Info:
        """Whether the guest runs."""
        return {"status": self.state.value, "singlestep": False, "running": self.state is RunState.RUNNING}

    def stop(self) -> Info:
        """Let the guest stand still."""
        self._starts = False
        if self.state is RunState.RUNNING:
            self._stop(RunState.PAUSED)
        return {}

    def cont(self) -> Info:
        """Let the guest go on."""
        if self.state is RunState.FINISH_MIGRATE:
            raise CommandError("Migration is not finalized yet")
        self._starts = True
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
        if self._addresses:
            found["socket-address"] = self._addresses
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
            if other := entry.keys() - {"capability", "state"}:
                raise CommandError(f"Parameter '{name}.{min(other)}' is unexpected")
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
        if downtime_limit is not None and not 0 <= downtime_limit <= MAX_DOWNTIME:
            raise CommandError("Parameter 'downtime_limit' expects an integer in the range of 0 to (2000 * 1000) ms")
        self._bandwidth = self._bandwidth if max_bandwidth is None else max_bandwidth % (1 << 64)
        self._downtime = self._downtime if downtime_limit is None else downtime_limit
        self._changed.set()
        return {}

    def migrate(self, uri: str, resume: bool = False, **_: bool) -> Info:
        """Move the guest to the host that listens there."""
        if resume:
            raise CommandError("Cannot resume if there is no paused migration")
        if self.state is RunState.INMIGRATE:
            raise CommandError("Guest is waiting for an incoming migration")
        if self.status in _UNDER_WAY:
            raise CommandError("There's a migration process in progress")
        if self.state in (RunState.POSTMIGRATE, RunState.FINISH_MIGRATE):
            raise CommandError("Can't migrate the vm that was paused due to previous migration")
        with _refusing():
            address = Address.parse(uri, "Parameter 'uri' expects a valid migration protocol")
        self._error, self._incoming, self._given = "", None, False
        self._sent = self._remaining = self._rounds = self._dirtied = 0
        self._began = _now()
        self._set(Status.SETUP)
        self._moving = self._spawn(self._move(address))
        self._moving.add_done_callback(self._moved)
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
        if self._addresses:
            raise CommandError("The incoming migration has already been started")
        with _refusing():
            address = Address.parse(uri, f"unknown migration protocol: {uri}")
            self._set(Status.SETUP)
            self._addresses = await address.listen(self._accept, self._listening)
        return {}

    # the source

    async def _move(self, address: Address) -> None:
        try:
            await self._send_all(address)
        except asyncio.CancelledError:
            if not self._given:
                raise
            self._complete()
        except (OSError, CarawayError, TimeoutError) as error:
            self._error = str(error) or type(error).__name__
            log.warning("the migration to %s failed: %s", address, self._error)
            self._stay(Status.FAILED)
        else:
            self._complete()

    def _moved(self, moving: asyncio.Task[None]) -> None:
        """A task that is cancelled before it begins cannot say so itself."""
        if moving.cancelled():
            self._stay(Status.CANCELLED)

    def _complete(self) -> None:
        self._took, self._total_time = _now() - self._stopped_at, _now() - self._began
        self.state = RunState.POSTMIGRATE
        self._set(Status.COMPLETED)

    def _stay(self, status: Status) -> None:
        """As with QEMU, `failed` is told before RESUME and `cancelled` after it; then the server hears of it."""
        if status is Status.FAILED:
            self._say(status)
        if self.state is RunState.FINISH_MIGRATE:
            self.state = RunState.PAUSED
            if self._ran:
                self._resume()
        if status is not Status.FAILED:
            self._say(status)
        self._notify(Occurrence(status.value))

    async def _send_all(self, address: Address) -> None:
        memory, guest = self.guest.memory, self.guest
        try:
            async with asyncio.timeout(CONNECT_DEADLINE):
                reader, writer = await address.connect()
        except TimeoutError:
            raise LinkError(f"Failed to connect to '{address}' within {CONNECT_DEADLINE:g} s") from None
        answer = asyncio.ensure_future(reader.read(1))
        answer.add_done_callback(lambda _: self._changed.set())
        link = transfer.Link(writer, answer)
        try:
            writer.write(transfer.greeting(memory))
            memory.take_dirty()
            numbers = memory.used()
            self._next_round()
            self._set(Status.ACTIVE)
            while True:
                began, before = _now(), self._sent
                await self._send_pages(link, numbers)
                took = max(_now() - began, 0.001)
                numbers = memory.take_dirty()
                self._remaining, self._dirtied = len(numbers) * PAGE, int(len(numbers) / took)
                rate = (self._sent - before) / took
                rate = min(rate, self._bandwidth) if self._bandwidth else rate
                if self._remaining <= rate * self._downtime / 1000:
                    break
                self._next_round()
            self._stopped_at, self._ran = _now(), guest.running
            self._stop(RunState.FINISH_MIGRATE)
            if self._capabilities[_FENCE]:
                await self._wait_at_fence(link)
            self._next_round()
            # A viewer's window may have another size meanwhile: nothing may come between the last page and the devices.
            while numbers := [*dict.fromkeys([*numbers, *memory.take_dirty()])]:
                await self._send_pages(link, numbers)
                numbers = []
            await self._send(link, transfer.devices(guest.device_state()))
            async with asyncio.timeout(SILENCE):
                if await answer != transfer.LOADED:
                    raise ProtocolError("the target has not loaded the guest")
            # From here on the guest is the target's, whatever becomes of this connection.
            writer.write(transfer.run(self._ran))
            self._given = True
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    def _next_round(self) -> None:
        self._rounds += 1
        if self._capabilities["events"]:
            self.event("MIGRATION_PASS", {"pass": self._rounds})

    async def _wait_at_fence(self, link: transfer.Link) -> None:
        self._fence.clear()
        self._set(Status.PRE_SWITCHOVER)
        passing = asyncio.ensure_future(self._fence.wait())
        waiting: set[asyncio.Future[Any]] = {passing, link.answer}
        try:
            while not self._fence.is_set():
                await asyncio.wait(waiting, timeout=SILENCE / 4, return_when=asyncio.FIRST_COMPLETED)
                await self._send(link, transfer.pages(self.guest.memory, ()))
        finally:
            passing.cancel()
        self._set(Status.DEVICE)

    async def _send_pages(self, link: transfer.Link, numbers: list[int]) -> None:
        for at in range(0, len(numbers), transfer.MAX_PAGES):
            self._remaining = (len(numbers) - at) * PAGE
            await self._send(link, transfer.pages(self.guest.memory, numbers[at : at + transfer.MAX_PAGES]))
        self._remaining = 0

    async def _send(self, link: transfer.Link, data: bytes) -> None:
        began = _now()
        await link.send(data, SILENCE)
        self._sent += len(data)
        await asyncio.sleep(0)
        # A guest that stands still does not wait for the bandwidth.
        while self._bandwidth and self.state is not RunState.FINISH_MIGRATE:
            rest = began + len(data) / self._bandwidth - _now()
            if rest <= 0:
                break
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(rest, SILENCE / 4)):
                    await self._changed.wait()
            link.check()
            if rest > SILENCE / 4:
                await link.send(transfer.pages(self.guest.memory, ()), SILENCE)

    # the target

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._strangers >= MAX_STRANGERS or self.state is not RunState.INMIGRATE:
            writer.transport.abort()
            return
        self._strangers += 1
        self._spawn(self._take_guest(reader, writer))

    async def _take_guest(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        takes = False
        try:
            try:
                async with asyncio.timeout(GREETING_DEADLINE):
                    await transfer.read_greeting(reader, self.guest.memory)
            finally:
                self._strangers -= 1
            if self._taking or self.state is not RunState.INMIGRATE:
                raise LinkError("another guest is on its way here")
            self._taking = takes = True
            runs = await self._load(reader, writer)
        except (OSError, CarawayError, asyncio.IncompleteReadError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            log.warning("no guest came: %s", reason)
            if self.state is RunState.INMIGRATE and self._taking is takes:
                self._error = reason
                self._set(Status.FAILED)
        else:
            self.guest.set_incoming(False)
            self.state = RunState.PAUSED
            if runs and self._starts:
                self._resume()
            self._error, self._addresses = "", []
            self._listening.close()
            self._set(Status.COMPLETED)
        finally:
            if takes:
                self._taking = False
            writer.close()

    async def _load(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take the guest; gives whether it is to run. What was here is put back if it does not come in the end."""
        self._error = ""
        self._set(Status.ACTIVE)
        memory = Memory(self.guest.memory.pages * PAGE)
        while True:
            async with asyncio.timeout(SILENCE):
                kind, value = await transfer.read_record(reader, memory)
            if kind is transfer.Kind.RUN:
                raise ProtocolError("a record of kind RUN out of place")
            if kind is transfer.Kind.DEVICES:
                break
        before = self.guest.state()
        try:
            assert isinstance(value, bytes)
            self.guest.memory.load(memory.view)
            self.guest.restore_devices(value)
            writer.write(transfer.LOADED)
            async with asyncio.timeout(SILENCE):
                kind, value = await transfer.read_record(reader, memory)
            if kind is not transfer.Kind.RUN:
                raise ProtocolError(f"a record of kind {kind.name} out of place")
        except BaseException:
            self.guest.restore(before)
            raise
        return bool(value)

    # what is told

    def _announced(self, announcement: object) -> None:
        self._notify(Occurrence.TARGET_KNOWN)

    def _say(self, status: Status) -> None:
        self.status = status
        if self._capabilities["events"]:
            self._tell("MIGRATION", {"status": status.value}, notify=False)

    def _set(self, status: Status) -> None:
        self._say(status)
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


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """What is wrong with an address, as an answer."""
    try:
        yield
    except (EndpointError, LinkError) as error:
        raise CommandError(str(error)) from None


def _now() -> float:
    return time.monotonic()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
