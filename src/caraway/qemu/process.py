"""One QEMU as a child process: its QMP monitor, its serial line, its screen, and an end that leaves nothing behind.

QMP and the serial line are socket pairs whose other ends QEMU inherits: nothing to connect to, nothing to poll for, and
the death of QEMU is an event.
"""

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from caraway.errors import CarawayError, DeadlineError
from caraway.qemu.mailbox import Mailbox
from caraway.qemu.programs import find_program
from caraway.qemu.spice_options import SpiceOptions, SpiceValue

if TYPE_CHECKING:
    from qemu.qmp import EventListener, QMPClient

log = logging.getLogger(__name__)
T = TypeVar("T")

DEADLINE = 30.0
"""Seconds that a wait may take unless told otherwise; a busy machine boots the demo guest in a few."""

GRACE = 5.0
"""Seconds that QEMU gets to end by itself before it is killed."""

HISTORY = 10_000
"""Serial lines and QMP events that are kept; a guest may talk without end."""

LINE_LIMIT = 65536
"""Bytes after which a serial line is cut, should the guest never end one."""

STDERR_LIMIT = 4096
"""Bytes of QEMU's standard error that are kept to be quoted; the last ones tell why it ended."""

PORT_ATTEMPTS = 5
"""Starts with new ports when another program took one between choosing it and QEMU's binding it."""

INSTALL = (
    "apt-get install qemu-system-x86 (on Debian 13, Ubuntu 24.04 and later: "
    "apt-get install qemu-system-x86 qemu-system-modules-spice)"
)


class QemuError(CarawayError):
    """QEMU could not be started or has ended; quotes what it wrote to its standard error."""


