"""The QUIC encoder."""

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.codecs import quic
from caraway.codecs.bitmap import MAX_PIXELS, Bitmap, PixelFormat
from caraway.errors import CodecError
from support import reference_quic
from support.vectors import load, vectors

KINDS = {
    PixelFormat.A8: "gray",
    PixelFormat.RGB555: "rgb16",
    PixelFormat.BGR24: "rgb24",
    PixelFormat.BGRX32: "rgb32",
    PixelFormat.BGRA32: "rgba",
}
FORMATS = {kind: format for format, kind in KINDS.items()}


def packed(picture):
    """The pixels without padding, 4 bytes each if they are of three bytes."""
    row_bytes = picture.format.row_bytes(picture.width)
    starts = range(0, picture.stride * picture.height, picture.stride)
    data = b"".join(bytes(picture.data[at : at + row_bytes]) for at in starts)
    if picture.format is PixelFormat.BGR24:
        return b"".join(data[at : at + 3] + b"\0" for at in range(0, len(data), 3))
    return data


def kept(picture):
    """The pixels that a decoder gives back: without what is not coded."""
    data = bytearray(packed(picture))
    if picture.format is PixelFormat.BGRX32:
        data[3::4] = bytes(len(data) // 4)
    if picture.format is PixelFormat.RGB555:
        data[1::2] = bytes(byte & 127 for byte in data[1::2])
    return bytes(data)


def expected_payload(picture):
    return reference_quic.encode(KINDS[picture.format], picture.width, picture.height, packed(picture))


def picture_of(format, width, height, pixels, padding=0):
    """A picture whose pixels are `pixels(x, y)`, numbers of which the low bits count."""
    size = format.bits // 8
    mask = (1 << format.bits) - 1
    rows = [b"".join((pixels(x, y) & mask).to_bytes(size, "little") for x in range(width)) for y in range(height)]
    return Bitmap(width, height, format, width * size + padding, b"".join(row + b"\xa5" * padding for row in rows))


@pytest.mark.parametrize("vector", vectors("quic"))
def test_payload_is_that_of_the_deployed_encoder(vector):
    payload, pixels = load(vector)
    format = FORMATS[vector["type"]]
    if format is PixelFormat.BGR24:
        pixels = b"".join(pixels[at : at + 3] for at in range(0, len(pixels), 4))
    assert quic.encode(Bitmap(vector["width"], vector["height"], format, vector["stride"], pixels)) == payload


@st.composite
def pictures(draw):
    """Pictures of few colours, with runs that start, end and do not happen, of slopes and of noise."""
    format = draw(st.sampled_from(list(KINDS)))
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 20))
    source = random.Random(draw(st.integers(0, 1 << 32)))
    colours = [source.getrandbits(32) for _ in range(draw(st.integers(1, 5)))]
    slope, grain, stay = (
        source.getrandbits(25),
        draw(st.sampled_from([0, 0x01010101, 0x03030303])),
        draw(st.floats(0, 1)),
    )
    here = {"colour": colours[0]}

    def pixel(x, y):
        if source.random() >= stay:
            here["colour"] = source.choice([*colours, slope * (x + y), source.getrandbits(32)])
        return here["colour"] ^ source.getrandbits(32) & grain

    return picture_of(format, width, height, pixel, draw(st.sampled_from([0, 0, 1, 7])))


@given(pictures())
def test_payload_is_that_of_the_plain_encoder(picture):
    assert quic.encode(picture) == expected_payload(picture)


@given(pictures())
def test_decoder_gives_the_picture_back(picture):
    decoded = quic.decode(quic.encode(picture))
    assert (decoded.width, decoded.height, bytes(decoded.data)) == (picture.width, picture.height, kept(picture))


@pytest.mark.parametrize("format", KINDS)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5), (2, 2), (3, 3), (4, 4), (33, 1), (5, 70)])
def test_smallest_pictures(format, width, height):
    source = random.Random(width)
    for pixels in (
        lambda x, y: 0x7F3F1F0F,
        lambda x, y: source.choice([0, 0xFFFFFFFF]),
        lambda x, y: x // 3 * 0x1010101,
    ):
        picture = picture_of(format, width, height, pixels)
        assert quic.encode(picture) == expected_payload(picture)


