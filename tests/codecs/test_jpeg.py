"""JPEG and JPEG_ALPHA."""

import struct
import tracemalloc

import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from caraway.codecs import jpeg, lz
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.errors import CodecError
from support.vectors import load, vectors

SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def furthest(one, other):
    """The largest difference of a byte."""
    assert len(one) == len(other)
    return max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0)


@pytest.mark.parametrize("vector", vectors("jpeg"))
def test_vector(vector):
    payload, expected = load(vector)
    picture = jpeg.decode(payload)
    assert (picture.width, picture.height, picture.format) == (vector["width"], vector["height"], PixelFormat.BGRX32)
    assert furthest(bytes(picture.data), expected) <= vector["tolerance"]
    assert not any(picture.data[3::4])


@pytest.mark.parametrize("vector", vectors("jpeg_alpha"))
def test_alpha_vector(vector):
    payload, expected = load(vector)
    picture = jpeg.decode_alpha(payload, vector["jpeg_size"], top_down=bool(vector["flags"] & 1))
    assert (picture.width, picture.height, picture.format) == (vector["width"], vector["height"], PixelFormat.BGRA32)
    got = bytes(picture.data)
    for component in range(3):
        assert furthest(got[component::4], expected[component::4]) <= vector["tolerance_color"]
    assert furthest(got[3::4], expected[3::4]) <= vector["tolerance_alpha"]
    with pytest.raises(CodecError, match="disagrees with top_down"):
        jpeg.decode_alpha(payload, vector["jpeg_size"], top_down=not vector["flags"] & 1)


def gradient(width, height, format, padding=0):
    size = format.bits // 8
    row = bytearray()
    for x in range(width):
        row += bytes([x * 255 // width, 128, 255 - x * 255 // width, 77][:size])
    stride = len(row) + padding
    return Bitmap(width, height, format, stride, bytes(row + bytes(padding)) * height)


@pytest.mark.parametrize("format", [PixelFormat.BGR24, PixelFormat.BGRX32, PixelFormat.BGRA32])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 9), (17, 1), (40, 33), (300, 20)])
def test_round_trip(format, width, height):
    picture = gradient(width, height, format, padding=3)
    decoded = jpeg.decode(jpeg.encode(picture, 95))
    assert (decoded.width, decoded.height) == (width, height)
    size = format.bits // 8
    for y in range(height):
        want = picture.data[y * picture.stride :][: width * size]
        got = bytes(decoded.data[y * decoded.stride :][: width * 4])
        for component in range(3):
            assert furthest(want[component::size], got[component::4]) <= 16


@given(st.integers(1, 40), st.integers(1, 20), st.randoms(use_true_random=False), st.booleans())
def test_alpha_round_trip(width, height, random, top_down):
    picture = Bitmap(width, height, PixelFormat.BGRA32, width * 4, random.randbytes(width * height * 4))
    payload, jpeg_size = jpeg.encode_alpha(picture, top_down=top_down)
    decoded = jpeg.decode_alpha(payload, jpeg_size, top_down=top_down)
    assert bytes(decoded.data[3::4]) == picture.data[3::4]
    assert bytes(decoded.data[0::4]) == bytes(jpeg.decode(jpeg.encode(picture)).data[0::4])


def test_quality():
    picture = Bitmap(64, 64, PixelFormat.BGRX32, 256, bytes(n * n % 251 for n in range(64 * 64 * 4)))
    assert len(jpeg.encode(picture, 20)) < len(jpeg.encode(picture)) < len(jpeg.encode(picture, 95))
    assert jpeg.encode(picture) == jpeg.encode(picture, 85)


def test_gray():
    coded = simplejpeg.encode_jpeg(memoryview(bytes([99] * 60)).cast("B", (6, 10, 1)), 90, "GRAY", "Gray")
    assert bytes(jpeg.decode(coded).data) == bytes([99, 99, 99, 0] * 60)


def frame(components, sampling, width, height, *, marker=0xC0, precision=8, scan=b"\0" * 64):
    """Marker segments up to the coded data, without tables."""
    header = struct.pack(">BHHB", precision, height, width, components)
    header += b"".join(struct.pack("BBB", number, factors, 0) for number, factors in sampling)
    start = (
        struct.pack("B", components) + b"".join(struct.pack("BB", number, 0) for number, _ in sampling) + b"\0\x3f\0"
    )
    return (
        SOI
        + struct.pack(">BBH", 0xFF, marker, len(header) + 2)
        + header
        + struct.pack(">BBH", 0xFF, 0xDA, len(start) + 2)
        + start
        + scan
        + EOI
    )


