"""Display channel: surfaces, caches, streams and monitors (spec/messages.md 2). Drawing is in `draw`."""

import enum
from typing import Annotated, ClassVar

from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import (
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Buffer,
    Counted,
    CountedBy,
    CountOf,
    Present,
    Rest,
    Struct,
    struct,
)
from caraway.wire.messages.base import Message, message
from caraway.wire.messages.common import ChannelSerial
from caraway.wire.messages.shapes import Rect

DISPLAY, CLIENT, SERVER = ChannelType.DISPLAY, Sender.CLIENT, Sender.SERVER

Clip = Annotated[list[Rect] | None, Present(U8), Counted(U32)]
"""Rectangles outside of which nothing is drawn; None for no such limit, an empty list for nothing at all."""


class DisplayCapability(enum.IntEnum):
    """Bits of a display link's capability words."""

    SIZED_STREAM = 0
    MONITORS_CONFIG = 1
    COMPOSITE = 2
    A8_SURFACE = 3
    STREAM_REPORT = 4
    LZ4_COMPRESSION = 5
    PREF_COMPRESSION = 6
    GL_SCANOUT = 7
    MULTI_CODEC = 8
    CODEC_MJPEG = 9
    CODEC_VP8 = 10
    CODEC_H264 = 11
    PREF_VIDEO_CODEC_TYPE = 12
    CODEC_VP9 = 13
    CODEC_H265 = 14


class SurfaceFormat(enum.IntEnum):
    """Layout of a surface's pixels (spec/canvas.md 1)."""

    A1 = 1
    A8 = 8
    RGB555 = 16
    XRGB32 = 32
    RGB565 = 80
    ARGB32 = 96


class SurfaceFlags(enum.IntFlag):
    """What a surface is for."""

    PRIMARY = 1
    STREAMING_MODE = 2


class ImageCompression(enum.IntEnum):
    """How a server compresses images."""

    OFF = 1
    AUTO_GLZ = 2
    AUTO_LZ = 3
    QUIC = 4
    GLZ = 5
    LZ = 6
    LZ4 = 7


class VideoCodec(enum.IntEnum):
    """How a stream is coded."""

    MJPEG = 1
    VP8 = 2
    H264 = 3
    VP9 = 4
    H265 = 5


@message(DISPLAY, 101, sent_by=SERVER)
class Mode(Message):
    """Obsolete."""

    x_res: U32
    y_res: U32
    bits: U32


@message(DISPLAY, 102, sent_by=SERVER)
class Mark(Message):
    """The primary surface is meaningful from here on."""


@message(DISPLAY, 103, sent_by=SERVER)
class Reset(Message):
    """Obsolete: drop everything."""


@struct
class ResourceId(Struct):
    """Something in a cache."""

    type: U8
    """1: an image of the pixmap cache."""
    id: U64


@message(DISPLAY, 105, sent_by=SERVER)
class InvalList(Message):
    """Lower the use count of these images; free those that reach zero."""

    resources: Annotated[list[ResourceId], Counted(U16)]


@message(DISPLAY, 106, sent_by=SERVER)
class InvalAllPixmaps(Message):
    """Clear the pixmap cache, once these messages of other channels have been processed."""

    wait_list: Annotated[list[ChannelSerial], Counted(U8)]


@message(DISPLAY, 107, sent_by=SERVER)
class InvalPalette(Message):
    """Forget one palette."""

    palette_id: U64


@message(DISPLAY, 108, sent_by=SERVER)
class InvalAllPalettes(Message):
    """Forget all palettes."""


class StreamFlags(enum.IntFlag):
    """How the coded pictures of a stream lie."""

    TOP_DOWN = 1


@message(DISPLAY, 122, sent_by=SERVER)
class StreamCreate(Message):
    """A region of a surface becomes a video."""

    surface_id: U32
    stream_id: U32
    flags: Annotated[StreamFlags, U8]
    codec: Annotated[VideoCodec, U8]
    stamp: U64
    stream_width: U32
    stream_height: U32
    src_width: U32
    src_height: U32
    dest: Rect
    clip: Clip


@message(DISPLAY, 123, sent_by=SERVER)
class StreamData(Message):
    """One coded frame."""

    stream_id: U32
    multi_media_time: U32
    data: Annotated[Buffer, Counted(U32)]


