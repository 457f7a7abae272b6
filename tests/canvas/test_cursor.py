"""Pointer shapes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.canvas.cursor import MAX_CURSOR_SIDE, decode_cursor
from caraway.errors import CodecError
from caraway.wire.messages.cursor import CursorType

CLEAR = bytes(4)
WHITE = b"\xff\xff\xff\xff"
BLACK = b"\0\0\0\xff"


def pixels(shape):
    """b, g, r, a of each pixel, or None where the screen is inverted."""
    invert = shape.invert or bytes(shape.width * shape.height)
    out = [shape.bgra[4 * at : 4 * at + 4] for at in range(shape.width * shape.height)]
    assert all(pixel == CLEAR for pixel, inverted in zip(out, invert, strict=True) if inverted)
    return [None if inverted else pixel for pixel, inverted in zip(out, invert, strict=True)]


def test_alpha():
    shape = decode_cursor(CursorType.ALPHA, 2, 1, b"\1\2\3\4\5\6\7\x08", hot_x=1)
    assert pixels(shape) == [b"\1\2\3\4", b"\5\6\7\x08"]
    assert (shape.hot_x, shape.hot_y, shape.invert) == (1, 0, None)


def test_mono():
    shape = decode_cursor(CursorType.MONO, 4, 1, bytes([0b0011_0000, 0b0101_0000]))
    assert pixels(shape) == [BLACK, WHITE, CLEAR, None]


def test_mono_rows_are_padded_to_bytes():
    keep = bytes([0xFF, 0b1000_0000, 0xFF, 0b0000_0000])
    shape = decode_cursor(CursorType.MONO, 9, 2, keep + bytes(4))
    assert pixels(shape) == [CLEAR] * 17 + [BLACK]
    assert shape.invert is None


@pytest.mark.parametrize(
    ("type", "colors"),
    [
        (CursorType.COLOR4, bytes([0x12, 0x31, 0x40]) + struct.pack("<16I", 0, 0x112233, 0xFFFFFF, *[0] * 13)),
        (CursorType.COLOR8, bytes([1, 2, 3, 1, 4]) + struct.pack("<256I", 0, 0x112233, 0xFFFFFF, *[0] * 253)),
        (CursorType.COLOR24, b"\x33\x22\x11\xff\xff\xff\0\0\0\x33\x22\x11\0\0\0"),
        (CursorType.COLOR32, b"\x33\x22\x11\x99\xff\xff\xff\x99\0\0\0\x99\x33\x22\x11\x99\0\0\0\0"),
    ],
)
def test_colors(type, colors):
    shape = decode_cursor(type, 5, 1, colors + bytes([0b0110_1000]))
    assert pixels(shape) == [b"\x33\x22\x11\xff", None, CLEAR, b"\x33\x22\x11\xff", CLEAR]
    opaque = decode_cursor(type, 5, 1, colors + bytes(1))
    assert pixels(opaque) == [b"\x33\x22\x11\xff", WHITE, BLACK, b"\x33\x22\x11\xff", BLACK]
    assert opaque.invert is None


def test_color16():
    colors = struct.pack("<4H", 0x7FFF, 0xFFFF, 0x7C00, 0x001F)
    shape = decode_cursor(CursorType.COLOR16, 2, 2, colors + bytes([0b1000_0000, 0b0000_0000]))
    assert pixels(shape) == [None, WHITE, b"\0\0\xff\xff", b"\xff\0\0\xff"]


def test_color4_rows_are_padded():
    palette = struct.pack("<16I", *(n * 0x010101 for n in range(16)))
    shape = decode_cursor(CursorType.COLOR4, 1, 2, b"\x1f\x2f" + palette + bytes(2))
    assert pixels(shape) == [b"\1\1\1\xff", b"\2\2\2\xff"]


def test_grey_instead_of_inversion():
    shape = decode_cursor(CursorType.MONO, 2, 2, b"\xc0\xc0\xc0\x80")
    one, other = bytes([0x50, 0x50, 0x50, 0x30]), bytes([0x30, 0x30, 0x30, 0xC0])
    assert shape.without_invert() == one + other + other + CLEAR
    plain = decode_cursor(CursorType.ALPHA, 1, 1, b"1234")
    assert plain.without_invert() == b"1234"


def test_hot_spot_stays_within_the_shape():
    shape = decode_cursor(CursorType.ALPHA, 2, 1, bytes(8), hot_x=9, hot_y=9)
    assert (shape.hot_x, shape.hot_y) == (1, 0)


SIZES = {
    CursorType.ALPHA: 9 * 3 * 4,
    CursorType.MONO: 2 * 3 * 2,
    CursorType.COLOR4: 5 * 3 + 64 + 6,
    CursorType.COLOR8: 9 * 3 + 1024 + 6,
    CursorType.COLOR16: 18 * 3 + 6,
    CursorType.COLOR24: 27 * 3 + 6,
    CursorType.COLOR32: 36 * 3 + 6,
}


@pytest.mark.parametrize("type", CursorType)
def test_sizes_are_exact(type):
    size = SIZES[type]
    assert len(decode_cursor(type, 9, 3, bytes(size)).bgra) == 9 * 3 * 4
    for wrong in (0, size - 1, size + 1):
        with pytest.raises(CodecError, match=f"needs {size} bytes, got {wrong}"):
            decode_cursor(type, 9, 3, bytes(wrong))


def test_refused():
    with pytest.raises(CodecError, match="unknown type 7"):
        decode_cursor(7, 1, 1, b"")
    with pytest.raises(CodecError, match="limit"):
        decode_cursor(CursorType.ALPHA, MAX_CURSOR_SIDE + 1, 1, b"")


def test_empty_shape():
    for type in CursorType:
        size = {CursorType.COLOR4: 64, CursorType.COLOR8: 1024}.get(type, 0)
        assert decode_cursor(type, 0, 0, bytes(size)).bgra == b""


@given(st.integers(0, 8), st.integers(0, 20), st.integers(0, 20), st.binary(max_size=1200))
def test_anything_decodes_or_is_refused(type, width, height, data):
    try:
        shape = decode_cursor(type, width, height, data)
    except CodecError:
        return
    assert len(shape.bgra) == 4 * width * height
