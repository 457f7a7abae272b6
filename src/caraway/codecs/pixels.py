"""Rows of pixels from one memory layout to another (spec/lz.md 2.2, 8): expansion, truncation, palettes, row order.

Everything here works on many pixels at once with strided slices, translation tables and wide integers: the interpreter
never looks at a single pixel. Lengths are the caller's duty.
"""

import functools
from collections.abc import Callable, Sequence

Buffer = bytes | bytearray | memoryview


def _table(function: Callable[[int], int]) -> bytes:
    return bytes(function(byte) for byte in range(256))


def _expand5(component: int) -> int:
    return component << 3 | component >> 2


# Green lies across both bytes of a 16-bit pixel. Each byte's share of the 8-bit green comes from a table of its own;
# the shares have no bit in common, so that OR joins them.
_BLUE_16 = _table(lambda low: _expand5(low & 31))
_RED_555 = _table(lambda high: _expand5(high >> 2 & 31))
_GREEN_555_LOW = _table(lambda low: (low >> 5) << 3 | low >> 7)
_GREEN_555_HIGH = _table(lambda high: (high & 3) << 6 | (high & 3) << 1)
_RED_565 = _table(lambda high: _expand5(high >> 3))
_GREEN_565_LOW = _table(lambda low: (low >> 5) << 2)
_GREEN_565_HIGH = _table(lambda high: (high & 7) << 5 | (high & 7) >> 1)

_LOW_OF_BLUE = _table(lambda blue: blue >> 3)
_LOW_OF_GREEN_555 = _table(lambda green: (green >> 3 & 7) << 5)
_HIGH_OF_GREEN_555 = _table(lambda green: green >> 6)
_HIGH_OF_RED_555 = _table(lambda red: (red >> 3) << 2)
_LOW_OF_GREEN_565 = _table(lambda green: (green >> 2 & 7) << 5)
_HIGH_OF_GREEN_565 = _table(lambda green: green >> 5)
_HIGH_OF_RED_565 = _table(lambda red: red & 0xF8)


def plain(data: Buffer) -> bytes | bytearray:
    """The same bytes, but not as a view: strided slices of views are ten times slower."""
    return data.tobytes() if isinstance(data, memoryview) else data


def bytes_or(one: Buffer, other: Buffer) -> bytes:
    """OR of two buffers of equal length."""
    return (int.from_bytes(one, "little") | int.from_bytes(other, "little")).to_bytes(len(one), "little")


def bytes_and(one: Buffer, other: Buffer) -> bytes:
    """AND of two buffers of equal length."""
    return (int.from_bytes(one, "little") & int.from_bytes(other, "little")).to_bytes(len(one), "little")


def packed_rows(data: Buffer, stride: int, row_bytes: int, height: int, *, flip: bool) -> Buffer:
    """Rows without padding, the last one first if `flip`. Gives `data` or a view of it where nothing changes."""
    if not flip and stride == row_bytes:
        return data if len(data) == stride * height else memoryview(data)[: stride * height]
    view = memoryview(data)
    starts = range(0, stride * height, stride)
    return b"".join([view[at : at + row_bytes] for at in (reversed(starts) if flip else starts)])


def set_high_bytes(data: bytearray, value: int) -> None:
    """Set byte 3 of each 4-byte pixel, in place."""
    data[3::4] = bytes([value]) * (len(data) // 4)


def bgrx_from_bgr(data: Buffer) -> bytearray:
    """3 bytes a pixel to 4, x = 0."""
    data = plain(data)
    out = bytearray(len(data) // 3 * 4)
    for component in range(3):
        out[component::4] = data[component::3]
    return out


def bgr_from_bgrx(data: Buffer) -> bytearray:
    """4 bytes a pixel to 3."""
    data = plain(data)
    out = bytearray(len(data) // 4 * 3)
    for component in range(3):
        out[component::3] = data[component::4]
    return out


def bgrx_from_555(data: Buffer, x: int = 0) -> bytearray:
    """x1r5g5b5, little-endian, to 4 bytes a pixel: each component v becomes v << 3 | v >> 2."""
    data = plain(data)
    low, high = bytes(data[0::2]), bytes(data[1::2])
    out = bytearray([0, 0, 0, x]) * len(low)
    out[0::4] = low.translate(_BLUE_16)
    out[1::4] = bytes_or(low.translate(_GREEN_555_LOW), high.translate(_GREEN_555_HIGH))
    out[2::4] = high.translate(_RED_555)
    return out


def bgrx_from_565(data: Buffer, x: int = 0) -> bytearray:
    """r5g6b5, little-endian, to 4 bytes a pixel, the upper bits of a component repeated below it."""
    data = plain(data)
    low, high = bytes(data[0::2]), bytes(data[1::2])
    out = bytearray([0, 0, 0, x]) * len(low)
    out[0::4] = low.translate(_BLUE_16)
    out[1::4] = bytes_or(low.translate(_GREEN_565_LOW), high.translate(_GREEN_565_HIGH))
    out[2::4] = high.translate(_RED_565)
    return out


def rgb555_from_bgrx(data: Buffer) -> bytearray:
    """4 bytes a pixel to x1r5g5b5: components truncated, bit 15 = 0."""
    data = plain(data)
    blue, green, red = (bytes(data[component::4]) for component in range(3))
    out = bytearray(len(blue) * 2)
    out[0::2] = bytes_or(blue.translate(_LOW_OF_BLUE), green.translate(_LOW_OF_GREEN_555))
    out[1::2] = bytes_or(green.translate(_HIGH_OF_GREEN_555), red.translate(_HIGH_OF_RED_555))
    return out


def rgb565_from_bgrx(data: Buffer) -> bytearray:
    """4 bytes a pixel to r5g6b5: components truncated."""
    data = plain(data)
    blue, green, red = (bytes(data[component::4]) for component in range(3))
    out = bytearray(len(blue) * 2)
    out[0::2] = bytes_or(blue.translate(_LOW_OF_BLUE), green.translate(_LOW_OF_GREEN_565))
    out[1::2] = bytes_or(green.translate(_HIGH_OF_GREEN_565), red.translate(_HIGH_OF_RED_565))
    return out


def swap_bytes(data: Buffer) -> bytearray:
    """Exchange the two bytes of each 16-bit pixel."""
    data = plain(data)
    out = bytearray(len(data))
    out[0::2], out[1::2] = data[1::2], data[0::2]
    return out


def indices_from_bits(rows: Buffer, bits: int, *, low_first: bool) -> bytes:
    """One byte for each packed index of 1 or 4 bits; `low_first`: the lowest bits of a byte are the leftmost pixel."""
    per_byte, mask = 8 // bits, (1 << bits) - 1
    packed = bytes(rows)
    out = bytearray(len(packed) * per_byte)
    for place in range(per_byte):
        shift = bits * (place if low_first else per_byte - 1 - place)
        out[place::per_byte] = packed.translate(_shifted(shift, mask))
    return bytes(out)


@functools.cache
def _shifted(shift: int, mask: int) -> bytes:
    return bytes([byte >> shift & mask for byte in range(256)])


def look_up(indices: bytes, palette: Sequence[int], word_bytes: int) -> bytearray:
    """A pixel of 2 or 4 bytes (x = 0) for each index: the low bytes of its palette entry, 0 if there is none."""
    words = [*palette[:256], *[0] * (256 - len(palette))]
    out = bytearray(len(indices) * word_bytes)
    for component in range(min(word_bytes, 3)):
        out[component::word_bytes] = indices.translate(bytes([word >> 8 * component & 255 for word in words]))
    return out
