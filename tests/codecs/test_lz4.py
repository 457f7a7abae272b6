"""The LZ4 payload."""

import struct
import tracemalloc

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.codecs import lz4 as codec
from caraway.codecs import pixels
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.errors import CodecError
from support.vectors import load, vectors

FORMATS = [
    PixelFormat.RGB555,
    PixelFormat.RGB555_OPAQUE,
    PixelFormat.BGR24,
    PixelFormat.BGRX32,
    PixelFormat.BGRA32,
]


@pytest.mark.parametrize("vector", vectors("lz4"))
def test_vector(vector):
    payload, expected = load(vector)
    picture = codec.decode(payload, vector["width"], vector["height"])
    assert (picture.width, picture.height) == (vector["width"], vector["height"])
    assert bytes(picture.data) == expected


@st.composite
def pictures(draw):
    format = draw(st.sampled_from(FORMATS))
    width, height = draw(st.integers(1, 80)), draw(st.integers(1, 12))
    stride = format.row_bytes(width) + draw(st.sampled_from([0, 0, 3]))
    parts = draw(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=6))
    data = bytearray()
    while len(data) < stride * height:
        data += draw(st.sampled_from(parts)) * draw(st.sampled_from([1, 40, 400]))
    return Bitmap(width, height, format, stride, bytes(data[: stride * height]))


def packed(picture):
    """What a decoder should make of it."""
    row_bytes = picture.format.row_bytes(picture.width)
    data = bytes(pixels.packed_rows(picture.data, picture.stride, row_bytes, picture.height, flip=False))
    if picture.format is PixelFormat.BGR24:
        return b"".join(data[at : at + 3] + b"\0" for at in range(0, len(data), 3))
    return data


@given(pictures(), st.booleans())
def test_round_trip(picture, top_down):
    decoded = codec.decode(codec.encode(picture, top_down=top_down), picture.width, picture.height)
    assert (decoded.width, decoded.height) == (picture.width, picture.height)
    assert bytes(decoded.data) == packed(picture)


def in_blocks(rows, size, header=b"\1\x08"):
    """Blocks of one stream, as a server sends them for a bitmap in several pieces of memory."""
    out = bytearray(header)
    for at in range(0, len(rows), size):
        block = lz4.block.compress(rows[at : at + size], store_size=False, dict=rows[max(0, at - (1 << 16)) : at])
        out += struct.pack(">I", len(block)) + block
    return bytes(out)


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 16, 100_000])
def test_matches_reach_into_earlier_blocks(size):
    width, height = 100, 3 if size < 100 else 700
    noise = b"".join(struct.pack("<I", (at * 2654435761) & 0xFFFFFFFF) for at in range(15_000))
    rows = (noise * 10)[: width * height * 4]
    payload = in_blocks(rows, size)
    assert size < 4096 or len(payload) < len(rows) / 2, "the noise repeats after 60,000 bytes"
    assert bytes(codec.decode(payload, width, height).data) == rows


def test_a_view_decodes():
    payload = memoryview(bytearray(in_blocks(b"abcdefgh", 3)))
    assert bytes(codec.decode(payload, 2, 1).data) == b"abcdefgh"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "header"),
        (b"\1", "header"),
        (b"\2\x08", "top_down is 2"),
        (b"\1\x05", "unknown format 5"),
        (b"\1\x0a", "unknown format 10"),
        (b"\1\x08", "blocks hold 0 bytes, the picture needs 8"),
        (b"\1\x08\0\0\1", "3 bytes where the size"),
        (b"\1\x08\0\0\0\0", "block of 0 bytes"),
        (b"\1\x08\0\0\0\2\0", "block of 2 bytes, 1 are left"),
        (b"\1\x08\xff\xff\xff\xff\0", "block of 4294967295 bytes"),
        (in_blocks(b"abcd", 4), "hold 4 bytes, the picture needs 8"),
        (in_blocks(b"abcdefghi", 9), "block at byte 6"),
        (in_blocks(b"abcdefghi", 8), "block at byte 19"),
    ],
)
def test_refused(data, text):
    with pytest.raises(CodecError, match=text):
        codec.decode(data, 2, 1)


def test_sizes_refused():
    payload = in_blocks(b"abcd", 4)
    with pytest.raises(CodecError, match="empty"):
        codec.decode(payload, 0, 1)
    with pytest.raises(CodecError, match="limit 3 pixels"):
        codec.decode(payload, 2, 2, max_pixels=3)
    with pytest.raises(CodecError, match="A8"):
        codec.encode(Bitmap(1, 1, PixelFormat.A8, 1, b"1"))


def test_large_size_alone_takes_no_memory():
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            codec.decode(in_blocks(b"abcdefgh", 8), 1 << 13, 1 << 13)
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


@given(pictures(), st.data())
def test_damaged_payloads_are_decoded_or_refused(picture, data):
    damaged = bytearray(codec.encode(picture))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(1, len(damaged))) :]
    try:
        decoded = codec.decode(bytes(damaged), picture.width, picture.height)
    except CodecError:
        return
    assert len(decoded.data) == decoded.stride * decoded.height


@given(pictures())
def test_truncated_payloads_are_refused(picture):
    whole = codec.encode(picture)
    for size in {0, 1, 2, 5, len(whole) // 2, len(whole) - 1}:
        if size < len(whole):
            with pytest.raises(CodecError):
                codec.decode(whole[:size], picture.width, picture.height)
