"""The QUIC codec, for pictures of true colour (spec/quic.md)."""

import enum
import struct

from caraway.codecs.bitmap import MAX_PIXELS, Bitmap, PixelFormat, check_size
from caraway.codecs.kernels import quic_decode, quic_encode
from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError

MAGIC = 0x43495551
VERSION = 0

_HEADER = struct.Struct("<5I")


class QuicType(enum.IntEnum):
    """What the pixels of a payload are."""

    GRAY = 1
    RGB16 = 2
    RGB24 = 3
    RGB32 = 4
    RGBA = 5


_LAYOUT = {
    QuicType.GRAY: PixelFormat.A8,
    QuicType.RGB16: PixelFormat.RGB555,
    QuicType.RGB24: PixelFormat.BGRX32,
    QuicType.RGB32: PixelFormat.BGRX32,
    QuicType.RGBA: PixelFormat.BGRA32,
}
_CHANNELS = {QuicType.GRAY: 1, QuicType.RGB16: 3, QuicType.RGB24: 3, QuicType.RGB32: 3, QuicType.RGBA: 4}
_TYPE = {
    PixelFormat.A8: QuicType.GRAY,
    PixelFormat.RGB555: QuicType.RGB16,
    PixelFormat.RGB555_OPAQUE: QuicType.RGB16,
    PixelFormat.BGR24: QuicType.RGB24,
    PixelFormat.BGRX32: QuicType.RGB32,
    PixelFormat.BGRA32: QuicType.RGBA,
}


def decode(data: Buffer, *, max_pixels: int = MAX_PIXELS) -> Bitmap:
    """Decode a QUIC payload.

    Returns a top-down bitmap without padding: BGRX32 with x = 0 (RGB24, RGB32), BGRA32 (RGBA), RGB555 with bit 15
    clear (RGB16) or A8 (GRAY).
    Raises CodecError if the header is wrong, the payload ends early, or its runs do not fit the picture.
    """
    type, width, height = _read_header(data, max_pixels)
    layout = _LAYOUT[type]
    try:
        pixels = quic_decode.decode(data, type, width, height)
    except EOFError:
        raise _misfit(data, width, height) from None
    return Bitmap(width, height, layout, width * (layout.bits // 8), pixels)


def decode_into(data: Buffer, rows: memoryview, width: int, height: int) -> bool:
    """Decode an RGB24 or RGB32 payload of that size to memory of 4 * width bytes a row, the top row first.

    False if the payload is another; `decode` then says what it is. Raises CodecError as that does: what is in `rows`
    has no meaning then.
    """
    type, coded_width, coded_height = _read_header(data, MAX_PIXELS)
    if type not in (QuicType.RGB24, QuicType.RGB32) or (coded_width, coded_height) != (width, height):
        return False
    try:
        quic_decode.decode(data, type, width, height, rows)
    except EOFError:
        raise _misfit(data, width, height) from None
    return True


def _read_header(data: Buffer, max_pixels: int) -> tuple[QuicType, int, int]:
    """Type, width, height: checked."""
    if len(data) < _HEADER.size:
        raise CodecError(f"QUIC: header needs {_HEADER.size} bytes, got {len(data)}")
    magic, version, type, width, height = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise CodecError(f"QUIC: magic {magic:#x}, version {version:#x}")
    if type not in _LAYOUT:
        raise CodecError(f"QUIC: unknown type {type}")
    check_size(width, height, max_pixels)
    # Row 0 has no runs, and none begins in the first three columns: each code word there takes a bit or more.
    literals = width + (height - 1) * min(width, 3)
    if 8 * len(data) < literals * _CHANNELS[type]:
        raise CodecError(f"QUIC: image {width}x{height} of type {type} in {len(data)} bytes")
    return type, width, height


def _misfit(data: Buffer, width: int, height: int) -> CodecError:
    return CodecError(f"QUIC: image {width}x{height} does not fit its payload of {len(data)} bytes")


def encode(bitmap: Bitmap) -> bytes:
    """Encode a picture; its format chooses the type (BGRX32 is RGB32, BGRA32 is RGBA, BGR24 is RGB24, A8 is GRAY).

    The bytes are those of deployed encoders. Each component that the type has is kept: of BGRX32 not x, of RGB555 not
    bit 15.
    Raises CodecError for a format that QUIC has no type for, an empty picture or one of more than MAX_PIXELS, and data
    that does not hold the picture.
    """
    type = _TYPE.get(bitmap.format)
    if type is None:
        raise CodecError(f"QUIC: no type for {bitmap.format.name} pictures")
    check_size(bitmap.width, bitmap.height)
    row_bytes = bitmap.format.row_bytes(bitmap.width)
    size = bitmap.stride * (bitmap.height - 1) + row_bytes
    if bitmap.stride < row_bytes or len(bitmap.data) < size:
        raise CodecError(
            f"QUIC: {bitmap.format.name} picture {bitmap.width}x{bitmap.height} of stride {bitmap.stride} needs "
            f"{row_bytes} bytes a row and {size} in all, got {len(bitmap.data)}"
        )
    return quic_encode.encode(bitmap.data, type, bitmap.width, bitmap.height, bitmap.stride)