def hard_edges(x, y):
    """Flat boxes, lines of one pixel, boxes of noise: symbols of which no code in force was made for."""
    box = (x // 23 * 7 + y // 17 * 3) % 11
    if box < 6:
        return 0xFF00FF if (x + 3 * y) % 61 == 0 else box * 0x2A1533
    if box < 8:
        return (x * 2654435761 ^ y * 40503 * 65537) >> 3
    return (x * 3 + y) // 2 * 0x01010101


@pytest.mark.parametrize("format", KINDS)
@pytest.mark.parametrize(("width", "height"), [(331, 151), (5000, 9), (13, 3001)])
def test_large_picture_with_hard_edges(format, width, height):
    picture = picture_of(format, width, height, hard_edges, padding=3)
    assert quic.encode(picture) == expected_payload(picture)


def strips(format, width, height, source):
    """Rows of flat strips, of noise and of patterns, each repeated a few times."""
    size = format.bits // 8
    rows = []
    while len(rows) < height:
        row = b""
        while len(row) < width * size:
            part = source.randbytes(size * source.choice([1, 1, 1, 2, 5, 60]))
            row += part * source.choice([1, 1, 3, 40, 300])
        rows += [row[: width * size]] * source.choice([1, 1, 2, 9])
    return Bitmap(width, height, format, width * size, b"".join(rows[:height]))


@pytest.mark.parametrize("format", KINDS)
@pytest.mark.parametrize(("width", "height"), [(1366, 768), (20_000, 30), (41, 9000)])
def test_decoder_gives_large_pictures_back(format, width, height):
    picture = strips(format, width, height, random.Random(width))
    decoded = quic.decode(quic.encode(picture))
    assert bytes(decoded.data) == kept(picture)


@pytest.mark.parametrize("format", [PixelFormat.BGR24, PixelFormat.BGRX32, PixelFormat.BGRA32])
def test_payload_larger_than_expected(format):
    """Quiet rows teach the model short codes; noise then takes the longest, and more room than was made at first."""
    source = random.Random(5)
    picture = picture_of(format, 64, 200, lambda x, y: 0x10101010 if y < 50 else source.getrandbits(32))
    payload = quic.encode(picture)
    assert payload == expected_payload(picture)
    assert len(payload) > 2 * 64 * 200


def test_longest_run():
    picture = picture_of(PixelFormat.BGRX32, 100_000, 2, lambda x, y: 0x123456)
    assert quic.encode(picture) == expected_payload(picture)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_data_may_be_any_buffer(kind):
    picture = picture_of(PixelFormat.BGRX32, 5, 4, lambda x, y: x * y)
    picture.data = kind(picture.data)
    assert quic.encode(picture) == expected_payload(picture)


def test_sixteen_bits_are_rgb16_whatever_they_expand_to():
    data = bytes(range(24))
    payload = quic.encode(Bitmap(4, 3, PixelFormat.RGB555_OPAQUE, 8, data))
    assert payload == quic.encode(Bitmap(4, 3, PixelFormat.RGB555, 8, data))


def test_last_row_needs_no_padding():
    picture = picture_of(PixelFormat.BGR24, 5, 4, hard_edges, padding=9)
    picture.data = picture.data[:-9]
    assert quic.encode(picture) == expected_payload(picture)


def test_threads_do_not_disturb_each_other():
    picture = picture_of(PixelFormat.BGRA32, 300, 40, hard_edges)
    payloads = []
    threads = [threading.Thread(target=lambda: payloads.append(quic.encode(picture))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(payloads) == {quic.encode(picture)}
    assert len(payloads) == 4


@pytest.mark.parametrize(
    "format", [format for format in PixelFormat if format not in {*KINDS, PixelFormat.RGB555_OPAQUE}]
)
def test_format_without_a_type(format):
    with pytest.raises(CodecError, match=format.name):
        quic.encode(Bitmap(8, 1, format, 32, bytes(32)))


@pytest.mark.parametrize(
    ("width", "height", "stride", "size"),
    [
        (0, 4, 16, 64),
        (4, 0, 16, 64),
        (-4, 4, 16, 64),
        (4, 4, 16, 63),
        (4, 4, 15, 64),
        (4, 4, 17, 66),
        (4, 4, -16, 64),
        (4, 4, 1 << 62, 64),
        (4, 4, 1 << 70, 64),
        (MAX_PIXELS, 2, MAX_PIXELS * 4, 64),
        (1 << 70, 1 << 70, 16, 64),
        (MAX_PIXELS, 1, MAX_PIXELS * 4, 64),
    ],
)
def test_data_that_does_not_hold_the_picture(width, height, stride, size):
    with pytest.raises(CodecError):
        quic.encode(Bitmap(width, height, PixelFormat.BGRX32, stride, bytes(size)))
