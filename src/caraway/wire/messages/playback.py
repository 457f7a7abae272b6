"""Playback channel: the guest's sound (spec/messages.md 5)."""

import enum
from typing import Annotated

from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import U8, U16, U32, Bool8, Buffer, Counted, Rest
from caraway.wire.messages.base import Message, message

PLAYBACK, SERVER = ChannelType.PLAYBACK, Sender.SERVER


class AudioMode(enum.IntEnum):
    """How sound is coded."""

    RAW = 1
    CELT_0_5_1 = 2
    """Obsolete."""
    OPUS = 3


class AudioFormat(enum.IntEnum):
    """Layout of a sample."""

    S16 = 1
    """Signed 16 bits, little-endian, channels interleaved."""


@message(PLAYBACK, 101, sent_by=SERVER)
class Data(Message):
    """480 frames, or one Opus packet."""

    time: U32
    """Multimedia time to play it at, ms."""
    data: Annotated[Buffer, Rest]


@message(PLAYBACK, 102, sent_by=SERVER)
class Mode(Message):
    """How DATA is coded from here on."""

    time: U32
    mode: Annotated[AudioMode, U16]
    data: Annotated[bytes, Rest]
    """None in use."""


@message(PLAYBACK, 103, sent_by=SERVER)
class Start(Message):
    """Sound begins."""

    num_channels: U32
    format: Annotated[AudioFormat, U16]
    frequency: U32
    """Frames per second."""
    time: U32


@message(PLAYBACK, 104, sent_by=SERVER)
class Stop(Message):
    """Sound ends."""


@message(PLAYBACK, 105, sent_by=SERVER)
class Volume(Message):
    """The guest's volume of each channel, 0 to 65535."""

    volumes: Annotated[list[U16], Counted(U8)]


@message(PLAYBACK, 106, sent_by=SERVER)
class Mute(Message):
    """Whether the guest has muted its sound."""

    mute: Bool8


@message(PLAYBACK, 107, sent_by=SERVER)
class Latency(Message):
    """The least delay that keeps sound and video streams together."""

    latency_ms: U32
