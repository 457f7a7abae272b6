"""Pointer shapes in all seven wire types (spec/messages.md 3)."""

from dataclasses import dataclass

from caraway.codecs import pixels
from caraway.codecs.pixels import Buffer
from caraway.errors import CodecError
from caraway.wire.messages.cursor import CursorType

MAX_CURSOR_SIDE = 1024
"""Pixels: four times the largest hardware pointer. A shape of one bit a pixel grows sixteen times when decoded."""


_COLOR_BITS = {
    CursorType.COLOR4: 4,
    CursorType.COLOR8: 8,
    CursorType.COLOR16: 16,
    CursorType.COLOR24: 24,
    CursorType.COLOR32: 32,
}
_COMPLEMENT = bytes(255 - byte for byte in range(256))
_IS_255 = bytes(255) + b"\xff"
_ALL_OR_NOTHING = bytes([0, 255]) + bytes(254)
_GREY = (bytes([0x50, 0x50, 0x50, 0x30]), bytes([0x30, 0x30, 0x30, 0xC0]))
"""What deployed viewers draw, in turns, where they cannot invert."""


@dataclass(frozen=True, slots=True)
class CursorShape:
    """A pointer.

    hot_x, hot_y: the pixel that points, within the shape.
    bgra: 4 bytes a pixel, alpha premultiplied, rows top first; transparent where `invert` is set.
    invert: a byte a pixel, 255 where the pointer inverts the screen below; None if nowhere.
    """

    width: int
    height: int
    hot_x: int
    hot_y: int
    bgra: bytes
    invert: bytes | None = None

    def without_invert(self) -> bytes:
        """`bgra` with a checkered half-transparent grey where the screen should be inverted, if a viewer cannot."""
        if self.invert is None:
            return self.bgra
        out = bytearray(self.bgra)
        at = self.invert.find(255)
        while at >= 0:
            out[4 * at : 4 * at + 4] = _GREY[(at % self.width + at // self.width) % 2]
            at = self.invert.find(255, at + 1)
        return bytes(out)


def decode_cursor(type: int, width: int, height: int, data: Buffer, *, hot_x: int = 0, hot_y: int = 0) -> CursorShape:
    """Decode the shape data of a cursor message.

    type: number on the wire, 0 (ALPHA) to 6 (COLOR32). A hot spot outside the shape is moved to its edge.
    Raises CodecError if the type is unknown, a side is above MAX_CURSOR_SIDE, or the data has another size.
    """
    try:
        known = CursorType(type)
    except ValueError:
        raise CodecError(f"cursor of unknown type {int(type)}") from None
    if not (0 <= width <= MAX_CURSOR_SIDE and 0 <= height <= MAX_CURSOR_SIDE):
        raise CodecError(f"cursor of {width}x{height} pixels, limit {MAX_CURSOR_SIDE} a side")
    size = _data_size(known, width, height)
    if len(data) != size:
        raise CodecError(f"cursor {known.name} of {width}x{height} pixels needs {size} bytes, got {len(data)}")
    if known is CursorType.ALPHA:
        bgra, invert = bytes(data), b""
    elif known is CursorType.MONO:
        bgra, invert = _mono(width, height, data)
    else:
        bgra, invert = _color(known, width, height, data)
    hot_x, hot_y = min(hot_x, max(width - 1, 0)), min(hot_y, max(height - 1, 0))
    return CursorShape(width, height, hot_x, hot_y, bgra, invert if any(invert) else None)


def _mask_row(width: int) -> int:
    return (width + 7) // 8


def _data_size(type: CursorType, width: int, height: int) -> int:
    mask = _mask_row(width) * height
    if type is CursorType.ALPHA:
        return width * height * 4
    if type is CursorType.MONO:
        return mask * 2
    bits = _COLOR_BITS[type]
    palette = 4 << bits if bits <= 8 else 0
    return (width * bits + 7) // 8 * height + palette + mask


def _mask(data: Buffer, width: int, height: int) -> bytes:
    """A byte a pixel, 255 where the bit is set."""
    bits = pixels.indices_from_bits(data, 1, low_first=False).translate(_ALL_OR_NOTHING)
    return bytes(pixels.packed_rows(bits, _mask_row(width) * 8, width, height, flip=False))


def _mono(width: int, height: int, data: Buffer) -> tuple[bytes, bytes]:
    half = len(data) // 2
    keep, flip = _mask(data[:half], width, height), _mask(data[half:], width, height)
    opaque = keep.translate(_COMPLEMENT)
    white = pixels.bytes_and(opaque, flip)
    return _interleaved([white, white, white, opaque]), pixels.bytes_and(keep, flip)


def _color(type: CursorType, width: int, height: int, data: Buffer) -> tuple[bytes, bytes]:
    transparent = _mask(data[len(data) - _mask_row(width) * height :], width, height)
    opaque = transparent.translate(_COMPLEMENT)
    bgrx = _colors(type, width, height, data)
    planes = [bytes(bgrx[component::4]) for component in range(3)]
    invert = transparent
    for plane in planes:
        invert = pixels.bytes_and(invert, plane.translate(_IS_255))
    return _interleaved([*(pixels.bytes_and(plane, opaque) for plane in planes), opaque]), invert


def _colors(type: CursorType, width: int, height: int, data: Buffer) -> Buffer:
    bits = _COLOR_BITS[type]
    row_bytes = (width * bits + 7) // 8
    colors = data[: row_bytes * height]
    match type:
        case CursorType.COLOR32:
            return colors
        case CursorType.COLOR24:
            return pixels.bgrx_from_bgr(colors)
        case CursorType.COLOR16:
            return pixels.bgrx_from_555(colors)
    start = row_bytes * height
    words = memoryview(data)[start : start + (4 << bits)]
    palette = [int.from_bytes(words[at : at + 4], "little") for at in range(0, 4 << bits, 4)]
    indices = bytes(colors)
    if bits == 4:
        indices = pixels.indices_from_bits(indices, 4, low_first=False)
        indices = bytes(pixels.packed_rows(indices, row_bytes * 2, width, height, flip=False))
    return pixels.look_up(indices, palette, 4)


def _interleaved(planes: list[bytes]) -> bytes:
    out = bytearray(4 * len(planes[0]))
    for component, plane in enumerate(planes):
        out[component::4] = plane
    return bytes(out)
