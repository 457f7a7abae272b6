"""JPEG pictures, alone and with an alpha plane coded by LZ (spec/lz.md 6)."""

import struct
from collections.abc import Iterator

from caraway.codecs import lz, pixels
from caraway.codecs.bitmap import MAX_PIXELS, Bitmap, PixelFormat, check_size
from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError

QUALITY = 85
"""What deployed servers encode with."""

_MAX_SIDE = 65500
_PIXELS_PER_BYTE = 256
"""More than a byte of JPEG can stand for: each block of 64 pixels takes two bits or more."""

_SOI = b"\xff\xd8"
_SOS = 0xDA
_BASELINE = (0xC0, 0xC1)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xDA)])
_FRAME_HEADER = struct.Struct(">BHHB")
_LZ_TOP_DOWN = slice(24, 28)

_COLORSPACES = {PixelFormat.BGRX32: "BGRX", PixelFormat.BGRA32: "BGRX", PixelFormat.BGR24: "BGR"}


def segments(data: Buffer) -> Iterator[tuple[int, int, int]]:
    """The marker segments before the coded data, as (marker, start, end); the last is SOS (0xDA).

    Start is that of the marker, the segment's own bytes begin 4 bytes later. Raises CodecError.
    """
    if bytes(data[:2]) != _SOI:
        raise CodecError("JPEG: does not begin with a start of image")
    at, marker = 2, 0
    while marker != _SOS:
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        start = at
        if len(data) - at < 4:
            raise CodecError(f"JPEG: {len(data)} bytes end before the picture begins")
        if data[at] != 0xFF or (marker := data[at + 1]) in _WITHOUT_LENGTH or not marker:
            raise CodecError(f"JPEG: bytes {bytes(data[at : at + 2]).hex()} where a marker belongs")
        length = data[at + 2] << 8 | data[at + 3]
        at += 2 + length
        if length < 2 or at > len(data):
            raise CodecError(f"JPEG: segment {marker:#x} of {length} bytes runs over the end")
        yield marker, start, at


def read_size(data: Buffer, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height.

    Raises CodecError if this is no baseline JPEG, has more than `max_pixels`, or more than its bytes can stand for.
    """
    size = None
    for marker, start, end in segments(data):
        if marker not in _FRAMES:
            continue
        if marker not in _BASELINE or size is not None:
            raise CodecError(f"JPEG: frame of type {marker:#x}, only one baseline frame belongs here")
        if end - start < 4 + _FRAME_HEADER.size:
            raise CodecError("JPEG: frame header is too short")
        precision, height, width, components = _FRAME_HEADER.unpack_from(data, start + 4)
        if precision != 8 or components not in (1, 3):
            raise CodecError(f"JPEG: {components} components of {precision} bits")
        size = width, height, components
    if size is None:
        raise CodecError("JPEG: no frame header")
    width, height, components = size
    check_size(width, height, max_pixels)
    if len(data) * _PIXELS_PER_BYTE < width * height:
        raise CodecError(f"JPEG: {len(data)} bytes cannot hold {width}x{height} pixels")
    # A scan costs time for the whole picture, however few its bytes are.
    if pixels.plain(data).count(b"\xff\xda", end) >= components:
        raise CodecError("JPEG: more scans than components")
    return width, height


def decode(data: Buffer, *, max_pixels: int = MAX_PIXELS) -> Bitmap:
    """Decode one JPEG.

    Returns a top-down BGRX32 bitmap, x = 0.
    Raises CodecError if the data is damaged, ends early, or is not baseline JPEG.
    """
    import simplejpeg

    width, height = read_size(data, max_pixels)
    rows = bytearray(width * height * 4)
    try:
        simplejpeg.decode_jpeg(data, "BGRX", buffer=rows)
    except (ValueError, RuntimeError) as error:
        raise CodecError(f"JPEG: {error}") from None
    pixels.set_high_bytes(rows, 0)
    return Bitmap(width, height, PixelFormat.BGRX32, width * 4, rows)


def encode(bitmap: Bitmap, quality: int = QUALITY) -> bytes:
    """Encode the colours of a 24 or 32-bit picture, with 4:2:0 subsampling.

    quality: 1 to 100.
    Raises CodecError for other formats and for sides of more than 65500 pixels.
    """
    import simplejpeg

    colorspace = _COLORSPACES.get(bitmap.format)
    if colorspace is None:
        raise CodecError(f"JPEG: {bitmap.format.name} pictures are not encoded")
    if max(bitmap.width, bitmap.height) > _MAX_SIDE:
        raise CodecError(f"JPEG: {bitmap.width}x{bitmap.height} pixels, limit {_MAX_SIDE} a side")
    row_bytes = bitmap.format.row_bytes(bitmap.width)
    rows = pixels.packed_rows(bitmap.data, bitmap.stride, row_bytes, bitmap.height, flip=False)
    image = memoryview(rows).cast("B", (bitmap.height, bitmap.width, len(colorspace)))
    coded: bytes = simplejpeg.encode_jpeg(image, quality, colorspace, "420")
    return coded


def decode_alpha(data: Buffer, jpeg_size: int, *, top_down: bool, max_pixels: int = MAX_PIXELS) -> Bitmap:
    """Decode a JPEG_ALPHA payload.

    jpeg_size: bytes of JPEG; the alpha plane follows them. top_down: the image's flag, which the plane must agree with.
    Returns a top-down BGRA32 bitmap.
    Raises CodecError if either part is damaged, or their sizes differ.
    """
    if not 0 < jpeg_size < len(data):
        raise CodecError(f"JPEG: {jpeg_size} bytes of colours and an alpha plane in {len(data)} bytes")
    colors, alpha = memoryview(data)[:jpeg_size], memoryview(data)[jpeg_size:]
    if int.from_bytes(alpha[_LZ_TOP_DOWN], "big") != top_down:
        raise CodecError(f"JPEG: its alpha plane disagrees with top_down = {int(top_down)}")
    return lz.decode_alpha(alpha, decode(colors, max_pixels=max_pixels))


def encode_alpha(bitmap: Bitmap, quality: int = QUALITY, *, top_down: bool = True) -> tuple[bytes, int]:
    """Encode a BGRA32 picture as JPEG_ALPHA: the payload, and how many bytes of it are JPEG.

    top_down: how the alpha plane is coded; goes into the image's flags.
    Raises CodecError for other formats.
    """
    alpha = lz.encode_alpha(bitmap, top_down=top_down)
    colors = encode(bitmap, quality)
    return colors + alpha, len(colors)
