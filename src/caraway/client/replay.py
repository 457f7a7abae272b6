"""A session whose server is a recording: its bytes go through the same client code as a socket's.

Each channel's link is answered by a server side in this process, with the recorded capabilities; behind it come the
recorded bytes, as fast as the channel takes them, and a PING at the end. Its PONG says that the channel has handled
everything. What the recorded server did in answer to its client cannot be changed: a client that asks for less than
that one gets the same.
"""

from __future__ import annotations

import asyncio
import importlib
import mmap
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import PathLike
from typing import IO, cast

from caraway.client.connection import Connection
from caraway.client.session import CHANNELS, Session, preload
from caraway.endpoint import Endpoint, endpoint_password
from caraway.errors import LinkError
from caraway.migration.offer import Offer, Policy
from caraway.wire.capabilities import Capabilities, CommonCapability
from caraway.wire.capture import CapturedConnection, load
from caraway.wire.constants import ChannelType, LinkErrorCode, Sender
from caraway.wire.fields import codec as layout
from caraway.wire.framing import FULL_HEADER, MINI_HEADER, pack_header
from caraway.wire.limits import MAX_MESSAGE_SIZE
from caraway.wire.link import ClientLink, LinkRequested, ServerLink, TicketReceived
from caraway.wire.messages.base import messages
from caraway.wire.messages.common import Ping, Pong
from caraway.wire.ticket import TicketKey

LAST_PING = 0x600D
"""Id of the PING behind a channel's last recorded message."""

PRELOADED = (
    *(f"caraway.codecs.{codec}" for codec in ("glz", "jpeg", "lz", "lz4", "quic")),
    "caraway.endpoint.uri",
    "caraway.wire.packing",
    "cryptography.hazmat.primitives.asymmetric.padding",
)
"""What a session imports when it first needs it, which is not to count as the cost of a replay."""


class Recording:
    """The server's side of a recorded session, unpacked and ready to play once; what plays it is imported."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Raises ProtocolError if the file is damaged or no capture."""
        preload(CHANNELS)
        for module in PRELOADED:
            importlib.import_module(module)
        for message in messages(ChannelType.DISPLAY, Sender.SERVER).values():
            layout(message)
        capture = load(path)
        self.path = capture.path
        self.finished = asyncio.Event()
        """Every display that was recorded, and every other channel that was linked, has handled its last message."""
        self._key = TicketKey.generate()
        self._payloads: dict[CapturedConnection, IO[bytes]] = {
            connection: tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
            for connection in capture.connections
            if connection.result == LinkErrorCode.OK
        }
        for connection, data in capture.payload(Sender.SERVER):
            self._payloads[connection].write(data)
        self.cut = [c.name for c, payload in self._payloads.items() if _cut(payload, c.mini)]
        """Channels whose connection ends within a message, which is left out."""
        self._missing = {connection for connection in self._payloads if connection.channel_type == ChannelType.DISPLAY}
        self._unplayed = list(self._payloads)

    def close(self) -> None:
        """Let go of what was unpacked."""
        for payload in self._payloads.values():
            payload.close()

    def link(self, type: ChannelType, id: int) -> _Server:
        """The server's end of the next connection of that channel. Raises LinkError if none is left."""
        for connection in self._unplayed:
            if (connection.channel_type, connection.channel_id) == (type, id):
                break
        else:
            raise LinkError(f"{self.path}: there is no other connection of {type.name.lower()} {id}")
        self._unplayed.remove(connection)
        self._missing.add(connection)
        payload = self._payloads[connection]
        payload.seek(0)
        return _Server(self, connection, payload, self._key)

    def played(self, connection: CapturedConnection) -> None:
        """The client has handled everything of one connection."""
        self._missing.discard(connection)
        if not self._missing:
            self.finished.set()


def _cut(payload: IO[bytes], mini: bool) -> bool:
    """Cut off a last message that is not whole; tells whether there was one."""
    size = payload.tell()
    if not size:
        return False
    header, end = MINI_HEADER if mini else FULL_HEADER, 0
    with mmap.mmap(payload.fileno(), size, access=mmap.ACCESS_READ) as data:
        while end + header.size <= size:
            body = header.unpack_from(data, end)[1 if mini else 2]
            if body > MAX_MESSAGE_SIZE:
                return False
            if end + header.size + body > size:
                break
            end += header.size + body
    payload.truncate(end)
    return end < size