@message(DISPLAY, 124, sent_by=SERVER)
class StreamClip(Message):
    """Replace a stream's clip."""

    stream_id: U32
    clip: Clip


@message(DISPLAY, 125, sent_by=SERVER)
class StreamDestroy(Message):
    """A stream ends."""

    stream_id: U32


@message(DISPLAY, 126, sent_by=SERVER)
class StreamDestroyAll(Message):
    """All streams end."""


@message(DISPLAY, 314, sent_by=SERVER)
class SurfaceCreate(Message):
    """A new surface, all zero."""

    surface_id: U32
    width: U32
    height: U32
    format: Annotated[SurfaceFormat, U32]
    flags: Annotated[SurfaceFlags, U32]


@message(DISPLAY, 315, sent_by=SERVER)
class SurfaceDestroy(Message):
    """A surface is gone; its id may be used again."""

    surface_id: U32


@message(DISPLAY, 316, sent_by=SERVER)
class StreamDataSized(Message):
    """One coded frame with a size and a place of its own."""

    stream_id: U32
    multi_media_time: U32
    width: U32
    height: U32
    dest: Rect
    data: Annotated[Buffer, Counted(U32)]


@struct
class Head(Struct):
    """One monitor: a rectangle of a surface. Without width and height it is switched off."""

    monitor_id: U32
    surface_id: U32
    width: U32
    height: U32
    x: U32
    y: U32
    flags: U32


@message(DISPLAY, 317, sent_by=SERVER)
class MonitorsConfig(Message):
    """Which parts of the primary surface are monitors."""

    count: ClassVar = CountOf("heads", U16)
    max_allowed: U16
    """0: not known."""
    heads: Annotated[list[Head], CountedBy("count")]


@message(DISPLAY, 319, sent_by=SERVER)
class StreamActivateReport(Message):
    """Report how a stream arrives: after so many frames, or so long."""

    stream_id: U32
    unique_id: U32
    max_window_size: U32
    timeout_ms: U32


@message(DISPLAY, 320, sent_by=SERVER)
class GlScanoutUnix(Message):
    """The picture is a DMA-BUF, whose descriptor follows outside of the framing."""

    width: U32
    height: U32
    stride: U32
    drm_fourcc: U32
    flags: U32
    """1: the first row of the memory is the top one."""


@message(DISPLAY, 321, sent_by=SERVER)
class GlDraw(Message):
    """Part of the DMA-BUF has changed; answer with GL_DRAW_DONE once shown."""

    x: U32
    y: U32
    width: U32
    height: U32


@message(DISPLAY, 322, sent_by=SERVER)
class QualityIndicator(Message):
    """Never sent."""

    data: Annotated[bytes, Rest]


@message(DISPLAY, 101, sent_by=CLIENT)
class Init(Message):
    """First message of a client; the server sends nothing before it."""

    pixmap_cache_id: U8
    pixmap_cache_size: I64
    """Pixels."""
    glz_dictionary_id: U8
    glz_dictionary_window_size: I32
    """Pixels."""


@message(DISPLAY, 102, sent_by=CLIENT)
class StreamReport(Message):
    """How a stream's last frames arrived."""

    stream_id: U32
    unique_id: U32
    start_frame_mm_time: U32
    end_frame_mm_time: U32
    num_frames: U32
    num_drops: U32
    """0xffffffff with no frames: this client cannot decode the stream."""
    last_frame_delay: I32
    """Milliseconds; negative is late."""
    audio_delay: U32
    """Milliseconds; 0xffffffff without audio."""


@message(DISPLAY, 103, sent_by=CLIENT)
class PreferredCompression(Message):
    """How the client wants images compressed."""

    image_compression: Annotated[ImageCompression, U8]


@message(DISPLAY, 104, sent_by=CLIENT)
class GlDrawDone(Message):
    """One GL_DRAW has been shown."""


@message(DISPLAY, 105, sent_by=CLIENT)
class PreferredVideoCodecType(Message):
    """Codecs, the most wanted first; only those that the client announced."""

    codecs: Annotated[list[Annotated[VideoCodec, U8]], Counted(U8)]