COLORS = [(1, 0x22), (2, 0x11), (3, 0x11)]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "start of image"),
        (b"\x89PNG", "start of image"),
        (SOI, "end before"),
        (SOI + b"\xff\xff\xff\xff", "end before"),
        (SOI + b"\xff\xe0\0\1", "runs over the end"),
        (SOI + b"\xff\xe0\0\3", "runs over the end"),
        (SOI + b"abcd", "where a marker belongs"),
        (SOI + b"\xff\xd0\0\2", "where a marker belongs"),
        (SOI + b"\xff\0\0\2", "where a marker belongs"),
        (SOI + b"\xff\xd9\0\2", "where a marker belongs"),
        (SOI + b"\xff\xda\0\2", "no frame header"),
        (SOI + b"\xff\xc0\0\5abc\xff\xda\0\2", "too short"),
        (frame(3, COLORS, 8, 8, marker=0xC2), "type 0xc2"),
        (frame(3, COLORS, 8, 8, marker=0xC9), "type 0xc9"),
        (frame(3, COLORS, 8, 8, precision=12), "of 12 bits"),
        (frame(4, [*COLORS, (4, 0x11)], 8, 8), "4 components"),
        (frame(3, COLORS, 0, 8), "empty"),
        (frame(3, COLORS, 8, 0), "empty"),
        (frame(3, COLORS, 65500, 65500), "limit"),
        (frame(3, COLORS, 8192, 8192), "cannot hold"),
        (frame(3, COLORS, 8, 8, scan=b"\xff\xda\0\2" * 3), "more scans"),
        (frame(3, COLORS, 8, 8), "JPEG: "),
    ],
)
def test_refused(data, text):
    with pytest.raises(CodecError, match=text):
        jpeg.decode(data)


def test_one_frame_only():
    whole = frame(3, COLORS, 8, 8)
    header = whole[2:21]
    assert header[:2] == b"\xff\xc0"
    with pytest.raises(CodecError, match="only one baseline frame"):
        jpeg.read_size(SOI + header + whole[2:])


def test_bytes_between_segments():
    whole = jpeg.encode(gradient(20, 10, PixelFormat.BGRX32))
    filled = whole[:2] + b"\xff\xff" + whole[2:]
    assert jpeg.decode(filled).data == jpeg.decode(memoryview(bytearray(whole))).data


def test_sizes_refused():
    whole = jpeg.encode(gradient(20, 10, PixelFormat.BGRX32))
    with pytest.raises(CodecError, match="limit 199 pixels"):
        jpeg.decode(whole, max_pixels=199)
    with pytest.raises(CodecError, match="limit 65500 a side"):
        jpeg.encode(Bitmap(65501, 1, PixelFormat.BGR24, 65501 * 3, bytes(65501 * 3)))
    with pytest.raises(CodecError, match="RGB555"):
        jpeg.encode(Bitmap(1, 1, PixelFormat.RGB555, 2, b"12"))


def test_alpha_refused():
    picture = gradient(20, 10, PixelFormat.BGRA32)
    payload, jpeg_size = jpeg.encode_alpha(picture)
    for size in (-1, 0, len(payload), len(payload) + 1):
        with pytest.raises(CodecError, match="colours and an alpha plane"):
            jpeg.decode_alpha(payload, size, top_down=True)
    other = lz.encode_alpha(gradient(10, 20, PixelFormat.BGRA32))
    with pytest.raises(CodecError, match="alpha of 10x20"):
        jpeg.decode_alpha(payload[:jpeg_size] + other, jpeg_size, top_down=True)
    with pytest.raises(CodecError, match="alpha"):
        jpeg.encode_alpha(gradient(20, 10, PixelFormat.BGRX32))


def test_header_alone_takes_no_memory():
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            jpeg.decode(frame(3, COLORS, 8000, 8000))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@given(st.data())
def test_damaged_pictures_are_decoded_or_refused(data):
    damaged = bytearray(jpeg.encode(gradient(40, 33, PixelFormat.BGRX32)))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = jpeg.decode(bytes(damaged), max_pixels=1 << 16)
    except CodecError:
        return
    assert len(decoded.data) == decoded.stride * decoded.height


def test_truncated_pictures_are_refused():
    whole = jpeg.encode(gradient(40, 33, PixelFormat.BGRX32))
    for size in range(len(whole)):
        with pytest.raises(CodecError):
            jpeg.decode(whole[:size])


@given(st.data())
def test_damaged_alpha_is_decoded_or_refused(data):
    payload, jpeg_size = jpeg.encode_alpha(gradient(20, 10, PixelFormat.BGRA32))
    damaged = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(1, len(damaged))) :]
    size = data.draw(st.sampled_from([jpeg_size, jpeg_size - 1, jpeg_size + 1, 1, 1 << 31]))
    try:
        decoded = jpeg.decode_alpha(bytes(damaged), size, top_down=True, max_pixels=1 << 16)
    except CodecError:
        return
    assert len(decoded.data) == decoded.stride * decoded.height
