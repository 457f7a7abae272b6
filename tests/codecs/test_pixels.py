"""Compiled conversions of pixels, held against one pixel at a time."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.codecs import pixels
from caraway.codecs.kernels import pixels as kernel


def wide5(value):
    return value << 3 | value >> 2


def wide6(value):
    return value << 2 | value >> 4


def words(data, size):
    return [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data) // size * size, size)]


def joined(values, size):
    return b"".join(value.to_bytes(size, "little") for value in values)


CONVERSIONS = {
    pixels.bgrx_from_bgr: (3, 4, lambda word: word),
    pixels.bgr_from_bgrx: (4, 3, lambda word: word & 0xFFFFFF),
    pixels.bgrx_from_555: (
        2,
        4,
        lambda word: wide5(word & 31) | wide5(word >> 5 & 31) << 8 | wide5(word >> 10 & 31) << 16,
    ),
    pixels.bgrx_from_565: (2, 4, lambda word: wide5(word & 31) | wide6(word >> 5 & 63) << 8 | wide5(word >> 11) << 16),
    pixels.rgb555_from_bgrx: (
        4,
        2,
        lambda word: (word & 255) >> 3 | (word >> 8 & 255) >> 3 << 5 | (word >> 16 & 255) >> 3 << 10,
    ),
    pixels.rgb565_from_bgrx: (
        4,
        2,
        lambda word: (word & 255) >> 3 | (word >> 8 & 255) >> 2 << 5 | (word >> 16 & 255) >> 3 << 11,
    ),
    pixels.swap_bytes: (2, 2, lambda word: word >> 8 | (word & 255) << 8),
}
SIZES = st.one_of(st.integers(0, 70), st.sampled_from([4095, 4096, 4097, 9000]))


@pytest.mark.parametrize("convert", CONVERSIONS, ids=lambda function: function.__name__)
@given(SIZES, st.integers(0, 7), st.randoms(use_true_random=False))
def test_conversion(convert, count, offset, random):
    size, out_size, expected = CONVERSIONS[convert]
    data = memoryview(random.randbytes(count * size + offset))[offset:]
    assert bytes(convert(data)) == joined(map(expected, words(data, size)), out_size)


@pytest.mark.parametrize("convert", [pixels.bgrx_from_555, pixels.bgrx_from_565])
def test_high_byte(convert):
    assert bytes(convert(b"\0\0\xff\x7f", 255)[3::4]) == b"\xff\xff"


@given(SIZES, st.integers(0, 255))
def test_set_high_bytes(count, value):
    data = bytearray(b"abcd" * count)
    pixels.set_high_bytes(data, value)
    assert data == (b"abc" + bytes([value])) * count


@given(st.integers(0, 40), st.integers(0, 9), st.integers(0, 5), st.booleans(), st.booleans())
def test_packed_rows(row_bytes, height, padding, flip, whole):
    stride = row_bytes + padding
    data = bytes(at & 255 for at in range(stride * height))
    if not whole and height:
        data = data[: len(data) - padding]
    expected = [data[stride * y : stride * y + row_bytes] for y in range(height)]
    got = pixels.packed_rows(data, stride, row_bytes, height, flip=flip)
    assert bytes(got) == b"".join(reversed(expected) if flip else expected)


@given(
    st.sampled_from([1, 4, 8]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([2, 4]),
    st.one_of(st.integers(1, 40), st.just(5000)),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(1, 300),
    st.randoms(use_true_random=False),
)
def test_look_up(bits, low_first, flip, word_bytes, width, height, padding, entries, random):
    stride = (width * bits + 7) // 8 + padding
    data = random.randbytes(stride * height)
    palette = [random.getrandbits(32) for _ in range(entries)]
    mask = 0xFFFFFF if word_bytes == 4 else 0xFFFF
    expected = []
    for y in reversed(range(height)) if flip else range(height):
        for x in range(width):
            place = x * bits % 8
            index = data[y * stride + x * bits // 8] >> (place if low_first else 8 - bits - place) & (1 << bits) - 1
            if bits == 4:
                index %= entries
            expected.append(palette[index] & mask if index < entries else 0)
    got = pixels.look_up_rows(data, stride, width, height, bits, palette, word_bytes, low_first=low_first, flip=flip)
    assert bytes(got) == joined(expected, word_bytes)


def test_look_up_of_bytes():
    assert bytes(pixels.look_up(b"\1\0\2", [0xAABBCCDD, 0x11223344], 4)) == b"\x44\x33\x22\0\xdd\xcc\xbb\0\0\0\0\0"


@pytest.mark.parametrize(
    ("stride", "width", "height"),
    [(8, 3, 1), (8, 2, 3), (1 << 40, 2, 1), (8, -1, 1), (8, 1, -1), (8, 1, 1 << 40), (0, 1, 1), (-8, 1, 2)],
)
def test_the_kernel_checks_sizes(stride, width, height):
    data = bytes(16)
    with pytest.raises(ValueError, match="rows of"):
        kernel.convert(kernel.KINDS["bgr_from_bgrx"], data, stride, width, height, False, 0)
    with pytest.raises(ValueError, match="rows of"):
        kernel.look_up(data, stride, width * 4, height, False, 8, True, [1], 4)


def test_nothing_is_kept():
    tracemalloc.start()
    try:
        data = bytes(3 * 100_000)
        for _ in range(20):
            pixels.bgrx_from_bgr(data)
            with pytest.raises(ValueError, match="rows of"):
                kernel.convert(kernel.KINDS["copy"], data, 10, 10, 1 << 20, False, 0)
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
