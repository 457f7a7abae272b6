"""The QUIC codec."""

import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.codecs import quic
from caraway.codecs.bitmap import PixelFormat
from caraway.errors import CodecError
from support import reference_quic
from support.vectors import load, vectors

LAYOUT = {
    "gray": PixelFormat.A8,
    "rgb16": PixelFormat.RGB555,
    "rgb24": PixelFormat.BGRX32,
    "rgb32": PixelFormat.BGRX32,
    "rgba": PixelFormat.BGRA32,
}


def header(kind=4, width=8, height=8, magic=quic.MAGIC, version=0):
    return struct.pack("<5I", magic, version, kind, width, height)


def noise(width, height, random):
    return [(random.getrandbits(8), random.getrandbits(8), random.getrandbits(8)) for _ in range(width * height)]


def flat(width, height, random):
    return noise(1, 1, random) * (width * height)


def runs(width, height, random):
    colours, out = noise(3, 1, random), []
    while len(out) < width * height:
        out += [random.choice(colours)] * random.choice([1, 1, 2, 3, 7, 50, 700])
    return out[: width * height]


def gradient(width, height, random):
    across, down, step = random.uniform(-3, 3), random.uniform(-3, 3), random.choice([0, 0, 2, 9])
    levels = [[int(across * x + down * y) for x in range(width)] for y in range(height)]
    return [
        tuple(level * (c + 1) // 2 + random.randint(-step, step) & 255 for c in range(3))
        for row in levels
        for level in row
    ]


def edges(width, height, random):
    """Blocks of different kinds, one beside the other."""
    side = random.choice([5, 16, 41])
    parts = [make(width, height, random) for make in (noise, flat, runs, gradient)]
    return [parts[(x // side * 7 + y // side * 5) % 4][y * width + x] for y in range(height) for x in range(width)]


KINDS = {"noise": noise, "flat": flat, "runs": runs, "gradient": gradient, "edges": edges}


def pixels_of(kind, colours, alphas):
    """Colours in the memory layout of an image type."""
    if kind == "gray":
        return bytes(colour[0] for colour in colours)
    if kind == "rgb16":
        return b"".join((r >> 3 << 10 | g >> 3 << 5 | b >> 3).to_bytes(2, "little") for r, g, b in colours)
    if kind != "rgba":
        return b"".join(bytes((b, g, r, 0)) for r, g, b in colours)
    return b"".join(bytes((b, g, r, a[0])) for (r, g, b), a in zip(colours, alphas, strict=True))


def picture(kind, width, height, contents, seed):
    source = random.Random(seed)
    alphas = KINDS[source.choice(list(KINDS))](width, height, source) if kind == "rgba" else []
    return pixels_of(kind, KINDS[contents](width, height, source), alphas)


def assert_decodes(payload, kind, width, height, pixels):
    found = quic.decode(payload)
    assert (found.width, found.height, found.format) == (width, height, LAYOUT[kind])
    assert found.stride == found.format.row_bytes(width)
    assert found.data == pixels


@pytest.mark.parametrize("vector", vectors("quic"))
def test_vector(vector):
    payload, expected = load(vector)
    assert_decodes(payload, vector["type"], vector["width"], vector["height"], expected)


@pytest.mark.parametrize("vector", vectors("quic"))
def test_reference_agrees_with_vector(vector):
    payload, expected = load(vector)
    kind, width, height = vector["type"], vector["width"], vector["height"]
    assert reference_quic.decode(payload) == (kind, width, height, expected)
    assert reference_quic.encode(kind, width, height, expected) == payload


@given(
    kind=st.sampled_from(list(LAYOUT)),
    width=st.integers(1, 70),
    height=st.integers(1, 20),
    contents=st.sampled_from(list(KINDS)),
    seed=st.integers(0, 1 << 32),
)
def test_what_reference_encodes(kind, width, height, contents, seed):
    pixels = picture(kind, width, height, contents, seed)
    assert_decodes(reference_quic.encode(kind, width, height, pixels), kind, width, height, pixels)


@pytest.mark.parametrize("kind", list(LAYOUT))
@pytest.mark.parametrize(
    ("contents", "width", "height"),
    [("edges", 250, 170), ("noise", 9000, 3), ("gradient", 131, 130), ("runs", 4100, 9), ("flat", 2049, 12)],
)
def test_large_picture(kind, contents, width, height):
    """Beyond the 12288 pixels after which the model settles, with segments that end inside rows."""
    pixels = picture(kind, width, height, contents, 7)
    assert_decodes(reference_quic.encode(kind, width, height, pixels), kind, width, height, pixels)


@pytest.mark.parametrize("kind", list(LAYOUT))
def test_every_truncation_is_an_error(kind):
    payload = reference_quic.encode(kind, 33, 6, picture(kind, 33, 6, "edges", 5))
    assert quic.decode(payload)
    for size in range(len(payload)):
        with pytest.raises(CodecError):
            quic.decode(payload[:size])


def test_words_after_the_image_are_ignored():
    pixels = picture("rgb32", 9, 9, "runs", 1)
    payload = reference_quic.encode("rgb32", 9, 9, pixels)
    assert_decodes(payload + b"\xff" * 12, "rgb32", 9, 9, pixels)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (header(magic=0x43495552), "magic"),
        (header(version=1), "version"),
        (header(kind=0), "unknown type 0"),
        (header(kind=6), "unknown type 6"),
        (header(width=0), "empty"),
        (header(height=0), "empty"),
        (header(width=1 << 31, height=1), "limit"),
        (header(width=1 << 14, height=1 << 13), "limit"),
        (header()[:19], "19"),
    ],
)
def test_bad_header(start, words):
    with pytest.raises(CodecError, match=words):
        quic.decode(start + bytes(1 << 10) if len(start) == 20 else start)


def test_limit_of_pixels():
    payload = reference_quic.encode("gray", 10, 10, bytes(100))
    assert quic.decode(payload, max_pixels=100)
    with pytest.raises(CodecError, match="limit 99"):
        quic.decode(payload, max_pixels=99)


def test_claimed_size_takes_no_memory():
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            quic.decode(header(width=8192, height=8192) + bytes(64))
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


class Overrunner(reference_quic.Writer):
    """Writes runs one pixel longer than they are."""

    def run(self, state, length):
        super().run(state, length + 1)
        return length


def test_run_that_leaves_its_segment():
    with pytest.raises(CodecError):
        quic.decode(reference_quic.encode("gray", 5, 2, bytes(10), Overrunner()))
    assert quic.decode(reference_quic.encode("gray", 5, 2, bytes(10)))


@settings(max_examples=300)
@given(
    kind=st.sampled_from(list(LAYOUT)),
    contents=st.sampled_from(list(KINDS)),
    seed=st.integers(0, 1 << 32),
    changes=st.lists(st.tuples(st.integers(8, 1 << 16), st.integers(1, 255)), min_size=1, max_size=6),
)
def test_mutated_payload(kind, contents, seed, changes):
    """Gives a picture of the size that its header says, the same one as the reference makes of it, or a CodecError."""
    payload = bytearray(reference_quic.encode(kind, 40, 9, picture(kind, 40, 9, contents, seed)))
    for at, value in changes:
        payload[8 + at % (len(payload) - 8)] ^= value
    try:
        found = quic.decode(payload, max_pixels=1 << 12)
    except CodecError:
        expected = None
    else:
        expected = found.data
    number, width, height = struct.unpack_from("<3I", payload, 8)
    if number not in reference_quic.TYPES.values() or not 0 < width * height <= 1 << 12:
        assert expected is None
        return
    try:
        reference = reference_quic.decode(bytes(payload))[3]
    except (EOFError, ValueError):
        reference = None
    assert expected == reference


def test_buffers():
    payload = reference_quic.encode("rgb16", 7, 5, picture("rgb16", 7, 5, "noise", 2))
    expected = quic.decode(payload).data
    assert quic.decode(bytearray(payload)).data == expected
    assert quic.decode(memoryview(b"ab" + payload)[2:]).data == expected


@pytest.mark.parametrize("vector", vectors("quic"))
def test_decoding_into_memory(vector):
    payload, expected = load(vector)
    width, height = vector["width"], vector["height"]
    rows = bytearray(b"\7" * (4 * width * height + 4))
    if quic.decode(payload).format is not PixelFormat.BGRX32:
        assert not quic.decode_into(payload, memoryview(rows), width, height)
        return
    assert not quic.decode_into(payload, memoryview(rows), width + 1, height)
    assert quic.decode_into(payload, memoryview(rows)[:-4], width, height)
    assert rows == expected + b"\7" * 4
    with pytest.raises(ValueError, match="smaller"):
        quic.decode_into(payload, memoryview(rows)[:-8], width, height)
    with pytest.raises(CodecError):
        quic.decode_into(payload[: len(payload) // 8 * 4], memoryview(rows), width, height)