@asynccontextmanager
async def replaying(recording: Recording) -> AsyncIterator[Session]:
    """A session with a recording for a server; await `recording.finished` within the session's life."""
    session = Session(
        _Dialer(recording),  # type: ignore[arg-type]
        CHANNELS,
        credentials=endpoint_password,
        policy=Policy(Offer.REFUSE),
        wants_client_mouse=True,
    )
    try:
        await session.start()
        yield session
    finally:
        await session.abort()


class _Dialer:
    """Links channels to a recording; see `caraway.client.dial.Dialer`."""

    def __init__(self, recording: Recording) -> None:
        self.endpoint = Endpoint.of("spice://recording:1")
        self._recording = recording

    async def dial(
        self, type: ChannelType, id: int, connection_id: int, capabilities: Capabilities, **_: object
    ) -> Connection:
        connection = Connection(f"{type.name.lower()} {id} of {self._recording.path}")
        _Wire(connection, self._recording.link(type, id))
        machine = ClientLink(connection_id, type, id, channel=capabilities, password="")
        await connection.link(machine)
        return connection


class _Server:
    """The server's end of one connection: the link, then the recorded bytes, then a PING."""

    def __init__(
        self, recording: Recording, connection: CapturedConnection, payload: IO[bytes], key: TicketKey
    ) -> None:
        self._recording = recording
        self._connection = connection
        self._payload: IO[bytes] | None = payload
        self._key = key
        self._link = ServerLink()
        self._pong = b""

    @property
    def linked(self) -> bool:
        return self._link.done

    def receive(self, data: bytes) -> bytes:
        """Take what the client sent; gives the answer of the link stage."""
        if self._link.done:
            if self._pong and data.endswith(self._pong):
                self._recording.played(self._connection)
            return b""
        self._link.receive(data)
        while (question := self._link.question) is not None:
            if isinstance(question, LinkRequested):
                common = self._connection.server_common
                if not self._connection.mini:
                    common = Capabilities(bit for bit in common if bit != CommonCapability.MINI_HEADER)
                self._link.accept(self._connection.server_channel, ticket_key=self._key, common=common)
            elif isinstance(question, TicketReceived):
                self._link.grant()
            else:
                self._link.deny()
        return self._link.data_to_send()

    def read_into(self, buffer: memoryview) -> int:
        """Put the next bytes there; gives how many, 0 at the end."""
        if self._payload is None:
            return 0
        count = cast(int, self._payload.readinto(buffer))  # type: ignore[attr-defined]
        if count:
            return count
        self._payload = None
        ping = Ping(LAST_PING, 0, b"").pack()
        message = pack_header(self._link.mini_header, Ping.id, len(ping), 0) + ping
        self._pong = Pong(LAST_PING, 0).pack()
        buffer[: len(message)] = message
        return len(message)


class _Wire(asyncio.Transport):
    """What a connection takes for its socket."""

    def __init__(self, connection: Connection, server: _Server) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._server = server
        self._closing = False
        self._feeding: asyncio.Handle | None = None
        connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        answer = self._server.receive(bytes(data))
        if answer:
            self._loop.call_soon(self._give, answer)

    def _give(self, data: bytes) -> None:
        if self._closing:
            return
        while data:
            buffer = cast(memoryview, self._connection.get_buffer(-1))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            data = data[count:]
            self._connection.buffer_updated(count)
        if self._server.linked:
            self.resume_reading()

    def _feed(self) -> None:
        self._feeding = self._loop.call_soon(self._feed)
        count = self._server.read_into(cast(memoryview, self._connection.get_buffer(-1)))
        if count:
            self._connection.buffer_updated(count)
        else:
            self.pause_reading()

    def pause_reading(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
            self._feeding = None

    def resume_reading(self) -> None:
        if self._feeding is None and not self._closing:
            self._feeding = self._loop.call_soon(self._feed)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.pause_reading()
            self._loop.call_soon(self._connection.connection_lost, None)

    def abort(self) -> None:
        self.close()
