"""The LZ codec, for coloured, indexed and alpha pictures (spec/lz.md 2, 5).

A payload is a header and one token stream (RGBA: two) over *units*: bytes of indices or alpha, 16-bit pixels, or the
three colour bytes of a pixel. This module reads and writes headers; the kernels do the rest.
"""

import enum
import struct
from collections.abc import Sequence

from caraway.codecs import pixels
from caraway.codecs.bitmap import MAX_PIXELS, Bitmap, PixelFormat, check_size
from caraway.codecs.kernels import lz_decode, lz_encode
from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError

MAGIC = 0x20205A4C
VERSION = 0x00010001
MAX_BYTES = (1 << 30) - 1
"""`stride * height` of a picture: the format's own limit."""

_HEADER = struct.Struct(">7I")


class LzType(enum.IntEnum):
    """What the units of a payload are."""

    PLT1_LE = 1
    PLT1_BE = 2
    PLT4_LE = 3
    PLT4_BE = 4
    PLT8 = 5
    RGB16 = 6
    RGB24 = 7
    RGB32 = 8
    RGBA = 9
    XXXA = 10
    A8 = 11


LAYOUT = {
    LzType.PLT1_LE: PixelFormat.BIT1_LE,
    LzType.PLT1_BE: PixelFormat.BIT1_BE,
    LzType.PLT4_LE: PixelFormat.INDEX4_LE,
    LzType.PLT4_BE: PixelFormat.INDEX4_BE,
    LzType.PLT8: PixelFormat.INDEX8,
    LzType.RGB16: PixelFormat.RGB555,
    LzType.RGB24: PixelFormat.BGR24,
    LzType.RGB32: PixelFormat.BGRX32,
    LzType.RGBA: PixelFormat.BGRA32,
    LzType.XXXA: PixelFormat.BGRA32,
    LzType.A8: PixelFormat.A8,
}
"""Of what pictures a type is."""
_TYPE = {layout: type for type, layout in LAYOUT.items() if type is not LzType.XXXA} | {
    PixelFormat.RGB555_OPAQUE: LzType.RGB16
}
_BITS = {int(type): layout.bits for type, layout in LAYOUT.items()}
_DECODED = {
    int(type): (PixelFormat.BGRX32, 4) if layout is PixelFormat.BGR24 else (layout, layout.bits // 8)
    for type, layout in LAYOUT.items()
    if type > LzType.PLT8
}
_WORDS_OF_16_BITS = (PixelFormat.RGB555, PixelFormat.RGB555_OPAQUE, PixelFormat.RGB565)
_LAST_INDEXED = int(LzType.PLT8)
_ALPHA_ONLY = int(LzType.XXXA)


def decode(
    data: Buffer,
    palette: Sequence[int] | None = None,
    *,
    palette_format: PixelFormat = PixelFormat.BGRX32,
    max_pixels: int = MAX_PIXELS,
) -> Bitmap:
    """Decode an LZ payload of any type but XXXA.

    palette, palette_format: for indexed types, as in `bitmap.decode`.
    Returns a top-down bitmap: BGRX32 (RGB24, RGB32), BGRA32 (RGBA), RGB555 with bit 15 clear (RGB16), A8, or the
    palette's colours.
    Raises CodecError if header, tokens and size of the payload do not fit together.
    """
    type, width, height, stride, top_down = _read_header(data, max_pixels)
    if type <= _LAST_INDEXED:
        if not palette:
            raise CodecError(f"LZ: {LzType(type).name} image without a palette")
        words_of_16_bits = palette_format in _WORDS_OF_16_BITS
        format = palette_format if words_of_16_bits else PixelFormat.BGRX32
        pixel_bytes = 2 if words_of_16_bits else 4
    elif type == _ALPHA_ONLY:
        raise CodecError("LZ: an alpha plane without its picture")
    else:
        format, pixel_bytes = _DECODED[type]
    rows = lz_decode.decode(data, type, width, height, stride, top_down, palette, pixel_bytes)
    return Bitmap(width, height, format, width * pixel_bytes, rows)


def decode_into(data: Buffer, rows: memoryview, width: int, height: int) -> bool:
    """Decode an RGB24 or RGB32 payload of that size to memory of 4 * width bytes a row, the top row first.

    False if the payload is another; `decode` then says what it is. Raises CodecError as that does: what is in `rows`
    has no meaning then.
    """
    type, coded_width, coded_height, stride, top_down = _read_header(data, MAX_PIXELS)
    if type not in (LzType.RGB24, LzType.RGB32) or (coded_width, coded_height) != (width, height):
        return False
    lz_decode.decode_into(data, type, width, height, stride, top_down, rows)
    return True


def decode_alpha(data: Buffer, into: Bitmap) -> Bitmap:
    """Decode an XXXA payload: the alpha bytes of an existing 32-bit picture (spec/lz.md 6).

    Returns a BGRA32 bitmap with the colours of `into` and the alpha of the payload.
    Raises CodecError also if the sizes of the two differ.
    """
    if into.format not in (PixelFormat.BGRX32, PixelFormat.BGRA32):
        raise CodecError(f"LZ: alpha for a {into.format.name} picture")
    type, width, height, stride, top_down = _read_header(data, into.width * into.height)
    if type != _ALPHA_ONLY:
        raise CodecError(f"LZ: {LzType(type).name} where an alpha plane belongs")
    if (width, height) != (into.width, into.height):
        raise CodecError(f"LZ: alpha of {width}x{height} pixels for a picture of {into.width}x{into.height}")
    colours = pixels.packed_rows(into.data, into.stride, stride, height, flip=False)
    rows = lz_decode.decode_alpha(data, colours, width, height, top_down)
    return Bitmap(width, height, PixelFormat.BGRA32, stride, rows)


def _read_header(data: Buffer, max_pixels: int) -> tuple[int, int, int, int, int]:
    """Type, width, height, stride, top_down: checked."""
    if len(data) < _HEADER.size:
        raise CodecError(f"LZ: header needs {_HEADER.size} bytes, got {len(data)}")
    magic, version, type, width, height, stride, top_down = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise CodecError(f"LZ: magic {magic:#x}, version {version:#x}")
    bits = _BITS.get(type)
    if bits is None:
        raise CodecError(f"LZ: unknown type {type}")
    if top_down > 1:
        raise CodecError(f"LZ: top_down is {top_down}")
    check_size(width, height, max_pixels)
    if stride * height > MAX_BYTES:
        raise CodecError(f"LZ: {height} rows of {stride} bytes, limit {MAX_BYTES} bytes")
    if stride != (width * bits + 7) >> 3 and not (type <= _LAST_INDEXED and stride == width * bits >> 3):
        raise CodecError(f"LZ: {LzType(type).name} row of {width} pixels in {stride} bytes")
    return type, width, height, stride, top_down


def encode(bitmap: Bitmap, *, top_down: bool = True) -> bytes:
    """Encode a picture; its format chooses the type (BGRX32 is RGB32, BGRA32 is RGBA, 16 bits RGB16, indices PLT).

    top_down: False codes the bottom row first.
    Any decoder gives the same pixels back; the bytes differ from those of deployed encoders.
    Raises CodecError for a format that LZ has no type for.
    """
    type = _TYPE.get(bitmap.format)
    if type is None:
        raise CodecError(f"LZ: no type for {bitmap.format.name} pictures")
    row_bytes = bitmap.format.row_bytes(bitmap.width)
    rows = pixels.packed_rows(bitmap.data, bitmap.stride, row_bytes, bitmap.height, flip=not top_down)
    header = _HEADER.pack(MAGIC, VERSION, type, bitmap.width, bitmap.height, row_bytes, top_down)
    if type == LzType.RGB24:
        rows = pixels.bgrx_from_bgr(rows)
    row = row_bytes if type <= _LAST_INDEXED else bitmap.width
    return lz_encode.encode(header, rows, type, row * bitmap.height, row)


def encode_alpha(bitmap: Bitmap, *, top_down: bool = True) -> bytes:
    """Encode the alpha bytes of a BGRA32 picture as XXXA.

    Raises CodecError for other formats.
    """
    if bitmap.format is not PixelFormat.BGRA32:
        raise CodecError(f"LZ: {bitmap.format.name} picture has no alpha")
    stride = bitmap.width * 4
    rows = pixels.packed_rows(bitmap.data, bitmap.stride, stride, bitmap.height, flip=not top_down)
    header = _HEADER.pack(MAGIC, VERSION, _ALPHA_ONLY, bitmap.width, bitmap.height, stride, top_down)
    return lz_encode.encode(header, rows, _ALPHA_ONLY, bitmap.width * bitmap.height, bitmap.width)
