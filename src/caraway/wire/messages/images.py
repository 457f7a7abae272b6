"""Images, brushes and masks: what drawing messages point to (spec/messages.md 2.3, spec/lz.md 1)."""

import enum
from typing import Annotated, ClassVar

from caraway.wire.fields import (
    U8,
    U16,
    U32,
    U64,
    Buffer,
    Counted,
    CountedBy,
    CountOf,
    If,
    IfNot,
    Pointer,
    Sized,
    Struct,
    Tagged,
    TaggedBy,
    TagOf,
    struct,
)
from caraway.wire.messages.shapes import Point


class ImageFlags(enum.IntFlag):
    """What to do with an image besides drawing it."""

    CACHE_ME = 1
    HIGH_BITS_SET = 2
    """Set the unused byte of every pixel."""
    CACHE_REPLACE_ME = 4
    """The lossless form of a lossy image that is in the cache."""


class BitmapFormat(enum.IntEnum):
    """Layout of a raw bitmap's pixels."""

    BIT1_LE = 1
    BIT1_BE = 2
    BIT4_LE = 3
    BIT4_BE = 4
    BIT8 = 5
    BIT16 = 6
    BIT24 = 7
    BIT32 = 8
    RGBA = 9
    BIT8_A = 10


class BitmapFlags(enum.IntFlag):
    """Where a palette comes from and goes to, and which row is first."""

    PAL_CACHE_ME = 1
    PAL_FROM_CACHE = 2
    TOP_DOWN = 4


@struct
class Palette(Struct):
    """Colours of a palette image, in the format of the surface drawn to."""

    unique: U64
    """Key in the palette cache; 0 is never cached."""
    entries: Annotated[list[U32], Counted(U16)]


@struct
class BitmapImage(Struct):
    """Raw pixels."""

    format: Annotated[BitmapFormat, U8]
    flags: Annotated[BitmapFlags, U8]
    width: U32
    height: U32
    stride: U32
    """Bytes per row."""
    palette_id: Annotated[int | None, U64, If("flags", BitmapFlags.PAL_FROM_CACHE)]
    palette: Annotated[Palette | None, Pointer, IfNot("flags", BitmapFlags.PAL_FROM_CACHE)]
    data: Annotated[Buffer, Sized(lambda stride, height: stride * height, "stride", "height")]


@struct
class QuicImage(Struct):
    """spec/quic.md"""

    data: Annotated[Buffer, Counted(U32)]


@struct
class LzPaletteImage(Struct):
    """Indexed pixels, LZ."""

    flags: Annotated[BitmapFlags, U8]
    size: ClassVar = CountOf("data", U32)
    palette_id: Annotated[int | None, U64, If("flags", BitmapFlags.PAL_FROM_CACHE)]
    palette: Annotated[Palette | None, Pointer, IfNot("flags", BitmapFlags.PAL_FROM_CACHE)]
    data: Annotated[Buffer, CountedBy("size")]


@struct
class LzImage(Struct):
    """Coloured pixels, LZ (spec/lz.md 2)."""

    data: Annotated[Buffer, Counted(U32)]


@struct
class GlzImage(Struct):
    """Pixels that may refer to earlier images (spec/lz.md 3)."""

    data: Annotated[Buffer, Counted(U32)]


@struct
class FromCache(Struct):
    """The image of this id in the pixmap cache."""


@struct
class SurfaceImage(Struct):
    """Another surface, read at the time of drawing."""

    surface_id: U32


@struct
class JpegImage(Struct):
    """A baseline JFIF picture."""

    data: Annotated[Buffer, Counted(U32)]


@struct
class FromCacheLossless(Struct):
    """The image of this id in the pixmap cache, once it is there without loss."""


@struct
class ZlibGlzImage(Struct):
    """A GLZ payload, deflated."""

    glz_size: U32
    """Bytes once inflated."""
    data: Annotated[Buffer, Counted(U32)]


@struct
class JpegAlphaImage(Struct):
    """A JPEG and an LZ alpha plane behind it."""

    flags: U8
    """1: the alpha plane's first row is the top one."""
    jpeg_size: U32
    data: Annotated[Buffer, Counted(U32)]


@struct
class Lz4Image(Struct):
    """Pixels, LZ4 (spec/lz.md 7)."""

    data: Annotated[Buffer, Counted(U32)]


ImagePayload = (
    BitmapImage
    | QuicImage
    | LzPaletteImage
    | LzImage
    | GlzImage
    | FromCache
    | SurfaceImage
    | JpegImage
    | FromCacheLossless
    | ZlibGlzImage
    | JpegAlphaImage
    | Lz4Image
)


@struct
class Image(Struct):
    """A descriptor, then the payload of one of twelve types."""

    id: U64
    """Key in the pixmap cache."""
    type: ClassVar = TagOf(
        "payload",
        U8,
        {
            0: BitmapImage,
            1: QuicImage,
            100: LzPaletteImage,
            101: LzImage,
            102: GlzImage,
            103: FromCache,
            104: SurfaceImage,
            105: JpegImage,
            106: FromCacheLossless,
            107: ZlibGlzImage,
            108: JpegAlphaImage,
            109: Lz4Image,
        },
    )
    flags: Annotated[ImageFlags, U8]
    width: U32
    height: U32
    payload: Annotated[ImagePayload, TaggedBy("type")]


@struct
class NoBrush(Struct):
    """Nothing to paint with."""


@struct
class SolidBrush(Struct):
    """One colour, a word of the destination's format."""

    color: U32


@struct
class PatternBrush(Struct):
    """A tile, repeated from an origin."""

    pattern: Annotated[Image, Pointer]
    pos: Point


Brush = Annotated[NoBrush | SolidBrush | PatternBrush, Tagged(U8, {0: NoBrush, 1: SolidBrush, 2: PatternBrush})]


class MaskFlags(enum.IntFlag):
    """How a mask counts."""

    INVERS = 1


@struct
class QMask(Struct):
    """Which pixels of a drawing's box are drawn; all of them without a bitmap."""

    flags: Annotated[MaskFlags, U8]
    pos: Point
    bitmap: Annotated[Image | None, Pointer]
