"""The guest's agent, shared by all viewers (spec/messages.md 10).

Viewers speak in turn, a whole message each. What the agent says goes to every viewer, unless it is meant for one:
contents of a clipboard go to who asked for them, the state of a file to who sends it. Capabilities are the union of
those of the viewers; layouts that depend on them are translated.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from caraway.errors import ProtocolError
from caraway.server.agent_client import USUAL, AgentClient
from caraway.server.agent_clipboard import CLIPBOARD_TYPES, Clipboards
from caraway.server.agent_parts import AgentPort, Chunks, Part, Parts, chunks, message_bytes
from caraway.server.agent_stand_in import StandIn
from caraway.server.agent_transfers import TRANSFER_TYPES, Transfers, status_for
from caraway.server.guest import MAX_SIDE, Guest, Monitor, Port
from caraway.server.signal import Signal
from caraway.wire.limits import MAX_AGENT_CHUNK
from caraway.wire.messages.agent import (
    AgentCapability,
    AgentMessage,
    AnnounceCapabilities,
    ClientDisconnected,
    Clipboard,
    FileXferResult,
    FileXferStart,
    FileXferStatus,
    GraphicsDevice,
    GraphicsDeviceInfo,
    MonitorsConfig,
    MonitorsConfigFlags,
    MouseState,
    MouseStateButtons,
    unpack_agent,
)
from caraway.wire.messages.inputs import MouseButtons

if TYPE_CHECKING:
    from caraway.wire.messages.migrate_data import MainMigrateData

log = logging.getLogger(__name__)

MAX_SERVER_MESSAGES = 64
"""Pointer positions and the like that wait for an agent that does not read; older ones are lost."""

MAX_OWN_MESSAGES = 4096
"""Answers and cancellations that wait for it: a thousand files of a viewer that has left."""

SERVERS_OWN = frozenset(message.number for message in (MouseState, ClientDisconnected, GraphicsDeviceInfo))
"""Types that are not for viewers to send."""

COPY_PASTE = (
    1 << AgentCapability.CLIPBOARD | 1 << AgentCapability.CLIPBOARD_BY_DEMAND | 1 << AgentCapability.CLIPBOARD_SELECTION
)
OWN_LAYOUTS = 1 << AgentCapability.CLIPBOARD_SELECTION | 1 << AgentCapability.CLIPBOARD_GRAB_SERIAL
"""What the agent may always use: the server translates it for viewers that cannot."""


class Agent:
    """The agent of one guest, which may come and go.

    copy_paste, file_transfer: False keeps viewers from it.
    """

    def __init__(self, guest: Guest, *, copy_paste: bool = True, file_transfer: bool = True) -> None:
        self.guest, self.copy_paste, self.file_transfer = guest, copy_paste, file_transfer
        self.port: Port | None = None
        """That of the agent which is there."""
        self.changed: Signal[[]] = Signal()
        """`connected` or `gives_pointer` is another now."""
        self._clients: list[AgentClient] = []
        self._clipboards = Clipboards(self)
        self._transfers = Transfers(self)
        self._chunks = Chunks()
        self._parts = Parts()
        self._server_parts = Parts()
        self._from_server: deque[AgentMessage] = deque(maxlen=MAX_SERVER_MESSAGES)
        self._own: deque[bytes] = deque(maxlen=MAX_OWN_MESSAGES)
        """Messages to the agent in the viewers' stream that the server has made."""
        self._broken = False
        self._pumping = False
        self._stand_in: Port | None = None
        self._disconnects: list[Callable[[], None]] = []
        self._forget()

    def attach(self) -> None:
        """The server begins: listen to the guest's port."""
        if self.guest.agent is not None:
            self._listen(self.guest.agent)
            self._disconnects.append(self.guest.agent.opening.connect(self._opening))
            _set_connected(self.guest.agent, True)
        if self.guest.fits:
            self._stand_in = StandIn().port
            self._listen(self._stand_in)
        self.port = self._there()

    def _listen(self, port: Port) -> None:
        self._disconnects += [
            port.output.connect(lambda data: self._said(port, data)),
            port.resumed.connect(self.pump),
        ]

    def _forget(self) -> None:
        self._capabilities = 0
        self._announced = 0
        self._speaker: AgentClient | None = None
        self._missing = 0
        """Bytes that the message lacks which the agent is being told."""
        self._targets: list[AgentClient] = []
        self._own.clear()
        self._from_server.clear()
        for stream in (self._chunks, self._parts, self._server_parts, self._clipboards, self._transfers):
            stream.reset()

    @property
    def connected(self) -> bool:
        """Whether there is an agent."""
        return self.port is not None

    @property
    def gives_pointer(self) -> bool:
        """Whether the agent takes positions of the pointer."""
        return self.connected and bool(self._capabilities >> AgentCapability.MOUSE_STATE & 1)

    @property
    def agreed(self) -> int:
        """Capabilities that layouts of messages to and from the agent depend on."""
        return self._capabilities & self._announced

    @property
    def flooded(self) -> bool:
        """Whether the guest was asked to stop."""
        return self.port is not None and self.port.flooded

    def place_pointer(self, display: int, x: int, y: int, buttons: MouseButtons) -> None:
        """The pointer is at a place of a display, these buttons held; a step of the wheel: pressed, released."""
        if not self.gives_pointer:
            return
        state = MouseState(x, y, MouseStateButtons(buttons << 1), display)
        last = self._from_server[-1] if self._from_server else None
        if isinstance(last, MouseState) and last.buttons == state.buttons:
            self._from_server.pop()
        self._from_server.append(state)
        self.pump()

    def close(self) -> None:
        """The server ends."""
        for disconnect in self._disconnects:
            disconnect()
        self._disconnects.clear()
        self.port = self._stand_in = None
        if self.guest.agent is not None:
            _set_connected(self.guest.agent, False)

    # migration

    @property
    def between_messages(self) -> bool:
        """Whether the agent is not in the middle of a message."""
        streams = self._parts, self._server_parts
        return self._chunks.between_chunks and all(parts.between_messages for parts in streams)

    def take_over(self, client: AgentClient, state: MainMigrateData) -> None:
        """Go on where the source of a migration was with a viewer. Raises ProtocolError if that cannot be.

        What either side can is not told by the source: both are asked, and until they have answered they are taken for
        what nearly all are.
        """
        if self.port is not None and state.agent.write_data:
            self.port.received(bytes(state.agent.write_data))
        if state.to_agent_remaining:
            self._speaker, self._missing = client, state.to_agent_remaining
        if self.between_messages:
            self._chunks.resume(state.chunk_header_size, state.chunk_port or AgentPort.CLIENT, state.chunk_size)
            left = state.from_agent_remaining if state.msg_header_done else 0
            self._parts.resume(bytes(state.msg_header), left)
            if left:
                self._targets = [client]
                client.resume_hearing(left)
        self._capabilities = self._capabilities or USUAL
        self._announced |= OWN_LAYOUTS | USUAL
        self.say(AnnounceCapabilities(True, [self._announced]))
        client.say(AnnounceCapabilities(True, [self._capabilities]))
        self.pump()
        self.changed()

    # viewers

    def join(self, client: AgentClient) -> None:
        """A viewer has come."""
        self._clients.append(client)

    def leave(self, client: AgentClient) -> None:
        """A viewer has left: the message that it was telling is filled up, so that the agent stays in step."""
        if client not in self._clients:
            return
        self._clients.remove(client)
        if client in self._targets:
            self._targets.remove(client)
        if self._speaker is client:
            self._speaker = None
        if client.started:
            self._clipboards.leave(client)
            self._transfers.leave(client)
            if not any(other.started for other in self._clients):
                self._from_server.append(ClientDisconnected())
        self.relieve()
        self.pump()

    def listeners(self) -> list[AgentClient]:
        """The viewers that have begun to talk to the agent."""
        return [client for client in self._clients if client.started]

    def started(self, client: AgentClient) -> None:
        """A viewer begins to talk to the agent."""
        devices = [
            GraphicsDevice(channel, 0, display.device_display_id, display.device_address)
            for channel, display in enumerate(self.guest.displays)
            if display.device_address
        ]
        if devices:
            self._from_server.append(GraphicsDeviceInfo(devices))
            self.pump()

    def waits_for(self, client: AgentClient) -> bool:
        """Whether a viewer stays in the middle of a message while others want to speak."""
        return self._speaker is client and not client.queue and any(other.queue for other in self._clients)

    # to the agent

    def say(self, message: AgentMessage) -> None:
        """Tell the agent something in the viewers' stream, between their messages."""
        self._own.append(message_bytes(message.number, message.pack(self.agreed)))

    def pump(self) -> None:
        """Tell the agent what waits, as long as the guest takes it."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self.port is not None and not self.port.paused and self._tell():
                pass
        finally:
            self._pumping = False
        for client in self._clients:
            client.look()

    def _tell(self) -> bool:
        """Tell the agent one thing, if there is one."""
        if self._from_server:
            message = self._from_server.popleft()
            self._write(AgentPort.SERVER, message_bytes(message.number, message.pack()))
        elif self._missing and self._speaker is None:
            padding = bytes(min(self._missing, MAX_AGENT_CHUNK))
            self._missing -= len(padding)
            self._write(AgentPort.CLIENT, padding)
        elif self._own and not self._missing:
            self._write(AgentPort.CLIENT, self._own.popleft())
        else:
            client = self._speaker or next((client for client in self._clients if client.queue), None)
            if client is None or not client.queue:
                return False
            self._hear(client)
        return True

    def _hear(self, client: AgentClient) -> None:
        """Take one AGENT_DATA of a viewer; whoever comes after it is next."""
        if self._speaker is None:
            self._clients.remove(client)
            self._clients.append(client)
        try:
            for part in client.next_parts():
                self._pass_on(client, part)
        except ProtocolError as error:
            client.fail(error)

    def _pass_on(self, client: AgentClient, part: Part) -> None:
        data: bytes | None = part.data
        if part.first:
            data = self._translated(client, part)
            if data is None:
                return
            size = part.size - len(part.data) + len(data)
            self._missing = size - len(data)
            self._speaker = client
            data = message_bytes(part.type, data, size)
        elif self._speaker is client:
            self._missing -= len(part.data)
        else:
            return
        if not self._missing:
            self._speaker = None
        self._write(AgentPort.CLIENT, data or b"")

    def _translated(self, client: AgentClient, part: Part) -> bytes | None:
        """What the agent is told in place of a message's first part; None: nothing."""
        type, data = part.type, part.data
        if client.view_only or type in SERVERS_OWN:
            return None
        if type in TRANSFER_TYPES:
            return self._translated_transfer(client, type, data)
        if type not in _LOOKED_INTO:
            return data
        if type in CLIPBOARD_TYPES and not self.copy_paste:
            return None
        message = unpack_agent(type, data, client.agreed)
        if isinstance(message, AnnounceCapabilities):
            return self._announce(client, message).pack()
        if isinstance(message, MonitorsConfig):
            return None if self.guest.fit(_monitors(message)) else data
        translated = self._clipboards.from_client(client, message) if message is not None else None
        return translated.pack(self.agreed) if translated is not None else None

    def _translated_transfer(self, client: AgentClient, type: int, data: bytes) -> bytes | None:
        if len(data) < 4:
            raise ProtocolError(f"agent: message {type} of {len(data)} bytes")
        id = int.from_bytes(data[:4], "little")
        if not self.file_transfer:
            if type == FileXferStart.number:
                client.say(status_for(client, id, FileXferResult.DISABLED))
            return None
        if type == FileXferStatus.number:
            status = unpack_agent(type, data)
            assert isinstance(status, FileXferStatus)
            told = self._transfers.from_client(client, status)
            return told.pack() if told is not None else None
        started = type == FileXferStart.number
        number = self._transfers.start(client, id) if started else self._transfers.number(client, id)
        return number.to_bytes(4, "little") + data[4:] if number is not None else None

    def _announce(self, client: AgentClient, message: AnnounceCapabilities) -> AnnounceCapabilities:
        client.capabilities = message.capabilities[0] if message.capabilities else 0
        client.asks = client.asks or message.request
        self._announced = OWN_LAYOUTS
        for each in self.listeners():
            self._announced |= each.capabilities
        return AnnounceCapabilities(message.request, [self._announced])

    def _write(self, number: AgentPort, data: bytes) -> None:
        port = self.port
        for chunk in chunks(number, data):
            if port is not None and port is self.port:
                port.received(chunk)

    # from the agent

    def relieve(self) -> None:
        """Let the guest go on, or ask it to stop."""
        if self.port is None:
            return
        flooded = any(client.flooded for client in self._clients)
        if flooded != self.port.flooded:
            self.port.flooded = flooded
            if not flooded:
                self.port.drained()

    def _there(self) -> Port | None:
        """The port of the guest's agent if that is there and in order, else the stand-in's if it may have one."""
        guests = self.guest.agent
        return guests if guests is not None and guests.opened and not self._broken else self._stand_in

    def _opening(self) -> None:
        """The guest's agent has come or gone."""
        guests = self.guest.agent
        if self._broken and guests is not None and not guests.opened:
            self._broken = False
            _set_connected(guests, True)
        self._choose()

    def _choose(self) -> None:
        """Talk to the agent that there is now."""
        port = self._there()
        if port is self.port:
            return
        if self.port is not None:
            self._forget()
            for client in list(self._clients):
                client.disconnected()
            self.relieve()
        self.port = port
        if port is not None:
            for client in list(self._clients):
                client.connected()
        self.changed()

    def _said(self, port: Port, data: bytes) -> None:
        try:
            for number, piece in self._chunks.feed(data) if port is self.port else ():
                if port is not self.port:
                    return
                if number is AgentPort.CLIENT:
                    for part in self._parts.feed(piece):
                        self._take(part)
                else:
                    for _ in self._server_parts.feed(piece):
                        pass
        except ProtocolError as error:
            log.warning("the guest's agent is given up until it comes again: %s", error)
            self._broken = True
            self._choose()
            _set_connected(port, False)
        self.pump()

    def _take(self, part: Part) -> None:
        if part.first:
            self._targets = []
            for client, data in self._addressed(part):
                self._targets.append(client)
                client.begin(part.type, part.size - len(part.data) + len(data), data)
        else:
            for client in list(self._targets):
                client.go_on(part.data)
        if part.last:
            self._targets = []

    def _addressed(self, part: Part) -> Iterator[tuple[AgentClient, bytes]]:
        """The viewers that are told a message, and its first part as each of them knows it."""
        if part.type not in _LOOKED_INTO:
            for client in self.listeners():
                yield client, part.data
            return
        if part.type in CLIPBOARD_TYPES and not self.copy_paste:
            return
        message = unpack_agent(part.type, part.data, self.agreed)
        if isinstance(message, Clipboard):
            asker = self._clipboards.asker(message)
            if asker is not None:
                yield asker, message.pack(asker.agreed)
        elif isinstance(message, AnnounceCapabilities):
            self._announced_by_agent(message)
        elif isinstance(message, FileXferStatus):
            self._transfers.from_agent(message)
        elif message is not None:
            self._clipboards.from_agent(message)

    def _announced_by_agent(self, message: AnnounceCapabilities) -> None:
        before = self.gives_pointer
        self._capabilities = message.capabilities[0] if message.capabilities else 0
        told = self._capabilities
        if not self.copy_paste:
            told &= ~COPY_PASTE
        if not self.file_transfer:
            told |= 1 << AgentCapability.FILE_XFER_DISABLED
        for client in self.listeners():
            if message.request or client.asks:
                first, client.told, client.asks = not client.told, told, client.asks and message.request
                client.say(AnnounceCapabilities(message.request, [told]))
                if first and client.capabilities:
                    self._clipboards.introduce(client)
        if self.gives_pointer != before:
            self.changed()


def _set_connected(port: Port, connected: bool) -> None:
    port.connected = connected
    port.viewer_opening()


_LOOKED_INTO = CLIPBOARD_TYPES | {AnnounceCapabilities.number, MonitorsConfig.number, FileXferStatus.number}


def _monitors(message: MonitorsConfig) -> list[Monitor]:
    """What a viewer wants. Raises ProtocolError for monitors larger than a display can be."""
    monitors = []
    placed = bool(message.flags & MonitorsConfigFlags.USE_POS)
    for index, monitor in enumerate(message.monitors):
        if max(monitor.width, monitor.height) > MAX_SIDE:
            raise ProtocolError(f"agent: monitor {index} of {monitor.width}x{monitor.height}, limit {MAX_SIDE} a side")
        place = (monitor.x, monitor.y) if placed else (0, 0)
        monitors.append(Monitor(*place, monitor.width, monitor.height))
    while monitors and not (monitors[-1].width and monitors[-1].height):
        monitors.pop()
    return monitors
