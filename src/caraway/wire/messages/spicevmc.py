"""Channels that are pipes to a device of the guest: usbredir, port and webdav (spec/messages.md 8, 9)."""

import enum
from typing import Annotated

from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import I64, U8, U16, U32, Bool8, Buffer, Counted, If, Nul, Pointer, Rest, Struct, struct
from caraway.wire.messages.base import Message, message

VMC = frozenset({ChannelType.USBREDIR, ChannelType.PORT, ChannelType.WEBDAV})
PORTS = frozenset({ChannelType.PORT, ChannelType.WEBDAV})

WEBDAV_PORT_NAME = "org.spice-space.webdav.0"


class DataCompression(enum.IntEnum):
    """How a COMPRESSED_DATA is compressed."""

    NONE = 0
    """The deployed server refuses it: never send it."""
    LZ4 = 1


class PortEventType(enum.IntEnum):
    """What has happened at the sender's end of a port."""

    OPENED = 0
    CLOSED = 1
    BREAK = 2


@message(VMC, 101, sent_by=Sender.BOTH)
class Data(Message):
    """Bytes of the stream, in pieces that mean nothing."""

    data: Annotated[Buffer, Rest]


@message(VMC, 102, sent_by=Sender.BOTH)
class CompressedData(Message):
    """Bytes of the stream, compressed; only to a peer with DATA_COMPRESS_LZ4."""

    type: Annotated[DataCompression, U8]
    uncompressed_size: Annotated[int | None, U32, If("type", 0xFF)]
    """A peer's word: to be bounded before anything is allocated."""
    data: Annotated[Buffer, Rest]


@message(PORTS, 201, sent_by=Sender.SERVER)
class PortInit(Message):
    """First message of a port; comes again from a migration's target."""

    name: Annotated[str, Counted(U32), Nul, Pointer]
    """Reverse domain style."""
    opened: Bool8
    """Whether the guest's side is open."""


@message(PORTS, 202, sent_by=Sender.SERVER)
class PortEvent(Message):
    """The guest's side of the port has changed."""

    event: Annotated[PortEventType, U8]


@message(PORTS, 201, sent_by=Sender.CLIENT, name="PORT_EVENT")
class ClientPortEvent(Message):
    """The client's side of the port has changed."""

    event: Annotated[PortEventType, U8]


@struct
class WebdavRecord(Struct):
    """A piece of one HTTP connection, inside of the stream of a webdav channel."""

    client_id: I64
    """Names the connection; chosen by the guest."""
    data: Annotated[bytes, Counted(U16)]
    """Empty: the connection is closed."""