class QmpError(QemuError):
    """QEMU refused a QMP command.

    kind: QMP's class of the error, `GenericError` or `CommandNotFound` for most.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Qemu:
    """A QEMU of one's own, to be used with `async with`.

    kernel, initrd, append: what to boot, as QEMU's options of these names; without a kernel the firmware's text screen.
    spice: options of `-spice` by QEMU's names (spec/qemu-host.md); True and False are on and off; `port` and `tls-port`
        may be "auto", which `port` is when nothing says where to listen; `unix=True` listens in `directory`. No SPICE
        server if None.
    vga: "std" or "qxl". memory: MiB. accelerator: QEMU's `-accel`. extra: more arguments.
    Starting raises MissingProgramError or QemuError.
    """

    def __init__(
        self,
        kernel: Path | str | None = None,
        *,
        initrd: Path | str | None = None,
        append: str | None = None,
        spice: Mapping[str, SpiceValue] | None = None,
        vga: str = "std",
        memory: int = 64,
        name: str = "caraway",
        accelerator: str = "tcg",
        extra: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.lines: deque[str] = deque(maxlen=HISTORY)
        """Everything the serial line said, oldest first."""
        self.spice: SpiceOptions | None = None
        """The SPICE server's options with the ports that were chosen, once started."""
        self._wanted_spice = spice
        self._boot = (("-kernel", kernel), ("-initrd", initrd), ("-append", append))
        self._machine = ["-accel", accelerator, "-m", str(memory), "-name", name.replace(",", ",,")]
        self._machine += ["-device", "qxl-vga"] if vga == "qxl" else ["-vga", vga]
        self._extra = tuple(extra)
        self._directory: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._qmp: QMPClient | None = None
        self._sockets: tuple[socket.socket, ...] = ()
        self._watching: asyncio.Task[None] | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._prepare()

    def _prepare(self) -> None:
        self._ending: QemuError | None = None
        self._stderr = bytearray()
        self._serial = _SerialLine(self._hear)
        self._said: Mailbox[str] = Mailbox(HISTORY)
        self._events: Mailbox[Mapping[str, Any]] = Mailbox(HISTORY)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def directory(self) -> Path:
        """A private folder that lives as long as the process, for its sockets and files."""
        assert self._directory is not None, "QEMU is not started"
        return self._directory

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None, "QEMU is not started"
        return self._process.pid

    @property
    def client(self) -> "QMPClient":
        """The monitor's connection, for what `qmp` and `wait_event` do not offer."""
        assert self._qmp is not None, "QEMU is not started"
        return self._qmp

    def spice_uri(self, host: str | None = None) -> str:
        """URI that a viewer connects to; `host` stands in for the address that QEMU listens on."""
        assert self.spice is not None, "QEMU has no SPICE server"
        return self.spice.uri(host)

    async def start(self) -> None:
        """Start QEMU and return once its monitor answers; the guest has begun to run."""
        program = find_program(["qemu-system-x86_64"], "run a virtual machine", INSTALL)
        for attempts_left in reversed(range(PORT_ATTEMPTS)):
            try:
                return await self._launch(program)
            except BaseException as error:
                await self.aclose()
                if not (isinstance(error, QemuError) and self._lost_port() and attempts_left):
                    raise
                log.info("%s: another program took the port chosen for SPICE, choosing again", self.name)
                self._prepare()
        return None

    def _lost_port(self) -> bool:
        if self.spice is None or not self.spice.has_chosen_ports:
            return False
        return b"SPICE sockets" in self._stderr or b"binding socket" in self._stderr

    async def _launch(self, program: str) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="caraway-qemu-"))
        if self._wanted_spice is not None:
            self.spice = SpiceOptions.complete(self._wanted_spice, self._directory / "spice")
        monitor, qemu_monitor = socket.socketpair()
        serial, qemu_serial = socket.socketpair()
        self._sockets = (monitor, serial)
        with qemu_monitor, qemu_serial:
            inherited = (qemu_monitor.fileno(), qemu_serial.fileno())
            self._process = await asyncio.create_subprocess_exec(
                program,
                *self._arguments(*inherited),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=inherited,
            )
        await asyncio.get_running_loop().create_connection(lambda: self._serial, sock=serial)
        await self._connect_monitor(monitor)

    def _arguments(self, monitor: int, serial: int) -> list[str]:
        arguments = ["-nodefaults", "-no-user-config", "-no-reboot", "-machine", "pc,usb=off,vmport=on", *self._machine]
        arguments += ["-chardev", f"socket,id=caraway-qmp,fd={monitor}", "-mon", "chardev=caraway-qmp,mode=control"]
        arguments += ["-chardev", f"socket,id=caraway-com1,fd={serial}", "-serial", "chardev:caraway-com1"]
        for option, value in self._boot:
            arguments += [] if value is None else [option, str(value)]
        arguments += ["-display", "none"]
        if self.spice is not None:
            arguments += ["-spice", self.spice.argument]
        return [*arguments, *self._extra]

    async def _connect_monitor(self, monitor: socket.socket) -> None:
        from qemu.qmp import EventListener, QMPClient, QMPError

        # The library reports to its log what it also raises; without a handler Python would print that.
        logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
        self._qmp = QMPClient(self.name)
        listener = EventListener()
        self._qmp.register_listener(listener)
        assert self._process is not None
        self._watching = asyncio.create_task(self._watch(self._process, self._qmp, listener))
        self._pumping = asyncio.create_task(self._pump(listener))
        try:
            await self._within(DEADLINE, self._qmp.connect(monitor), "QMP greeting")
        except QMPError as error:
            raise await self._why_ended(str(error)) from error

    async def _pump(self, listener: "EventListener") -> None:
        while True:
            self._events.put(await listener.get())

    async def _watch(self, process: asyncio.subprocess.Process, qmp: "QMPClient", listener: "EventListener") -> None:
        """Follow QEMU to its end; what it said last is delivered before its end is announced."""
        from qemu.qmp import Runstate

        assert process.stderr is not None
        while chunk := await process.stderr.read(STDERR_LIMIT):
            self._stderr += chunk
            del self._stderr[:-STDERR_LIMIT]
        status = await process.wait()
        await self._serial.closed.wait()
        while qmp.runstate in (Runstate.CONNECTING, Runstate.RUNNING):
            await qmp.runstate_changed()
        while not listener.empty():
            self._events.put(await listener.get())
        how = f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
        said = self._stderr.decode(errors="replace").strip() or "(it said nothing)"
        self._ending = QemuError(f"{self.name}: QEMU {how}: {said}")
        log.debug("%s", self._ending)
        self._said.end(self._ending)
        self._events.end(self._ending)

    async def _why_ended(self, otherwise: str) -> QemuError:
        if self._watching is not None:
            await asyncio.wait([self._watching], timeout=GRACE)
        return self._ending or QemuError(f"{self.name}: QEMU's monitor failed: {otherwise}")

    async def _within(self, seconds: float, awaitable: Awaitable[T], what: str) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await awaitable
        except TimeoutError:
            last = list(self.lines)[-5:]
            raise DeadlineError(f"{self.name}: {what}: not within {seconds:g} s; last serial lines: {last}") from None

    async def qmp(self, command: str, /, **arguments: Any) -> Any:
        """Execute a QMP command and return its value.

        Raises QmpError when QEMU refuses it, QemuError when QEMU has ended, DeadlineError.
        """
        from qemu.qmp import ExecuteError, QMPError

        assert self._qmp is not None, "QEMU is not started"
        try:
            return await self._within(DEADLINE, self._qmp.execute(command, arguments), command)
        except ExecuteError as error:
            raise QmpError(f"{self.name}: {command}: {error}", error.error_class) from error
        except QMPError as error:
            raise await self._why_ended(str(error)) from error

    async def wait_event(self, name: str, *, within: float = DEADLINE, **data: object) -> Mapping[str, Any]:
        """Return the data of the next QMP event of that name whose members equal `data`; each is given once."""

        def wants(event: Mapping[str, Any]) -> bool:
            members = event.get("data", {})
            return event["event"] == name and all(members.get(key) == value for key, value in data.items())

        event = await self._within(within, self._events.expect(wants), f"event {name} {data or ''}")
        return dict(event.get("data", {}))

    async def screendump(self, format: str = "png") -> bytes:
        """Return what the guest's screen holds as the bytes of a PNG file, or a binary PPM with "ppm"."""
        with tempfile.NamedTemporaryFile(dir=self.directory) as file:
            await self.qmp("screendump", filename=file.name, format=format)
            return file.read()

    def _hear(self, line: str) -> None:
        self.lines.append(line)
        self._said.put(line)

    def send(self, line: str) -> None:
        """Give the guest one line on its serial port."""
        if self._ending is not None:
            raise self._ending
        self._serial.send(line)

    async def wait_for(self, prefix: str, within: float = DEADLINE) -> str:
        """Return the first serial line with that prefix that was not returned before; other lines stay for later."""
        heard = self._said.expect(lambda line: line.startswith(prefix))
        return await self._within(within, heard, f"a serial line {prefix}")

    async def ask(self, line: str, prefix: str = "@", within: float = DEADLINE) -> str:
        """Send a line and return the next one with that prefix, ignoring what was said before."""
        answer = self._said.expect(lambda answer: answer.startswith(prefix), fresh=True)
        self.send(line)
        return await self._within(within, answer, f"{line}: a serial line {prefix}")

    async def wait_ended(self, within: float = DEADLINE) -> int:
        """Wait until QEMU has ended by itself and return its exit status, negative for a signal."""
        assert self._process is not None, "QEMU is not started"
        return await self._within(within, self._process.wait(), "QEMU's end")

    async def aclose(self) -> None:
        """End QEMU, by force if it has to be, and remove its folder. May be called again."""
        try:
            await self._end_process()
            if self._watching is not None:
                await self._watching
        finally:
            if self._pumping is not None:
                self._pumping.cancel()
            if self._directory is not None:
                shutil.rmtree(self._directory, ignore_errors=True)
        if self._qmp is not None:
            with contextlib.suppress(Exception):
                await self._qmp.disconnect()
        for unclaimed in self._sockets:
            unclaimed.close()

    async def _end_process(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            process.terminate()
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            log.warning("%s: QEMU does not end when asked to, killing it", self.name)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


class _SerialLine(asyncio.Protocol):
    """Cuts what the serial port says into lines."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        self.closed = asyncio.Event()
        self._hear = hear
        self._rest = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_LIMIT:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._hear(line.decode(errors="replace").rstrip("\r"))

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()

    def send(self, line: str) -> None:
        assert self._transport is not None, "QEMU is not started"
        self._transport.write(line.encode() + b"\n")
