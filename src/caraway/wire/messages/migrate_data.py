"""Bodies of MIGRATE_DATA: a channel's state on its way from source to target (spec/wire.md 12.4, spec/migration.md 10).

Clients hand them on unread. Pointers count from the start of the blob. Cursor, playback and record have none.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, ClassVar

from caraway.errors import ProtocolError
from caraway.wire.constants import ChannelType
from caraway.wire.fields import (
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool8,
    Buffer,
    Constant,
    Counted,
    CountedBy,
    CountOf,
    LayoutError,
    Pointer,
    Struct,
    struct,
)

BLOB_VERSION = 1
"""Version of every blob and of the CharDevice part. A target takes those up to its own."""

NO_TOKENS = 0xFFFFFFFF
"""Token numbers of a device without a token scheme."""


class FilterResult(enum.IntEnum):
    """What the server does with the agent message under way."""

    FORWARD = 0
    DISCARD = 1
    PROTOCOL_ERROR = 2
    MONITORS_CONFIG = 3
    """The server takes the monitors' configuration itself."""


@struct
class CharDevice(Struct):
    """A device of the guest that the channel feeds. Without a client all but the version is 0."""

    version: U32
    connected: Bool8
    num_client_tokens: U32
    """Messages that the client may still send."""
    num_send_tokens: U32
    """Messages that the server may still send."""
    write_size: ClassVar = CountOf("write_data", U32)
    write_num_client_tokens: U32
    """Client messages within `write_data`."""
    write_data: Annotated[bytes, CountedBy("write_size"), Pointer]
    """Accepted from the client, not yet written to the device; the first chunk may have lost its front."""


@struct
class MainMigrateData(Struct):
    """State of the main channel: where both directions of the agent's stream stand."""

    magic: ClassVar = Constant(b"MNMD")
    version: U32
    agent: CharDevice
    client_agent_started: Bool8
    chunk_header_size: U32
    """Bytes of the guest's chunk header that have been read, 0 to 8."""
    chunk_port: U32
    chunk_size: U32
    """Bytes of the chunk still to be read, once its header is complete."""
    msg_header_done: Bool8
    msg_header_partial_len: ClassVar = CountOf("msg_header", U32)
    msg_header: Annotated[bytes, CountedBy("msg_header_partial_len"), Pointer]
    """Bytes of the agent message's header that have been read, if it is not done."""
    from_agent_remaining: U32
    from_agent_filter: Annotated[FilterResult, U8]
    to_agent_remaining: U32
    to_agent_filter: Annotated[FilterResult, U8]


@struct
class CacheSerials(Struct):
    """Last message of each display channel that used the pixmap cache."""

    display_0: U64
    display_1: U64
    display_2: U64
    display_3: U64


@struct
class SurfaceIds(Struct):
    """Surfaces that the client has."""

    ids: Annotated[list[U32], Counted(U32)]


@struct
class LossySurface(Struct):
    """A surface and the part of it that the client has with loss. Mind the order: not that of Rect."""

    surface_id: U32
    left: I32
    top: I32
    right: I32
    bottom: I32


@struct
class LossySurfaces(Struct):
    """Surfaces that the client has."""

    surfaces: Annotated[list[LossySurface], Counted(U32)]


@struct
class _DisplayState(Struct):
    magic: ClassVar = Constant(b"DCMD")
    version: U32
    message_serial: U64
    """Number of this MIGRATE_DATA; the target gives it to its own next message."""
    low_bandwidth: Bool8
    pixmap_cache_id: U8
    pixmap_cache_size: I64
    """Pixels."""
    pixmap_cache_freezer: Bool8
    """This channel holds the shared cache, and opens it again at the target."""
    pixmap_cache_clients: CacheSerials
    glz_dict_id: U8
    glz_dict_size: U32
    """Pixels."""
    max_encoders: U32
    last_image_id: U64
    """The next GLZ image continues from here, with an empty window."""


@struct
class DisplayMigrateData(_DisplayState):
    """State of a display channel without lossy compression."""

    surfaces: Annotated[SurfaceIds, Pointer]


@struct
class LossyDisplayMigrateData(_DisplayState):
    """State of a display channel with JPEG in use. The blob does not say so: both servers know by their settings."""

    surfaces: Annotated[LossySurfaces, Pointer]


@struct
class InputsMigrateData(Struct):
    """State of the inputs channel."""

    magic: ClassVar = Constant(b"ICMD")
    version: U32
    motion_count: U16
    """Motions received and not yet acknowledged."""


@struct
class SpicevmcMigrateData(Struct):
    """State of a usbredir, port or webdav channel."""

    magic: ClassVar = Constant(b"SVMD")
    version: U32
    device: CharDevice


@struct
class SmartcardMigrateData(Struct):
    """State of a smartcard channel."""

    magic: ClassVar = Constant(b"SCMD")
    version: U32
    device: CharDevice
    reader_added: Bool8
    read_data: Annotated[bytes, Counted(U32), Pointer]
    """Part of a message from the device."""


MigrateDataBlob = (
    MainMigrateData
    | DisplayMigrateData
    | LossyDisplayMigrateData
    | InputsMigrateData
    | SpicevmcMigrateData
    | SmartcardMigrateData
)

_BLOBS: dict[ChannelType, Any] = {
    ChannelType.MAIN: MainMigrateData,
    ChannelType.DISPLAY: DisplayMigrateData,
    ChannelType.INPUTS: InputsMigrateData,
    ChannelType.SMARTCARD: SmartcardMigrateData,
    ChannelType.USBREDIR: SpicevmcMigrateData,
    ChannelType.PORT: SpicevmcMigrateData,
    ChannelType.WEBDAV: SpicevmcMigrateData,
}


def unpack_migrate_data(channel: ChannelType, data: Buffer, *, lossy: bool = False) -> MigrateDataBlob:
    """Read the state of a channel of that type.

    lossy: this server's settings for the display say that JPEG is in use.
    Raises ProtocolError naming blob and offset, also for a version above ours.
    """
    cls = LossyDisplayMigrateData if lossy and channel is ChannelType.DISPLAY else _BLOBS.get(channel)
    if cls is None:
        raise ProtocolError(f"{channel.name.lower()}: a MIGRATE_DATA, where this channel has none")
    try:
        blob: MigrateDataBlob = cls.unpack(data)
    except LayoutError as error:
        raise ProtocolError(
            f"{channel.name.lower()}: MIGRATE_DATA {cls.magic.value.decode()} at byte {error.offset}: {error.text}"
        ) from None
    if blob.version > BLOB_VERSION:
        raise ProtocolError(f"{channel.name.lower()}: MIGRATE_DATA version {blob.version}, ours is {BLOB_VERSION}")
    return blob
