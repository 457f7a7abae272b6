"""Motion JPEG."""

import io

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caraway.codecs import jpeg, mjpeg
from caraway.codecs.bitmap import Bitmap, PixelFormat, flipped
from caraway.errors import CodecError
from support.vectors import load, vectors


def furthest(one, other):
    assert len(one) == len(other)
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("vector", vectors("mjpeg"))
def test_vector(vector, in_order):
    decoder = mjpeg.Decoder()
    for entry in (vector or {"sequence": [None]})["sequence"][:: 1 if in_order else -1]:
        payload, expected = load(entry)
        picture = decoder.decode(payload)
        if not vector["top_down"]:
            picture = flipped(picture)
        assert (picture.width, picture.height) == (entry["width"], entry["height"])
        assert furthest(bytes(picture.data), expected) <= vector["tolerance"]


def coded():
    data = bytes((n * n // 31 + 7 * n) & 255 for n in range(40 * 24 * 4))
    return jpeg.encode(Bitmap(40, 24, PixelFormat.BGRX32, 160, data), 50)


def parts(frame):
    """The frame without its Huffman tables, and those, as segments."""
    found = [(marker, bytes(frame[start:end])) for marker, start, end in jpeg.segments(frame)]
    tail = frame[2 + sum(len(segment) for _, segment in found) :]
    bare = b"".join(segment for marker, segment in found if marker != 0xC4)
    return frame[:2] + bare + tail, [segment for marker, segment in found if marker == 0xC4]


def with_tables(bare, *tables):
    return bare[:2] + b"".join(tables) + bare[2:]


def test_standard_tables_are_assumed():
    whole = coded()
    bare, tables = parts(whole)
    assert len(tables) == 4
    want = mjpeg.Decoder().decode(whole).data
    assert mjpeg.Decoder().decode(bare).data == want
    for table in tables:
        assert mjpeg.Decoder().decode(with_tables(bare, table)).data == want, "the others are filled in"


def with_tables_of_its_own():
    """A frame coded with the best tables for just this picture."""
    out = io.BytesIO()
    data = bytes(n * n // 37 & 255 for n in range(40 * 24 * 3))
    PIL.Image.frombytes("RGB", (40, 24), data).save(out, "JPEG", quality=50, optimize=True)
    return out.getvalue()


def decoded_or_none(decoder, frame):
    try:
        return decoder.decode(frame).data
    except CodecError:
        return None


def test_tables_of_the_stream_stay():
    whole = with_tables_of_its_own()
    bare, _ = parts(whole)
    decoder = mjpeg.Decoder()
    want = decoder.decode(whole).data
    assert decoder.decode(bare).data == want
    assert decoded_or_none(mjpeg.Decoder(), bare) != want
    decoder.decode(coded())
    assert decoded_or_none(decoder, bare) != want, "replaced by those of the next frame that brings some"


def test_a_damaged_frame_leaves_the_tables():
    bare, _ = parts(coded())
    decoder = mjpeg.Decoder()
    with pytest.raises(CodecError):
        decoder.decode(with_tables_of_its_own()[:-40])
    assert decoder.decode(bare).data == mjpeg.Decoder().decode(coded()).data


def table(*body):
    content = bytes(body)
    return b"\xff\xc4" + (len(content) + 2).to_bytes(2, "big") + content


@pytest.mark.parametrize("segment", [table(0), table(0, *[0] * 15, 1), table(4, *[0] * 16), table(0x20, *[0] * 16)])
def test_tables_refused(segment):
    with pytest.raises(CodecError, match="Huffman table"):
        mjpeg.Decoder().decode(with_tables(parts(coded())[0], segment))


def test_sizes_refused():
    with pytest.raises(CodecError, match="limit 959 pixels"):
        mjpeg.Decoder(max_pixels=959).decode(coded())


def test_truncated_frames_are_refused():
    bare, _ = parts(coded())
    for size in range(len(bare)):
        with pytest.raises(CodecError):
            mjpeg.Decoder().decode(bare[:size])


@given(st.data())
def test_damaged_frames_are_decoded_or_refused(data):
    decoder = mjpeg.Decoder(max_pixels=1 << 16)
    for _ in range(2):
        damaged = bytearray(coded())
        for _ in range(data.draw(st.integers(0, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        try:
            decoded = decoder.decode(damaged)
        except CodecError:
            continue
        assert len(decoded.data) == decoded.stride * decoded.height
