"""The LZ codec, for coloured, indexed and alpha pictures (spec/lz.md 2, 5).

A payload is a header and one token stream (RGBA: two) over *units*: bytes of indices or alpha, 16-bit pixels, or the
three colour bytes of a pixel. Streams are decoded in exactly those bytes and brought to their memory layout as a whole.
"""

import enum
import struct
from collections.abc import Sequence

from caraway.codecs import pixels
from caraway.codecs.bitmap import MAX_PIXELS, Bitmap, PixelFormat, check_size, from_indices
from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError

MAGIC = 0x20205A4C
VERSION = 0x00010001
MAX_BYTES = (1 << 30) - 1
"""`stride * height` of a picture: the format's own limit."""

_HEADER = struct.Struct(">7I")
_SHORT_DISTANCES = 8191
_LONGEST_DISTANCE = _SHORT_DISTANCES + 0xFFFF + 1


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


_LAYOUT = {
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
_TYPE = {layout: type for type, layout in _LAYOUT.items() if type is not LzType.XXXA} | {
    PixelFormat.RGB555_OPAQUE: LzType.RGB16
}
_WITHOUT_BIT_7 = bytes(byte & 127 for byte in range(256))
_LENGTH_BIAS = {1: 2, 2: 1, 3: 0}
"""Bytes of a unit: by how much a match is longer than its coded length."""


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
    if type is LzType.XXXA:
        raise CodecError("LZ: an alpha plane without its picture")
    if type <= LzType.PLT8 and not palette:
        raise CodecError(f"LZ: {type.name} image without a palette")
    units = stride * height if type <= LzType.PLT8 else width * height
    unit_bytes = {LzType.RGB16: 2, LzType.RGB24: 3, LzType.RGB32: 3, LzType.RGBA: 3}.get(type, 1)
    coded, at = _read_tokens(data, _HEADER.size, unit_bytes, units)
    rows: Buffer = coded
    if unit_bytes == 3:
        rows = pixels.bgrx_from_bgr(coded)
        if type is LzType.RGBA:
            rows[3::4], at = _read_tokens(data, at, 1, units)
    elif unit_bytes == 2:
        coded[0::2] = coded[0::2].translate(_WITHOUT_BIT_7)
        rows = pixels.swap_bytes(coded)
    _check_end(data, at)
    layout = _LAYOUT[type] if type is not LzType.RGB24 else PixelFormat.BGRX32
    row_bytes = layout.row_bytes(width)
    if stride < row_bytes and type <= LzType.PLT8:
        rows = b"".join([coded[stride * y : stride * (y + 1)] + b"\0" for y in range(height)])
    rows = pixels.packed_rows(rows, row_bytes, row_bytes, height, flip=not top_down)
    if type <= LzType.PLT8:
        return from_indices(Bitmap(width, height, layout, row_bytes, rows, palette), palette_format)
    return Bitmap(width, height, layout, row_bytes, rows)


def decode_alpha(data: Buffer, into: Bitmap) -> Bitmap:
    """Decode an XXXA payload: the alpha bytes of an existing 32-bit picture (spec/lz.md 6).

    Returns a BGRA32 bitmap with the colours of `into` and the alpha of the payload.
    Raises CodecError also if the sizes of the two differ.
    """
    if into.format not in (PixelFormat.BGRX32, PixelFormat.BGRA32):
        raise CodecError(f"LZ: alpha for a {into.format.name} picture")
    type, width, height, _stride, top_down = _read_header(data, into.width * into.height)
    if type is not LzType.XXXA:
        raise CodecError(f"LZ: {type.name} where an alpha plane belongs")
    if (width, height) != (into.width, into.height):
        raise CodecError(f"LZ: alpha of {width}x{height} pixels for a picture of {into.width}x{into.height}")
    alpha, at = _read_tokens(data, _HEADER.size, 1, width * height)
    _check_end(data, at)
    rows = bytearray(pixels.packed_rows(into.data, into.stride, width * 4, height, flip=False))
    rows[3::4] = pixels.packed_rows(alpha, width, width, height, flip=not top_down)
    return Bitmap(width, height, PixelFormat.BGRA32, width * 4, rows)


def _read_header(data: Buffer, max_pixels: int) -> tuple[LzType, int, int, int, int]:
    if len(data) < _HEADER.size:
        raise CodecError(f"LZ: header needs {_HEADER.size} bytes, got {len(data)}")
    magic, version, number, width, height, stride, top_down = _HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise CodecError(f"LZ: magic {magic:#x}, version {version:#x}")
    try:
        type = LzType(number)
    except ValueError:
        raise CodecError(f"LZ: unknown type {number}") from None
    if top_down > 1:
        raise CodecError(f"LZ: top_down is {top_down}")
    check_size(width, height, max_pixels)
    if stride * height > MAX_BYTES:
        raise CodecError(f"LZ: {height} rows of {stride} bytes, limit {MAX_BYTES} bytes")
    bits = _LAYOUT[type].bits
    if stride != (width * bits + 7) // 8 and not (type <= LzType.PLT8 and stride == width * bits // 8):
        raise CodecError(f"LZ: {type.name} row of {width} pixels in {stride} bytes")
    return type, width, height, stride, top_down


def _check_end(data: Buffer, at: int) -> None:
    if at != len(data):
        raise CodecError(f"LZ: {len(data) - at} bytes after the end of the image")


def _read_tokens(data: Buffer, at: int, unit_bytes: int, units: int) -> tuple[bytearray, int]:
    """Decode one token stream of `units` units; gives their bytes and where the stream ends.

    The output grows with the input that is really there; a header alone allocates nothing.
    """
    size = units * unit_bytes
    bias = _LENGTH_BIAS[unit_bytes]
    out = bytearray()
    try:
        while (filled := len(out)) < size:
            control = data[at]
            at += 1
            if control < 32:
                end = at + (control + 1) * unit_bytes
                out += data[at:end]
                at = end
                if at > len(data) or len(out) > size:
                    raise CodecError(f"LZ: literal at byte {at} runs over the end")
                continue
            length, distance = control >> 5, (control & 31) << 8
            if length == 7:
                more = 255
                while more == 255:
                    more = data[at]
                    at += 1
                    length += more
            low = data[at]
            at += 1
            distance += low
            if distance == _SHORT_DISTANCES:
                distance += (data[at] << 8) + data[at + 1]
                at += 2
            copied, back = (length + bias) * unit_bytes, (distance + 1) * unit_bytes
            if back > filled or copied > size - filled:
                raise CodecError(f"LZ: match before byte {at} reaches outside the image")
            if copied <= back:
                out += out[filled - back : filled - back + copied]
            else:
                pattern = out[filled - back :]
                out += (pattern * (copied // back + 1))[:copied]
    except IndexError:
        raise CodecError(f"LZ: payload ends at byte {len(data)} with {len(out)} of {size} bytes decoded") from None
    return out, at


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
    out = _header(type, bitmap, row_bytes, top_down)
    if bitmap.format.bits == 32:
        _write_tokens(out, bytes(pixels.bgr_from_bgrx(rows)), 3)
        if type is LzType.RGBA:
            _write_tokens(out, bytes(rows[3::4]), 1)
    elif bitmap.format.bits == 16:
        _write_tokens(out, bytes(pixels.swap_bytes(rows)), 2)
    else:
        _write_tokens(out, bytes(rows), 3 if type is LzType.RGB24 else 1)
    return bytes(out)


def encode_alpha(bitmap: Bitmap, *, top_down: bool = True) -> bytes:
    """Encode the alpha bytes of a BGRA32 picture as XXXA.

    Raises CodecError for other formats.
    """
    if bitmap.format is not PixelFormat.BGRA32:
        raise CodecError(f"LZ: {bitmap.format.name} picture has no alpha")
    rows = pixels.packed_rows(bitmap.data, bitmap.stride, bitmap.width * 4, bitmap.height, flip=not top_down)
    out = _header(LzType.XXXA, bitmap, bitmap.width * 4, top_down)
    _write_tokens(out, bytes(rows[3::4]), 1)
    return bytes(out)


def _header(type: LzType, bitmap: Bitmap, stride: int, top_down: bool) -> bytearray:
    return bytearray(_HEADER.pack(MAGIC, VERSION, type, bitmap.width, bitmap.height, stride, top_down))


def _write_tokens(out: bytearray, data: bytes, unit_bytes: int) -> None:
    """Code units greedily: at each, the longest match with the last place that began alike."""
    seen: dict[bytes, int] = {}
    bias = _LENGTH_BIAS[unit_bytes]
    alike = (3 if unit_bytes == 1 else 2) * unit_bytes
    at = literals = 0
    while at <= len(data) - alike:
        key = data[at : at + alike]
        place = seen.get(key, -1)
        seen[key] = at
        distance = (at - place) // unit_bytes
        if place < 0 or distance > _LONGEST_DISTANCE:
            at += unit_bytes
            continue
        _write_literals(out, data[literals:at], unit_bytes)
        length = _match_length(data, place, at, alike) // unit_bytes
        _write_match(out, length - bias, distance - 1)
        at = literals = at + length * unit_bytes
    _write_literals(out, data[literals:], unit_bytes)


def _match_length(data: bytes, place: int, at: int, length: int) -> int:
    """How many bytes from `at` on equal those from `place` on, knowing of `length`: steps double while they match."""
    step = 1
    while step:
        if data[place + length : place + length + step] == data[at + length : at + length + step]:
            length += step
            step *= 2
            while at + length + step > len(data):
                step //= 2
        else:
            step //= 2
    return length


def _write_literals(out: bytearray, data: bytes, unit_bytes: int) -> None:
    for start in range(0, len(data), 32 * unit_bytes):
        run = data[start : start + 32 * unit_bytes]
        out.append(len(run) // unit_bytes - 1)
        out += run


def _write_match(out: bytearray, length: int, distance: int) -> None:
    far = distance >= _SHORT_DISTANCES
    out.append(min(length, 7) << 5 | (31 if far else distance >> 8))
    if length >= 7:
        out += b"\xff" * ((length - 7) // 255)
        out.append((length - 7) % 255)
    if far:
        out.append(255)
        out += (distance - _SHORT_DISTANCES).to_bytes(2, "big")
    else:
        out.append(distance & 255)
