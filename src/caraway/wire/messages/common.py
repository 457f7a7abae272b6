"""Messages that every channel has: acknowledgements, pings, notices, the hand-over of a channel (spec/wire.md 6)."""

import enum
from typing import Annotated, ClassVar

from caraway.wire.constants import ChannelType, LinkErrorCode, Sender
from caraway.wire.fields import U8, U32, U64, Buffer, Constant, Counted, Rest, Struct, struct
from caraway.wire.messages.base import ANY_CHANNEL, Message, message

CLIENT, SERVER = Sender.CLIENT, Sender.SERVER


class MigrateFlags(enum.IntFlag):
    """What the source of a migration wants of a channel before it moves."""

    NEED_FLUSH = 1
    NEED_DATA_TRANSFER = 2


class Severity(enum.IntEnum):
    """How bad a notice is."""

    INFO = 0
    WARN = 1
    ERROR = 2


class Visibility(enum.IntEnum):
    """How much a notice wants to be seen."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2


@message(ANY_CHANNEL, 1, sent_by=SERVER)
class Migrate(Message):
    """The VM has stopped at the source: move this channel to the target now."""

    flags: Annotated[MigrateFlags, U32]


@message(ANY_CHANNEL, 2, sent_by=SERVER)
class MigrateData(Message):
    """The source's state of this channel, for the target; its last message. Opaque to the client."""

    data: Annotated[bytes, Rest]


@message(ANY_CHANNEL, 3, sent_by=SERVER)
class SetAck(Message):
    """Begin a new window of acknowledgements."""

    generation: U32
    window: U32
    """Messages per ACK; 0 switches them off."""


@message(ANY_CHANNEL, 4, sent_by=SERVER)
class Ping(Message):
    """Answer at once with PONG."""

    ping_id: U32
    timestamp: U64
    """The server's clock: microseconds in the net test, else nanoseconds."""
    filler: Annotated[bytes, Rest]
    """Only there to take time on the wire."""


@struct
class ChannelSerial(Struct):
    """A message of a channel, by its number."""

    channel_type: Annotated[ChannelType, U8]
    channel_id: U8
    message_serial: U64


@message(ANY_CHANNEL, 5, sent_by=SERVER)
class WaitForChannels(Message):
    """Process nothing more here until these messages of other channels have been processed."""

    wait_list: Annotated[list[ChannelSerial], Counted(U8)]


@message(ANY_CHANNEL, 6, sent_by=Sender.BOTH)
class Disconnecting(Message):
    """The sender is about to leave. The deployed peers never send it."""

    time_stamp: U64
    reason: Annotated[LinkErrorCode, U32]


@message(ANY_CHANNEL, 7, sent_by=SERVER)
class Notify(Message):
    """Text for the person at the viewer."""

    time_stamp: U64
    """Nanoseconds."""
    severity: Annotated[Severity, U32]
    visibility: Annotated[Visibility, U32]
    what: U32
    message: Annotated[str, Counted(U32)]
    nul: ClassVar = Constant(b"\0")


@message(ANY_CHANNEL, 8, sent_by=SERVER)
class List(Message):
    """Only sub-messages (see `caraway.wire.sublist`); how mini headers carry them."""

    sub_list: Annotated[Buffer, Rest]


@message(ANY_CHANNEL, 1, sent_by=CLIENT)
class AckSync(Message):
    """Acknowledgements count from this SET_ACK on."""

    generation: U32


@message(ANY_CHANNEL, 2, sent_by=CLIENT)
class Ack(Message):
    """One more window of messages has been received."""


@message(ANY_CHANNEL, 3, sent_by=CLIENT)
class Pong(Message):
    """Echo of a PING, without its filler."""

    ping_id: U32
    timestamp: U64


@message(ANY_CHANNEL, 4, sent_by=CLIENT)
class MigrateFlushMark(Message):
    """All that the client sent to the source on this channel came before this."""


@message(ANY_CHANNEL, 5, sent_by=CLIENT, name="MIGRATE_DATA")
class ClientMigrateData(Message):
    """The source's MIGRATE_DATA, byte for byte, handed to the target."""

    data: Annotated[bytes, Rest]
