"""The control socket: a Unix socket where the server's owner asks and orders by QMP, as at a monitor of QEMU."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from caraway.errors import ProtocolError
from caraway.server.commands import (
    SpiceCommands,
    auth,
    channel_info,
    connection_info,
    hand_over_event,
    migration_events,
    own_version,
)
from caraway.server.qmp import Command, CommandError, Dialogue, Request, answer, event, refusal
from caraway.server.tasks import Tasks
from caraway.server.unix_socket import UnixSocket

if TYPE_CHECKING:
    from caraway.migration.source_events import (
        Report,
    )
    from caraway.server.channel import ServerChannel
    from caraway.server.connection import Connection
    from caraway.server.server import Server

log = logging.getLogger(__name__)

MAX_CLIENTS = 32
"""A tool asks and leaves; what stays is an orchestrator or two."""

READ_SIZE = 4096
"""Bytes taken from a client before others get their turn."""

MAX_UNREAD = 16 << 20
"""Bytes that may wait for a client: events of thousands of channels, and the state of some that are handed over."""

READ_DEADLINE = 30.0
"""Seconds that a client may let an answer wait before it loses its connection."""

CLOSE_DEADLINE = 1.0
"""Seconds that the last answers may take to leave."""


class ControlSocket:
    """Serves QMP at a path for its owner only: `async with ControlSocket(server, path, quit=stop): ...`.

    quit: called when a client orders the end of the program. commands: more of them, by their names.
    Starting raises LinkError if the path cannot be had.
    """

    def __init__(
        self,
        server: Server,
        path: str | Path,
        *,
        quit: Callable[[], None],
        commands: Mapping[str, Command] | None = None,
    ) -> None:
        self.path = Path(path)
        self._server, self._quit = server, quit
        own = {**SpiceCommands(server).table, "quit": Command("quit", self._quit_command)}
        self._commands = {**own, **(commands or {})}
        self._package = f"caraway {own_version()}"
        self._clients: set[_Client] = set()
        self._tasks = Tasks()
        self._places: dict[Connection, tuple[Mapping[str, object], Mapping[str, object]]] = {}
        self._ending = contextlib.ExitStack()
        self._listening: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Listen."""
        unix = UnixSocket(self.path)
        self._ending.callback(unix.close)
        self._listening = await asyncio.start_unix_server(self._accept, sock=unix.socket, limit=READ_SIZE)
        server = self._server
        self._ending.callback(server.connected.connect(self._connected))
        self._ending.callback(server.initialized.connect(self._initialized))
        self._ending.callback(server.disconnected.connect(self._disconnected))
        self._ending.callback(server.departures.reported.connect(self._migrated))
        self._ending.callback(server.departures.handed_over.connect(lambda given: self.emit(*hand_over_event(given))))

    async def aclose(self) -> None:
        """Listen no more, let the last answers leave, and remove the path."""
        if self._listening is not None:
            self._listening.close()
        await self._tasks.aclose()
        self._ending.close()

    def emit(self, name: str, data: Mapping[str, object] | None = None) -> None:
        """Tell every client that something has happened."""
        said = event(name, data, time.time())
        for client in list(self._clients):
            if client.dialogue.negotiated:
                client.send(said)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            log.warning("%s: a client is refused: there are %d", self.path, len(self._clients))
            writer.transport.abort()
            return
        client = _Client(Dialogue(self._commands, self._package), reader, writer)
        self._clients.add(client)
        self._tasks.spawn(self._serve(client))

    async def _serve(self, client: _Client) -> None:
        try:
            await client.run()
        except TimeoutError:
            log.warning("%s: a client does not read what it asked for", self.path)
        except OSError as error:
            log.debug("%s: %s", self.path, error)
        finally:
            self._clients.discard(client)
            await client.aclose()

    def _quit_command(self) -> Mapping[str, object]:
        log.info("told to quit")
        self.emit("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
        self._quit()
        return {}

    def _connected(self, connection: Connection) -> None:
        # A closed TLS connection knows its addresses no more.
        server, client = self._places[connection] = connection_info(connection)
        self.emit("SPICE_CONNECTED", {"server": server, "client": client})

    def _initialized(self, channel: ServerChannel) -> None:
        server, client = self._places.get(channel.connection) or connection_info(channel.connection)
        about = {"server": {**server, "auth": auth(self._server)}, "client": channel_info(channel, client)}
        self.emit("SPICE_INITIALIZED", about)

    def _migrated(self, report: Report) -> None:
        for name, data in migration_events(report):
            self.emit(name, data or None)

    def _disconnected(self, connection: Connection, channel: ServerChannel | None) -> None:
        if place := self._places.pop(connection, None):
            server, client = place
            self.emit("SPICE_DISCONNECTED", {"server": server, "client": client})


class _Client:
    """Somebody at the control socket."""

    def __init__(self, dialogue: Dialogue, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dialogue = dialogue
        self._reader, self._writer = reader, writer

    def send(self, said: bytes) -> None:
        """Queue what is said. Who lets too much of it wait loses the connection."""
        transport = self._writer.transport
        if transport.is_closing():
            return
        transport.write(said)
        if transport.get_write_buffer_size() > MAX_UNREAD:
            log.warning("a control client that does not read is cut off")
            transport.abort()

    async def run(self) -> None:
        """Answer until the client leaves. Raises OSError and TimeoutError for what ends it otherwise."""
        self.send(self.dialogue.greeting())
        try:
            while data := await self._reader.read(READ_SIZE):
                for item in self.dialogue.receive(data):
                    self.send(item if isinstance(item, bytes) else await self._execute(item))
                    async with asyncio.timeout(READ_DEADLINE):
                        await self._writer.drain()
                await asyncio.sleep(0)
        except ProtocolError as error:
            self.send(refusal(CommandError(str(error))))

    async def _execute(self, request: Request) -> bytes:
        try:
            value = request.command.execute(**request.arguments)
            if inspect.isawaitable(value):
                value = await value
        except CommandError as error:
            return refusal(error, request.id)
        return answer(value, request.id)

    async def aclose(self) -> None:
        """Let what was said leave, within a deadline, and close."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_DEADLINE):
                await self._writer.wait_closed()
        except OSError:
            self._writer.transport.abort()
