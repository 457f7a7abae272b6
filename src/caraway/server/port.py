"""The channels that are pipes to the guest: port, webdav and usbredir (spec/messages.md 8, 9)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from caraway.errors import CodecError, LinkError, ProtocolError
from caraway.server.channel import ServerChannel
from caraway.server.connection import READ_SIZE, Connection
from caraway.wire.capabilities import Capabilities, SpicevmcCapability
from caraway.wire.constants import ChannelType
from caraway.wire.fields import Buffer
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import MigrateFlags
from caraway.wire.messages.handlers import handles
from caraway.wire.messages.migrate_data import BLOB_VERSION, NO_TOKENS, CharDevice, SpicevmcMigrateData
from caraway.wire.messages.spicevmc import (
    ClientPortEvent,
    CompressedData,
    Data,
    DataCompression,
    PortEvent,
    PortEventType,
    PortInit,
)

if TYPE_CHECKING:
    from caraway.server.guest import Guest, Port
    from caraway.server.viewer import Viewer
    from caraway.wire.messages.migrate_data import MigrateDataBlob

MAX_DATA = 64 << 10
"""Bytes of the stream that one message to a client carries."""

MIN_COMPRESSED = 1000
"""Bytes that are not worth compressing: the deployed peers' own limit."""

MAX_UNCOMPRESSED = 1 << 20
"""Bytes that a compressed message of a client may expand to: deployed clients send 64 KiB."""

FLOODED = 256 << 10
"""Bytes waiting for the viewer at which the guest is asked to stop."""

MAX_WAITING = 32 << 20
"""Bytes that may wait if the guest does not stop: it has then written very much at once."""


class SpicevmcChannel(ServerChannel):
    """Bytes to and from one of the guest's ports; the channel's id is the port's place among those of its kind."""

    capabilities = Capabilities([SpicevmcCapability.DATA_COMPRESS_LZ4])
    max_size = MAX_UNCOMPRESSED
    read_size = READ_SIZE
    interactive = True
    exclusive = True
    migrate_flags = MigrateFlags.NEED_FLUSH | MigrateFlags.NEED_DATA_TRANSFER

    @classmethod
    def ids(cls, guest: Guest) -> Sequence[int]:
        return range(len(cls._ports(guest)))

    @classmethod
    def _ports(cls, guest: Guest) -> list[Port]:
        return [port for port in guest.ports if port.kind is cls.channel_type]

    def __init__(self, viewer: Viewer, id: int, connection: Connection) -> None:
        super().__init__(viewer, id, connection)
        self.port = self._ports(viewer.guest)[id]
        self._compresses = (
            SpicevmcCapability.DATA_COMPRESS_LZ4 in connection.client_capabilities and not connection.local
        )
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._resumed = asyncio.Event()
        self._undelivered = bytearray()
        """Of the viewer, for the guest at the target of a migration."""

    def start(self) -> None:
        port = self.port
        self.flow.on_room = self._pump
        self.listen(port.output, self._output)
        self.listen(port.resumed, self._resumed.set)
        self.listen(self.guest.ports_changed, self._ports_changed)
        self._connect(True)

    def restore(self, state: MigrateDataBlob | None) -> None:
        assert isinstance(state, SpicevmcMigrateData)
        self.start()
        if state.device.write_data:
            self.port.received(bytes(state.device.write_data))

    def prepare(self) -> None:
        self._resumed.set()
        self._pump()

    def state(self) -> bytes:
        written = bytes(self._undelivered)
        device = CharDevice(BLOB_VERSION, True, NO_TOKENS, NO_TOKENS, 0, written)
        return SpicevmcMigrateData(BLOB_VERSION, device).pack()

    def closed(self) -> None:
        if self.port.flooded:
            self.port.flooded = False
            self.port.drained()
        self._connect(False)

    def _connect(self, connected: bool) -> None:
        if self.port.connected != connected:
            self.port.connected = connected
            self.port.viewer_opening()

    def _ports_changed(self) -> None:
        if self.port not in self.guest.ports:
            raise LinkError(f"{self.name}: the guest has no port {self.port.name} any more")

    def _output(self, data: bytes) -> None:
        view = memoryview(data)
        self._waiting.extend(view[at : at + MAX_DATA] for at in range(0, len(view), MAX_DATA))
        self._waiting_bytes += len(view)
        self._pump()
        if self._waiting_bytes > MAX_WAITING:
            raise LinkError(f"{self.name}: the client does not read; {self._waiting_bytes} bytes wait")
        if self._waiting_bytes > FLOODED:
            self.port.flooded = True

    def _pump(self) -> None:
        while self._waiting and self.flow.room:
            piece = self._waiting.popleft()
            self._waiting_bytes -= len(piece)
            self.send(self._data(bytes(piece)))
        if self.port.flooded and self._waiting_bytes <= FLOODED // 2:
            self.port.flooded = False
            self.port.drained()

    def _data(self, data: bytes) -> Message:
        if self._compresses and len(data) > MIN_COMPRESSED:
            import lz4.block

            packed: bytes = lz4.block.compress(data, store_size=False)
            if len(packed) < len(data):
                return CompressedData(DataCompression.LZ4, len(data), packed)
        return Data(data)

    async def _deliver(self, data: bytes) -> None:
        """Give bytes to the guest, once it takes them."""
        while self.port.paused and not self.departed:
            self._resumed.clear()
            await self._resumed.wait()
        if self.departed:
            self._undelivered += data
        else:
            self.port.received(data)

    @handles(Data)
    async def _client_data(self, message: Data) -> None:
        await self._deliver(bytes(message.data))

    @handles(CompressedData)
    async def _client_compressed_data(self, message: CompressedData) -> None:
        if message.type != DataCompression.LZ4:
            raise ProtocolError(f"{self.name}: COMPRESSED_DATA of type {message.type}")
        await self._deliver(_decompressed(message.data, message.uncompressed_size or 0))


