"""Drawing messages of the display channel (spec/messages.md 2.3, 2.4). What they do to pixels: spec/canvas.md."""

import enum
from typing import Annotated, ClassVar

from caraway.wire.constants import ChannelType, Sender
from caraway.wire.fields import (
    I32,
    U8,
    U16,
    U32,
    Counted,
    CountedBy,
    CountOf,
    EachBy,
    If,
    Pointer,
    Sized,
    Struct,
    struct,
)
from caraway.wire.messages.base import Message, message
from caraway.wire.messages.display import Clip
from caraway.wire.messages.images import Brush, Image, QMask
from caraway.wire.messages.shapes import Point, Point16, PointFix, Rect, Transform

DISPLAY, SERVER = ChannelType.DISPLAY, Sender.SERVER


class Rop(enum.IntFlag):
    """How source and destination are combined (spec/canvas.md 3)."""

    INVERS_SRC = 1
    INVERS_BRUSH = 2
    INVERS_DEST = 4
    OP_PUT = 8
    OP_OR = 16
    OP_AND = 32
    OP_XOR = 64
    OP_BLACKNESS = 128
    OP_WHITENESS = 256
    OP_INVERS = 512
    INVERS_RES = 1024


class ScaleMode(enum.IntEnum):
    """How a source of another size is scaled."""

    INTERPOLATE = 0
    NEAREST = 1


RopDescriptor = Annotated[Rop, U16]
Scale = Annotated[ScaleMode, U8]
Source = Annotated[Image | None, Pointer]


@struct
class Draw(Message):
    """What every drawing begins with."""

    surface_id: U32
    box: Rect
    clip: Clip


@message(DISPLAY, 104, sent_by=SERVER)
class CopyBits(Draw):
    """Copy inside one surface."""

    src_pos: Point


@message(DISPLAY, 302, sent_by=SERVER)
class DrawFill(Draw):
    """Paint with a brush."""

    brush: Brush
    rop: RopDescriptor
    mask: QMask


@message(DISPLAY, 303, sent_by=SERVER)
class DrawOpaque(Draw):
    """Copy an image, then combine a brush with it."""

    src_bitmap: Source
    src_area: Rect
    brush: Brush
    rop: RopDescriptor
    scale_mode: Scale
    mask: QMask


@message(DISPLAY, 304, sent_by=SERVER)
class DrawCopy(Draw):
    """Copy an image."""

    src_bitmap: Source
    src_area: Rect
    rop: RopDescriptor
    scale_mode: Scale
    mask: QMask


@message(DISPLAY, 305, sent_by=SERVER)
class DrawBlend(Draw):
    """The same as DRAW_COPY."""

    src_bitmap: Source
    src_area: Rect
    rop: RopDescriptor
    scale_mode: Scale
    mask: QMask


@message(DISPLAY, 306, sent_by=SERVER)
class DrawBlackness(Draw):
    """All bits zero."""

    mask: QMask


@message(DISPLAY, 307, sent_by=SERVER)
class DrawWhiteness(Draw):
    """All bits one."""

    mask: QMask


@message(DISPLAY, 308, sent_by=SERVER)
class DrawInvers(Draw):
    """All bits flipped."""

    mask: QMask


@message(DISPLAY, 309, sent_by=SERVER)
class DrawRop3(Draw):
    """Combine source, brush and destination by one of 256 functions."""

    src_bitmap: Source
    src_area: Rect
    brush: Brush
    rop3: U8
    scale_mode: Scale
    mask: QMask


class LineFlags(enum.IntFlag):
    """Style of a line."""

    START_WITH_GAP = 4
    STYLED = 8


@struct
class LineAttributes(Struct):
    """Style of a line: lengths of dashes and gaps in 28.4 fixed point, if STYLED."""

    flags: Annotated[LineFlags, U8]
    style: Annotated[list[I32] | None, If("flags", LineFlags.STYLED), Counted(U8), Pointer]


class PathFlags(enum.IntFlag):
    """Role of a segment in its path."""

    BEGIN = 1
    END = 2
    CLOSE = 8
    BEZIER = 16


@struct
class PathSegment(Struct):
    """Points that continue a path."""

    flags: Annotated[PathFlags, U8]
    points: Annotated[list[PointFix], Counted(U32)]


