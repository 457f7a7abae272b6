"""The main channel: session id, list of channels, mouse mode, media clock (spec/messages.md 1)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from caraway.client.channel import Channel
from caraway.client.connection import Connection
from caraway.client.media_clock import MediaClock
from caraway.errors import ProtocolError
from caraway.wire.capabilities import Capabilities, MainCapability
from caraway.wire.constants import ChannelType
from caraway.wire.messages.base import Message
from caraway.wire.messages.hand_over import MigrateBeginHandOver
from caraway.wire.messages.handlers import handles
from caraway.wire.messages.main import (
    AgentConnected,
    AgentConnectedTokens,
    AgentDisconnected,
    AttachChannels,
    ChannelsList,
    Init,
    MigrateBegin,
    MigrateBeginSeamless,
    MigrateCancel,
    MigrateEnd,
    MigrateSwitchHost,
    MouseMode,
    MouseModeRequest,
    MouseModes,
    MultiMediaTime,
    Name,
    Uuid,
)

if TYPE_CHECKING:
    from uuid import UUID

    from caraway.client.session import Session

MAX_CHANNELS = 64
"""Channels of a session: each has a connection. A VM with four displays, sound and USB has some twenty."""

SILENCE_LIMIT = 60.0
"""Seconds: over TCP the server pings every 15 s (spec/wire.md 8)."""


class MainChannel(Channel):
    """What the session is about: everything but pixels, keys and sound."""

    channel_type = ChannelType.MAIN
    capabilities = Capabilities([MainCapability.NAME_AND_UUID, MainCapability.AGENT_CONNECTED_TOKENS])

    def __init__(self, session: Session, id: int, connection: Connection) -> None:
        super().__init__(session, id, connection)
        self.session_id = 0
        self.ram_hint = 0
        """Bytes of the guest's video memory."""
        self.vm_name = ""
        self._vm_uuid = b""
        self.mouse_mode = MouseModes.SERVER
        self.supported_mouse_modes = MouseModes.SERVER
        self.agent_connected = False
        self.initialised = asyncio.Event()
        self.listed = asyncio.Event()
        self.mouse_mode_changed = asyncio.Event()
        self.available: list[tuple[ChannelType, int]] = []
        """Channels that the server has, in its order."""
        self.attaches = True
        """Whether the next INIT is answered ATTACH_CHANNELS; the target of a migration wants none."""
        self.media_clock = MediaClock()
        """When video frames are to be shown."""

    @property
    def silence_limit(self) -> float | None:
        return None if self.connection.local else SILENCE_LIMIT

    def reset(self) -> None:
        self.mouse_mode = self.supported_mouse_modes = MouseModes.SERVER
        self.agent_connected = False
        self.initialised.clear()
        self.listed.clear()

    @property
    def vm_uuid(self) -> UUID | None:
        """The VM's UUID, if the server has told one; all zero if none was configured."""
        from uuid import UUID

        return UUID(bytes=bytes(self._vm_uuid)) if self._vm_uuid else None

    @property
    def multi_media_time(self) -> int:
        """The server's media clock now, milliseconds modulo 2**32."""
        return self.media_clock.now(asyncio.get_running_loop().time())

    @handles(Init)
    def _init(self, message: Init) -> None:
        self.session_id = message.session_id
        self.ram_hint = message.ram_hint
        self.agent_connected = message.agent_connected
        self._set_multi_media_time(message.multi_media_time)
        self.initialised.set()
        if self.attaches:
            self.send(AttachChannels())
        self._set_mouse_mode(message.supported_mouse_modes, message.current_mouse_mode)
        self.session.initialised(message)

    @handles(Name)
    def _name(self, message: Name) -> None:
        self.vm_name = message.name

    @handles(Uuid)
    def _uuid(self, message: Uuid) -> None:
        self._vm_uuid = message.uuid

    @handles(ChannelsList)
    def _channels_list(self, message: ChannelsList) -> None:
        listed = dict.fromkeys((entry.type, entry.id) for entry in message.entries)
        new = [channel for channel in listed if channel not in self.available]
        self.available += new
        if len(self.available) > MAX_CHANNELS:
            raise ProtocolError(f"{self.name}: {len(self.available)} channels, limit {MAX_CHANNELS}")
        self.listed.set()
        self.session.channels_listed(new)

    @handles(MouseMode)
    def _mouse_mode(self, message: MouseMode) -> None:
        self._set_mouse_mode(message.supported_modes, message.current_mode)

    def _set_mouse_mode(self, supported: MouseModes, current: MouseModes) -> None:
        before = self.mouse_mode
        self.supported_mouse_modes, self.mouse_mode = supported, current
        self.mouse_mode_changed.set()
        if current == MouseModes.CLIENT != before:
            for inputs in self.session.input_channels():
                inputs.put_back()
        # A server keeps the mode that its last client asked for.
        wanted = MouseModes.CLIENT if self.session.wants_client_mouse else MouseModes.SERVER
        if supported & wanted and current != wanted:
            self.send(MouseModeRequest(wanted))

    @handles(AgentConnected, AgentConnectedTokens)
    def _agent_connected(self, message: AgentConnected | AgentConnectedTokens) -> None:
        self.agent_connected = True

    @handles(AgentDisconnected)
    def _agent_disconnected(self, message: AgentDisconnected) -> None:
        self.agent_connected = False

    @handles(MultiMediaTime)
    def _multi_media_time(self, message: MultiMediaTime) -> None:
        self._set_multi_media_time(message.time)
        self.seems_alive()

    def _set_multi_media_time(self, now: int) -> None:
        self.media_clock.set(now, asyncio.get_running_loop().time())
        for display in self.session.displays:
            display.clock_was_set()

    @handles(
        MigrateBegin,
        MigrateBeginSeamless,
        MigrateBeginHandOver,
        MigrateCancel,
        MigrateEnd,
        MigrateSwitchHost,
    )
    def _follow(self, message: Message) -> None:
        self.session.follower.received(self, message)
