"""The types of channels that a server has."""

from __future__ import annotations

from caraway.server.channel import ServerChannel
from caraway.server.cursor import CursorChannel
from caraway.server.display import DisplayChannel
from caraway.server.inputs import InputsChannel
from caraway.server.main import MainChannel
from caraway.server.playback import PlaybackChannel
from caraway.server.port import PortChannel, UsbredirChannel, WebdavChannel
from caraway.server.record import RecordChannel
from caraway.wire.constants import ChannelType

CHANNELS: dict[ChannelType, type[ServerChannel]] = {
    channel.channel_type: channel
    for channel in (
        MainChannel,
        DisplayChannel,
        InputsChannel,
        CursorChannel,
        PlaybackChannel,
        RecordChannel,
        UsbredirChannel,
        PortChannel,
        WebdavChannel,
    )
}
"""In the order in which clients are told."""