@struct
class Path(Struct):
    """A line through many points."""

    segments: Annotated[list[PathSegment], Counted(U32)]


@message(DISPLAY, 310, sent_by=SERVER)
class DrawStroke(Draw):
    """Draw a line."""

    path: Annotated[Path, Pointer]
    attr: LineAttributes
    brush: Brush
    fore_mode: RopDescriptor
    back_mode: RopDescriptor


class StringFlags(enum.IntFlag):
    """Depth of a string's glyphs: exactly one of the first three."""

    RASTER_A1 = 1
    RASTER_A4 = 2
    RASTER_A8 = 4
    RASTER_TOP_DOWN = 8


@struct
class GlyphA1(Struct):
    """A glyph of 1 bit a pixel, rows padded to bytes, bottom row first."""

    render_pos: Point
    glyph_origin: Point
    width: U16
    height: U16
    data: Annotated[bytes, Sized(lambda width, height: (width + 7) // 8 * height, "width", "height")]


@struct
class GlyphA4(Struct):
    """A glyph of 4 bits a pixel."""

    render_pos: Point
    glyph_origin: Point
    width: U16
    height: U16
    data: Annotated[bytes, Sized(lambda width, height: (width + 1) // 2 * height, "width", "height")]


@struct
class GlyphA8(Struct):
    """A glyph of 8 bits a pixel."""

    render_pos: Point
    glyph_origin: Point
    width: U16
    height: U16
    data: Annotated[bytes, Sized(lambda width, height: width * height, "width", "height")]


@struct
class String(Struct):
    """Glyphs, all of the depth that the flags name."""

    length: ClassVar = CountOf("glyphs", U16)
    flags: Annotated[StringFlags, U8]
    glyphs: Annotated[
        list[GlyphA1] | list[GlyphA4] | list[GlyphA8],
        EachBy(
            "flags",
            {StringFlags.RASTER_A1: GlyphA1, StringFlags.RASTER_A4: GlyphA4, StringFlags.RASTER_A8: GlyphA8},
        ),
        CountedBy("length"),
    ]


@message(DISPLAY, 311, sent_by=SERVER)
class DrawText(Draw):
    """Fill a background, then draw glyphs."""

    string: Annotated[String, Pointer]
    back_area: Rect
    fore_brush: Brush
    back_brush: Brush
    fore_mode: RopDescriptor
    back_mode: RopDescriptor


@message(DISPLAY, 312, sent_by=SERVER)
class DrawTransparent(Draw):
    """Copy an image but for one colour."""

    src_bitmap: Source
    src_area: Rect
    src_color: U32
    true_color: U32
    """The colour left out, 0x00RRGGBB."""


class AlphaFlags(enum.IntFlag):
    """Which sides of an alpha blend have alpha."""

    DEST_HAS_ALPHA = 1
    SRC_SURFACE_HAS_ALPHA = 2


@message(DISPLAY, 313, sent_by=SERVER)
class DrawAlphaBlend(Draw):
    """Blend an image over a surface."""

    alpha_flags: Annotated[AlphaFlags, U8]
    alpha: U8
    src_bitmap: Source
    src_area: Rect


class CompositeFlags(enum.IntFlag):
    """The single bits of a composite's flags; operator, filters and repeats lie below them."""

    COMPONENT_ALPHA = 1 << 18
    HAS_MASK = 1 << 19
    HAS_SRC_TRANSFORM = 1 << 20
    HAS_MASK_TRANSFORM = 1 << 21
    SOURCE_OPAQUE = 1 << 22
    MASK_OPAQUE = 1 << 23
    DEST_OPAQUE = 1 << 24


@message(DISPLAY, 318, sent_by=SERVER)
class DrawComposite(Draw):
    """Combine images by a Porter-Duff or blend operator."""

    flags: U32
    """Operator in bits 0-7, source and mask filter from 8 and 11, source and mask repeat from 14 and 16, then flags."""
    src_bitmap: Source
    mask_bitmap: Annotated[Image | None, If("flags", CompositeFlags.HAS_MASK), Pointer]
    src_transform: Annotated[Transform | None, If("flags", CompositeFlags.HAS_SRC_TRANSFORM)]
    mask_transform: Annotated[Transform | None, If("flags", CompositeFlags.HAS_MASK_TRANSFORM)]
    src_origin: Point16
    mask_origin: Point16
