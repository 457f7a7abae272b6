"""A decoded picture, and raw bitmaps (spec/lz.md 8)."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from caraway.codecs import pixels
from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError

MAX_PIXELS = 1 << 26
"""Pixels of a picture: 256 MiB once decoded, twice an 8K screen; the largest message of deployed servers holds less."""


class PixelFormat(enum.Enum):
    """Memory layout of a bitmap's pixels: name and bits a pixel."""

    BGRX32 = ("bgrx32", 32)
    """b, g, r, x; no alpha."""
    BGRA32 = ("bgra32", 32)
    """b, g, r, a; premultiplied."""
    BGR24 = ("bgr24", 24)
    RGB555 = ("rgb555", 16)
    """u16 little-endian x1r5g5b5; expands to 32 bits with x = 0."""
    RGB555_OPAQUE = ("rgb555_opaque", 16)
    """As RGB555, from a raw bitmap: expands with x = 255."""
    RGB565 = ("rgb565", 16)
    """u16 little-endian r5g6b5: only entries of palettes for 16_565 surfaces."""
    A8 = ("a8", 8)
    INDEX8 = ("index8", 8)
    INDEX4_LE = ("index4_le", 4)
    """Low nibble left."""
    INDEX4_BE = ("index4_be", 4)
    """High nibble left."""
    BIT1_LE = ("bit1_le", 1)
    """Bit 0 leftmost: palette indices, or a mask."""
    BIT1_BE = ("bit1_be", 1)
    """Bit 7 leftmost: palette indices, or a mask."""

    @property
    def bits(self) -> int:
        """Bits a pixel."""
        return self.value[1]

    def row_bytes(self, width: int) -> int:
        """Bytes of a row without padding."""
        return (width * self.value[1] + 7) // 8


_FROM_WIRE = {
    1: PixelFormat.BIT1_LE,
    2: PixelFormat.BIT1_BE,
    3: PixelFormat.INDEX4_LE,
    4: PixelFormat.INDEX4_BE,
    5: PixelFormat.INDEX8,
    6: PixelFormat.RGB555_OPAQUE,
    7: PixelFormat.BGR24,
    8: PixelFormat.BGRX32,
    9: PixelFormat.BGRA32,
    10: PixelFormat.A8,
}
_TO_WIRE = {layout: number for number, layout in _FROM_WIRE.items()} | {PixelFormat.RGB555: 6}
_WORDS_OF_16_BITS = (PixelFormat.RGB555, PixelFormat.RGB555_OPAQUE, PixelFormat.RGB565)


@dataclass(slots=True)
class Bitmap:
    """A picture in memory, top row first. Treat as immutable: caches and windows share it.

    stride: bytes from a row to the next; `data` holds at least `stride * height` bytes.
    palette: words 0x00RRGGBB, for indexed formats only.
    """

    width: int
    height: int
    format: PixelFormat
    stride: int
    data: Buffer
    palette: Sequence[int] | None = None


