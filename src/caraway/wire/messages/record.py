"""Record channel: sound for the guest (spec/messages.md 6)."""

from typing import Annotated

from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import U8, U16, U32, Bool8, Buffer, Counted, Rest
from caraway.wire.messages.base import Message, message
from caraway.wire.messages.playback import AudioFormat, AudioMode

RECORD, CLIENT, SERVER = ChannelType.RECORD, Sender.CLIENT, Sender.SERVER


@message(RECORD, 101, sent_by=SERVER)
class Start(Message):
    """The guest listens: send MODE, START_MARK and DATA until STOP."""

    num_channels: U32
    format: Annotated[AudioFormat, U16]
    frequency: U32
    """Frames per second."""


@message(RECORD, 102, sent_by=SERVER)
class Stop(Message):
    """The guest has stopped listening."""


@message(RECORD, 103, sent_by=SERVER)
class Volume(Message):
    """The guest's volume of each channel, 0 to 65535."""

    volumes: Annotated[list[U16], Counted(U8)]


@message(RECORD, 104, sent_by=SERVER)
class Mute(Message):
    """Whether the guest has muted its microphone."""

    mute: Bool8


@message(RECORD, 101, sent_by=CLIENT)
class Data(Message):
    """480 frames, or one Opus packet."""

    time: U32
    """Multimedia time, ms."""
    data: Annotated[Buffer, Rest]


@message(RECORD, 102, sent_by=CLIENT)
class Mode(Message):
    """How DATA is coded from here on."""

    time: U32
    mode: Annotated[AudioMode, U16]


@message(RECORD, 103, sent_by=CLIENT)
class StartMark(Message):
    """When the first DATA was recorded."""

    time: U32
