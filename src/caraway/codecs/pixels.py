"""Rows of pixels from one memory layout to another (spec/lz.md 2.2, 8): expansion, truncation, palettes, row order.

Work on many pixels at once: compiled, or with slices and translation tables where these are as fast. Lengths are the
caller's duty, unless said otherwise.
"""

import functools
from collections.abc import Sequence

from caraway.codecs.kernels import pixels as kernel

Buffer = bytes | bytearray | memoryview

_COPY = kernel.KINDS["copy"]
_BGRX_FROM_BGR = kernel.KINDS["bgrx_from_bgr"]
_BGR_FROM_BGRX = kernel.KINDS["bgr_from_bgrx"]
_BGRX_FROM_555 = kernel.KINDS["bgrx_from_555"]
_BGRX_FROM_565 = kernel.KINDS["bgrx_from_565"]
_RGB555_FROM_BGRX = kernel.KINDS["rgb555_from_bgrx"]
_RGB565_FROM_BGRX = kernel.KINDS["rgb565_from_bgrx"]


def plain(data: Buffer) -> bytes | bytearray:
    """The same bytes, but not as a view: strided slices of views are ten times slower."""
    return data.tobytes() if isinstance(data, memoryview) else data


def bytes_and(one: Buffer, other: Buffer) -> bytes:
    """AND of two buffers of equal length."""
    return (int.from_bytes(one, "little") & int.from_bytes(other, "little")).to_bytes(len(one), "little")


def packed_rows(data: Buffer, stride: int, row_bytes: int, height: int, *, flip: bool) -> Buffer:
    """Rows without padding, the last one first if `flip`. Gives `data` or a view of it where nothing changes."""
    if not flip and stride == row_bytes:
        return data if len(data) == stride * height else memoryview(data)[: stride * height]
    return kernel.convert(_COPY, data, stride, row_bytes, height, flip, 0)


def set_high_bytes(data: bytearray, value: int) -> None:
    """Set byte 3 of each 4-byte pixel, in place."""
    kernel.set_high_bytes(data, value)


def bgrx_from_bgr(data: Buffer) -> bytearray:
    """3 bytes a pixel to 4, x = 0."""
    return kernel.convert(_BGRX_FROM_BGR, data, len(data), len(data) // 3, 1, False, 0)


def bgr_from_bgrx(data: Buffer) -> bytearray:
    """4 bytes a pixel to 3."""
    return kernel.convert(_BGR_FROM_BGRX, data, len(data), len(data) // 4, 1, False, 0)


def bgrx_from_555(data: Buffer, x: int = 0) -> bytearray:
    """x1r5g5b5, little-endian, to 4 bytes a pixel: each component v becomes v << 3 | v >> 2."""
    return kernel.convert(_BGRX_FROM_555, data, len(data), len(data) // 2, 1, False, x)


def bgrx_from_565(data: Buffer, x: int = 0) -> bytearray:
    """r5g6b5, little-endian, to 4 bytes a pixel, the upper bits of a component repeated below it."""
    return kernel.convert(_BGRX_FROM_565, data, len(data), len(data) // 2, 1, False, x)


def rgb555_from_bgrx(data: Buffer) -> bytearray:
    """4 bytes a pixel to x1r5g5b5: components truncated, bit 15 = 0."""
    return kernel.convert(_RGB555_FROM_BGRX, data, len(data), len(data) // 4, 1, False, 0)


def rgb565_from_bgrx(data: Buffer) -> bytearray:
    """4 bytes a pixel to r5g6b5: components truncated."""
    return kernel.convert(_RGB565_FROM_BGRX, data, len(data), len(data) // 4, 1, False, 0)


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


def look_up(indices: Buffer, palette: Sequence[int], word_bytes: int) -> bytearray:
    """A pixel of 2 or 4 bytes (x = 0) for each index: the low bytes of its palette entry, 0 if there is none."""
    return look_up_rows(indices, len(indices), len(indices), 1, 8, palette, word_bytes)


def look_up_rows(
    data: Buffer,
    stride: int,
    width: int,
    height: int,
    bits: int,
    palette: Sequence[int],
    word_bytes: int,
    *,
    low_first: bool = True,
    flip: bool = False,
) -> bytearray:
    """The same for rows of packed indices of 1, 4 or 8 bits; the rows of the result have no padding.

    low_first: the lowest bits of a byte are its leftmost pixel. 4-bit indices count modulo the size of the palette.
    """
    return kernel.look_up(data, stride, width, height, flip, bits, low_first, palette, word_bytes)
