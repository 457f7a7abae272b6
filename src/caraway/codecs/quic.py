"""The QUIC codec, for pictures of true colour (spec/quic.md)."""

import enum

from caraway.codecs.bitmap import Bitmap, PixelFormat, check_size
from caraway.codecs.kernels import quic_encode
from caraway.errors import CodecError


class QuicType(enum.IntEnum):
    """What the pixels of a payload are."""

    GRAY = 1
    RGB16 = 2
    RGB24 = 3
    RGB32 = 4
    RGBA = 5


_TYPE = {
    PixelFormat.A8: QuicType.GRAY,
    PixelFormat.RGB555: QuicType.RGB16,
    PixelFormat.RGB555_OPAQUE: QuicType.RGB16,
    PixelFormat.BGR24: QuicType.RGB24,
    PixelFormat.BGRX32: QuicType.RGB32,
    PixelFormat.BGRA32: QuicType.RGBA,
}


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
