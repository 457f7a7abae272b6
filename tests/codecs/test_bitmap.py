"""Raw bitmaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.codecs import bitmap, pixels
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.errors import CodecError
from support.plain_canvas import pixel
from support.vectors import load, vectors

WIRE = {
    "1bit_be": 2,
    "4bit_be": 4,
    "8bit": 5,
    "8bit_on555": 5,
    "16bit": 6,
    "16bit_on555": 6,
    "24bit": 7,
    "32bit": 8,
    "rgba": 9,
    "8bit_a": 10,
}


def rows(picture):
    row_bytes = picture.format.row_bytes(picture.width)
    return bytes(pixels.packed_rows(picture.data, picture.stride, row_bytes, picture.height, flip=False))


@pytest.mark.parametrize("vector", vectors("bitmap"))
def test_vector(vector):
    payload, expected = load(vector)
    picture = bitmap.decode(
        WIRE[vector["type"]],
        vector["width"],
        vector["height"],
        vector["stride"],
        payload,
        top_down=bool(vector["top_down"]),
        palette=vector.get("palette"),
        palette_format=PixelFormat.RGB555 if vector["surface_format"] == 16 else PixelFormat.BGRX32,
    )
    got = rows(picture)
    if vector["expected_format"] == "bgrx" and picture.format.bits == 16:
        got = bytes(pixels.bgrx_from_555(got))
    assert got == expected


@pytest.mark.parametrize("top_down", [True, False])
@pytest.mark.parametrize(
    ("format", "low_first", "bits"), [(1, True, 1), (2, False, 1), (3, True, 4), (4, False, 4), (5, True, 8)]
)
def test_indices(format, low_first, bits, top_down):
    palette = [0x010203 * (n + 1) for n in range(1 << bits)]
    width, height, stride = 11, 3, 12
    data = bytes((37 * n + 11) & 255 for n in range(stride * height))
    picture = bitmap.decode(format, width, height, stride, data, top_down=top_down, palette=palette)
    assert picture.format is PixelFormat.BGRX32
    for y in range(height):
        row = data[stride * (y if top_down else height - 1 - y) :]
        for x in range(width):
            place = x * bits % 8
            shift = place if low_first else 8 - bits - place
            index = row[x * bits // 8] >> shift & (1 << bits) - 1
            at = y * picture.stride + 4 * x
            assert int.from_bytes(picture.data[at : at + 4], "little") == palette[index]


def test_short_palettes():
    four = bitmap.decode(4, 2, 1, 1, b"\x07", top_down=True, palette=[1, 2, 3])
    assert bytes(four.data) == b"\1\0\0\0\2\0\0\0", "4-bit indices count modulo the palette"
    eight = bitmap.decode(5, 2, 1, 2, b"\x00\x07", top_down=True, palette=[1, 2, 3])
    assert bytes(eight.data) == b"\1\0\0\0\0\0\0\0", "an index without entry is black"


def test_mask_stays_bits():
    mask = bitmap.decode(2, 9, 2, 4, b"\x80\x80\0\0\x01\0\0\0", top_down=False)
    assert mask.format is PixelFormat.BIT1_BE
    assert rows(mask) == b"\x01\0\x80\x80"


def test_top_row_first_is_not_copied():
    data = bytes(2 * 2 * 4)
    assert bitmap.decode(8, 2, 2, 8, data, top_down=True).data is data


def test_flipped():
    picture = Bitmap(2, 2, PixelFormat.INDEX8, 3, b"ab_cd_", [1])
    assert bitmap.flipped(picture) == Bitmap(2, 2, PixelFormat.INDEX8, 2, b"cdab", [1])


def test_high_bits():
    picture = Bitmap(1, 2, PixelFormat.BGRX32, 6, b"\1\2\3\0__\4\5\6\7")
    assert bytes(bitmap.with_high_bits(picture).data) == b"\1\2\3\xff\4\5\6\xff"
    alpha = Bitmap(1, 1, PixelFormat.BGRA32, 4, b"\1\2\3\4")
    assert bitmap.with_high_bits(alpha) is alpha


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, 1, 1, 4, b"1234"), "unknown format 0"),
        ((11, 1, 1, 4, b"1234"), "unknown format 11"),
        ((8, 0, 1, 4, b"1234"), "empty"),
        ((8, 1, 0, 4, b"1234"), "empty"),
        ((8, 2, 1, 4, b"12345678"), "needs rows of 8 bytes, got 4"),
        ((8, 1, 2, 4, b"1234567"), "needs 8 bytes, got 7"),
        ((8, 1 << 16, 1 << 16, 1 << 18, b""), "limit"),
        ((5, 1, 1, 1, b"1"), "without a palette"),
    ],
)
def test_refused(arguments, text):
    with pytest.raises(CodecError, match=text):
        bitmap.decode(*arguments, top_down=True)


def test_empty_palette_is_refused():
    with pytest.raises(CodecError, match="palette"):
        bitmap.decode(1, 1, 1, 1, b"1", top_down=True, palette=[])


@given(
    st.integers(0, 12),
    st.integers(0, 70),
    st.integers(0, 70),
    st.integers(0, 300),
    st.binary(max_size=300),
    st.booleans(),
    st.none() | st.lists(st.integers(0, 0xFFFFFFFF), max_size=300),
    st.sampled_from(PixelFormat),
)
def test_anything_decodes_or_is_refused(format, width, height, stride, data, top_down, palette, words):
    try:
        picture = bitmap.decode(
            format, width, height, stride, data, top_down=top_down, palette=palette, palette_format=words
        )
    except CodecError:
        return
    assert (picture.width, picture.height) == (width, height)
    assert len(picture.data) >= picture.stride * (height - 1) + picture.format.row_bytes(width)


@given(
    st.sampled_from([format for format in PixelFormat if format is not PixelFormat.RGB565]),
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(0, 3),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_round_trip(format, width, height, padding, top_down, random):
    stride = format.row_bytes(width) + padding
    palette = [random.getrandbits(24) for _ in range(1 << format.bits)] if format.bits <= 8 else None
    if format is PixelFormat.A8:
        palette = None
    picture = Bitmap(width, height, format, stride, random.randbytes(stride * height), palette)
    raw = bitmap.encode(picture, top_down=top_down)
    decoded = bitmap.decode(raw.format, width, height, raw.stride, raw.data, top_down=top_down, palette=picture.palette)
    if palette:
        assert rows(decoded) == rows(bitmap.from_indices(picture))
    elif format is PixelFormat.BGR24:
        assert rows(decoded) == bytes(pixels.bgrx_from_bgr(rows(picture)))
    else:
        assert rows(decoded) == rows(picture)


def test_no_raw_565():
    with pytest.raises(CodecError, match="RGB565"):
        bitmap.encode(Bitmap(1, 1, PixelFormat.RGB565, 2, b"12"))


@given(st.binary(min_size=2, max_size=40).filter(lambda data: len(data) % 2 == 0))
def test_16_bits_expand_and_truncate(data):
    source = Bitmap(len(data) // 2, 1, PixelFormat.RGB555, len(data), data)
    wide = bytes(pixels.bgrx_from_555(data))
    assert wide == b"".join(bytes(pixel(source, x, 0)[:4]) for x in range(source.width))
    low15 = bytes(byte & 127 if at % 2 else byte for at, byte in enumerate(data))
    assert bytes(pixels.rgb555_from_bgrx(wide)) == low15
    assert bytes(pixels.rgb565_from_bgrx(bytes(pixels.bgrx_from_565(data)))) == data