class UsbredirChannel(SpicevmcChannel):
    """A device of the viewer's that the guest uses; both ends speak the protocol of usbredir in it."""

    channel_type = ChannelType.USBREDIR


class PortChannel(SpicevmcChannel):
    """A named stream, for whatever viewer and guest have agreed on."""

    channel_type = ChannelType.PORT

    def start(self) -> None:
        self.send(PortInit(self.port.name, self.port.opened))
        self.listen(self.port.opening, self._port_opening)
        self.listen(self.port.broken, self._port_broken)
        super().start()

    def _port_opening(self) -> None:
        self._tell(PortEventType.OPENED if self.port.opened else PortEventType.CLOSED)

    def _port_broken(self) -> None:
        self._tell(PortEventType.BREAK)

    def _tell(self, event: PortEventType) -> None:
        """Tell the client, after what the guest has written before."""
        while self._waiting:
            piece = self._waiting.popleft()
            self._waiting_bytes -= len(piece)
            self.send(self._data(bytes(piece)))
        self.send(PortEvent(event))

    @handles(ClientPortEvent)
    def _client_event(self, message: ClientPortEvent) -> None:
        if message.event == PortEventType.BREAK:
            self.port.viewer_broke()
        elif message.event in (PortEventType.OPENED, PortEventType.CLOSED):
            self._connect(message.event == PortEventType.OPENED)


class WebdavChannel(PortChannel):
    """The port of a shared folder."""

    channel_type = ChannelType.WEBDAV


def _decompressed(data: Buffer, size: int) -> bytes:
    import lz4.block

    if not 0 < size <= MAX_UNCOMPRESSED:
        raise CodecError(f"LZ4: block that expands to {size} bytes, limit {MAX_UNCOMPRESSED}")
    try:
        found: bytes = lz4.block.decompress(data, uncompressed_size=size)
    except lz4.block.LZ4BlockError as error:
        raise CodecError(f"LZ4: {error}") from None
    if len(found) != size:
        raise CodecError(f"LZ4: block expands to {len(found)} bytes, {size} were said")
    return found
