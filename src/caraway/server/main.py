"""The main channel: who the guest is, which channels there are, mouse mode, the link's quality (spec/messages.md 1)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from caraway.errors import LinkError
from caraway.server.agent_client import AGENT_TOKENS, AgentClient
from caraway.server.channel import ServerChannel
from caraway.server.connection import READ_SIZE, Connection
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.constants import ChannelType
from caraway.wire.framing import Frame
from caraway.wire.messages.base import Message
from caraway.wire.messages.common import MigrateFlags, Notify, Ping, Pong, Severity, Visibility
from caraway.wire.messages.hand_over import MigrateConnectedHandOver, MigrateDstDoHandOver
from caraway.wire.messages.handlers import handles
from caraway.wire.messages.main import (
    AgentStart,
    AttachChannels,
    ChannelsList,
    ClientAgentData,
    ClientAgentToken,
    ClientInfo,
    ClientMigrateEnd,
    Init,
    MigrateConnected,
    MigrateConnectedSeamless,
    MigrateConnectError,
    MigrateDstDoSeamless,
    MouseMode,
    MouseModeRequest,
    MouseModes,
    MultiMediaTime,
    Name,
    QualityIndicator,
    Uuid,
)
from caraway.wire.messages.migrate_data import MainMigrateData

if TYPE_CHECKING:
    from caraway.server.viewer import Viewer
    from caraway.wire.messages.migrate_data import MigrateDataBlob

RAM_HINT = 16 << 20
"""Bytes that clients size their GLZ window by: 3 Mi pixels, of which the server keeps a copy for each viewer."""

NET_TEST_SIZE = 256_000
"""Bytes of the third ping of a net test (spec/wire.md 8)."""

PING_INTERVAL = 15.0
SILENCE_LIMIT = 60.0
"""Seconds without a message, pings being under way, after which the client counts as gone."""


class MainChannel(ServerChannel):
    """What a viewer's session is about: everything but pixels, keys and sound."""

    channel_type = ChannelType.MAIN
    capabilities = Capabilities(
        [
            MainCapability.HAND_OVER,
            MainCapability.SEMI_SEAMLESS_MIGRATE,
            MainCapability.NAME_AND_UUID,
            MainCapability.AGENT_CONNECTED_TOKENS,
            MainCapability.SEAMLESS_MIGRATE,
        ]
    )
    max_size = 26624
    read_size = READ_SIZE
    migrate_flags = MigrateFlags.NEED_FLUSH | MigrateFlags.NEED_DATA_TRANSFER
    before_begin = ServerChannel.before_begin | {
        message.id for message in (MigrateDstDoSeamless, MigrateDstDoHandOver, ClientMigrateEnd)
    }

    def __init__(self, viewer: Viewer, id: int, connection: Connection) -> None:
        super().__init__(viewer, id, connection)
        self._pings = 0
        self._heard = time.monotonic()
        self._round_trip = 0.0
        self._agent = AgentClient(
            viewer.server.agent,
            self.send,
            room=lambda: self.flow.room,
            connected_tokens=MainCapability.AGENT_CONNECTED_TOKENS in connection.client_capabilities,
            view_only=viewer.view_only,
        )

    def start(self) -> None:
        viewer, guest = self.viewer, self.guest
        arrives = viewer.arrival is not None
        if arrives:
            self._prefer_absolute()
        self.send(
            Init(
                viewer.id,
                len(guest.displays),
                self._supported_modes(),
                viewer.mouse_mode,
                viewer.server.agent.connected,
                AGENT_TOKENS,
                (viewer.media_time() - viewer.latency) & 0xFFFFFFFF,
                RAM_HINT,
            )
        )
        if not arrives and MainCapability.NAME_AND_UUID in self.connection.client_capabilities:
            if guest.name:
                self.send(Name(guest.name))
            if guest.uuid is not None:
                self.send(Uuid(guest.uuid.bytes))
        self._join()
        if not arrives:
            departures = viewer.server.departures
            departures.came(viewer)
            if not (self.connection.local or departures.moved):
                self._net_test()

    def restore(self, state: MigrateDataBlob | None) -> None:
        assert isinstance(state, MainMigrateData)
        viewer = self.viewer
        self._join()
        self._agent.take_over(state)
        self._prefer_absolute()
        self.send(MouseMode(self._supported_modes(), viewer.mouse_mode))
        self.send(MultiMediaTime((viewer.media_time() - viewer.latency) & 0xFFFFFFFF))

    def prepare(self) -> None:
        self._agent.pump()

    def state(self) -> bytes:
        return self._agent.hand_over().pack()

    def _prefer_absolute(self) -> None:
        """A viewer that comes from another host keeps sending positions, if the guest takes them."""
        if MouseModes.CLIENT in self._supported_modes():
            self._set_mode(MouseModes.CLIENT)

    def _join(self) -> None:
        """Take part in what viewers have of the guest."""
        viewer, guest = self.viewer, self.guest
        viewer.server.agent.join(self._agent)
        self.flow.on_room = self._agent.pump
        self.spawn(self._agent.watch())
        self.listen(guest.pointer_changed, self._pointer_changed)
        self.listen(viewer.server.agent.changed, self._pointer_changed)
        self.listen(guest.ports_changed, self._ports_changed)
        self.listen(viewer.server.freed, self._ports_changed)
        self._listed = set(self._entries())
        if not self.connection.local:
            self.spawn(self._watch())

    def closed(self) -> None:
        self._agent.close()

    def notify(self, text: str, severity: Severity = Severity.INFO) -> None:
        """Tell the person at the viewer something."""
        self.send(Notify(time.time_ns(), severity, Visibility.HIGH, 0, text))

    def pointer_modes_changed(self) -> None:
        """The modes that are possible may have changed."""
        self._pointer_changed()

    async def _take(self, frame: Frame) -> None:
        self._heard = time.monotonic()
        await super()._take(frame)

    def _entries(self) -> list[tuple[ChannelType, int]]:
        return [(entry.type, entry.id) for entry in self.viewer.server.channel_list(self.viewer)]

    def _supported_modes(self) -> MouseModes:
        possible = self.guest.absolute_pointer or self.viewer.server.agent.gives_pointer
        absolute = MouseModes.CLIENT if possible else MouseModes(0)
        return MouseModes.SERVER | absolute

    def _set_mode(self, mode: MouseModes) -> None:
        if mode != self.viewer.mouse_mode:
            self.viewer.mouse_mode = mode
            self.viewer.mouse_mode_changed()

    def _pointer_changed(self) -> None:
        supported = self._supported_modes()
        if self.viewer.mouse_mode not in supported:
            self._set_mode(MouseModes.SERVER)
        self.send(MouseMode(supported, self.viewer.mouse_mode))

    def _ports_changed(self) -> None:
        found = self.viewer.server.channel_list(self.viewer)
        new = [entry for entry in found if (entry.type, entry.id) not in self._listed]
        self._listed = {(entry.type, entry.id) for entry in found}
        if new:
            self.send(ChannelsList(new))

    def _net_test(self) -> None:
        for filler in (b"", b"", bytes(NET_TEST_SIZE)):
            self._ping(filler)

    def _ping(self, filler: bytes = b"") -> None:
        self._pings += 1
        self.send(Ping(self._pings, time.monotonic_ns() // 1000, filler))

    async def _watch(self) -> None:
        """Ping, and end the viewer when nothing comes back."""
        while True:
            await asyncio.sleep(PING_INTERVAL)
            if time.monotonic() - self._heard > SILENCE_LIMIT:
                raise LinkError(f"{self.connection.peer}: silent for {SILENCE_LIMIT:g} s")
            if self.flow.room:
                self._ping()

    @handles(AttachChannels)
    def _attach_channels(self, message: AttachChannels) -> None:
        self.send(ChannelsList(self.viewer.server.channel_list(self.viewer)))

    @handles(MouseModeRequest)
    def _mouse_mode_request(self, message: MouseModeRequest) -> None:
        if message.mode in (MouseModes.SERVER, MouseModes.CLIENT) and message.mode in self._supported_modes():
            self._set_mode(message.mode)
            self.send(MouseMode(self._supported_modes(), message.mode))

    @handles(AgentStart)
    def _agent_start(self, message: AgentStart) -> None:
        self._agent.start(message.num_tokens)

    @handles(ClientAgentData)
    def _agent_data(self, message: ClientAgentData) -> None:
        self._agent.data(message.data)

    @handles(ClientAgentToken)
    def _agent_token(self, message: ClientAgentToken) -> None:
        self._agent.add_tokens(message.num_tokens)

    @handles(Pong)
    def _pong(self, message: Pong) -> None:
        elapsed = max(time.monotonic_ns() // 1000 - message.timestamp, 1) / 1e6
        if message.ping_id == 2:
            self._round_trip = elapsed
        elif message.ping_id == 3:
            self.viewer.measured(self._round_trip, NET_TEST_SIZE * 8 / max(elapsed - self._round_trip, 1e-6))

    @handles(MigrateConnected, MigrateConnectedSeamless, MigrateConnectedHandOver, MigrateConnectError)
    def _target_linked(self, message: Message) -> None:
        self.viewer.server.departures.replied(self.viewer, message)

    @handles(MigrateDstDoSeamless, MigrateDstDoHandOver, ClientMigrateEnd)
    def _arrive(self, message: Message) -> None:
        self.viewer.arrive(self, message)

    @handles(ClientInfo, QualityIndicator)
    def _obsolete(self, message: ClientInfo | QualityIndicator) -> None:
        """Defined, and used by neither side."""