class RawBitmap(NamedTuple):
    """A picture as a raw bitmap on the wire; a palette goes beside it."""

    format: int
    stride: int
    data: Buffer


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raises CodecError for an empty picture, or one of more than `max_pixels`."""
    if width <= 0 or height <= 0:
        raise CodecError(f"image of {width}x{height} pixels is empty")
    if width * height > max_pixels:
        raise CodecError(f"image of {width}x{height} pixels, limit {max_pixels} pixels")


def decode(
    format: int,
    width: int,
    height: int,
    stride: int,
    data: Buffer,
    *,
    top_down: bool,
    palette: Sequence[int] | None = None,
    palette_format: PixelFormat = PixelFormat.BGRX32,
    max_pixels: int = MAX_PIXELS,
) -> Bitmap:
    """Decode a raw bitmap (spec/lz.md 8).

    format: number on the wire, 1 (1BIT_LE) to 10 (8BIT_A). data: `stride * height` bytes.
    palette: entries, words of `palette_format`, the format of the surface drawn to (any but the 16-bit formats means
    0x00RRGGBB). A bitmap of 1 bit without a palette is a mask and stays as it is; 4 and 8 bits need one.
    Returns a top-down bitmap: indexed ones as BGRX32 or the 16-bit `palette_format`, BGR24 as BGRX32, others unchanged
    and, where possible, without a copy of `data`.
    Raises CodecError if the format is unknown, or sizes and data disagree.
    """
    layout = _FROM_WIRE.get(int(format))
    if layout is None:
        raise CodecError(f"raw bitmap of unknown format {int(format)}")
    check_size(width, height, max_pixels)
    row_bytes = layout.row_bytes(width)
    if stride < row_bytes:
        raise CodecError(f"raw bitmap {layout.name} of {width} pixels needs rows of {row_bytes} bytes, got {stride}")
    if len(data) < stride * height:
        raise CodecError(f"raw bitmap {width}x{height} needs {stride * height} bytes, got {len(data)}")
    if layout.bits <= 8 and layout is not PixelFormat.A8 and not (palette is None and layout.bits == 1):
        return from_indices(Bitmap(width, height, layout, stride, data, palette), palette_format, flip=not top_down)
    if layout is PixelFormat.BGR24:
        rows = pixels.bgrx_from_bgr(pixels.packed_rows(data, stride, row_bytes, height, flip=not top_down))
        return Bitmap(width, height, PixelFormat.BGRX32, width * 4, rows)
    if top_down:
        return Bitmap(width, height, layout, stride, data)
    return Bitmap(width, height, layout, row_bytes, pixels.packed_rows(data, stride, row_bytes, height, flip=True))


def encode(bitmap: Bitmap, *, top_down: bool = True) -> RawBitmap:
    """A picture as a raw bitmap of its own format, rows without padding (spec/lz.md 8).

    top_down: False puts the bottom row first.
    Raises CodecError for RGB565, which the wire has no number for.
    """
    number = _TO_WIRE.get(bitmap.format)
    if number is None:
        raise CodecError(f"no raw bitmap of format {bitmap.format.name}")
    stride = bitmap.format.row_bytes(bitmap.width)
    rows = pixels.packed_rows(bitmap.data, bitmap.stride, stride, bitmap.height, flip=not top_down)
    return RawBitmap(number, stride, rows)


def from_indices(indexed: Bitmap, palette_format: PixelFormat = PixelFormat.BGRX32, *, flip: bool = False) -> Bitmap:
    """Replace palette indices by their colours; `flip` turns the picture upside down.

    4-bit indices count modulo the size of the palette; other indices without an entry are 0.
    Raises CodecError without a palette.
    """
    palette = indexed.palette
    if not palette:
        raise CodecError(f"{indexed.format.name} image without a palette")
    if palette_format not in _WORDS_OF_16_BITS:
        palette_format = PixelFormat.BGRX32
    rows = pixels.look_up_rows(
        indexed.data,
        indexed.stride,
        indexed.width,
        indexed.height,
        indexed.format.bits,
        palette,
        palette_format.bits // 8,
        low_first=indexed.format in (PixelFormat.BIT1_LE, PixelFormat.INDEX4_LE),
        flip=flip,
    )
    return Bitmap(indexed.width, indexed.height, palette_format, palette_format.row_bytes(indexed.width), rows)


def flipped(bitmap: Bitmap) -> Bitmap:
    """The same picture upside down."""
    row_bytes = bitmap.format.row_bytes(bitmap.width)
    rows = pixels.packed_rows(bitmap.data, bitmap.stride, row_bytes, bitmap.height, flip=True)
    return Bitmap(bitmap.width, bitmap.height, bitmap.format, row_bytes, rows, bitmap.palette)


def with_high_bits(bitmap: Bitmap) -> Bitmap:
    """The same picture with x = 255 in every pixel, if it is BGRX32 (HIGH_BITS_SET, spec/lz.md 9)."""
    if bitmap.format is not PixelFormat.BGRX32:
        return bitmap
    data = bytearray(pixels.packed_rows(bitmap.data, bitmap.stride, bitmap.width * 4, bitmap.height, flip=False))
    pixels.set_high_bytes(data, 255)
    return Bitmap(bitmap.width, bitmap.height, PixelFormat.BGRX32, bitmap.width * 4, data)
