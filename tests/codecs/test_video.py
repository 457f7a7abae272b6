"""Video by FFmpeg."""

import contextlib
import functools
import sys

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.codecs import video
from caraway.codecs.bitmap import PixelFormat
from caraway.errors import CodecError

VP8, H264, VP9, H265 = 2, 3, 4, 5
ENCODERS = {
    VP8: ("libvpx", {"deadline": "realtime", "lag-in-frames": "0", "auto-alt-ref": "0"}),
    H264: ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "aud=1:repeat-headers=1"}),
    VP9: ("libvpx-vp9", {"deadline": "realtime", "lag-in-frames": "0", "cpu-used": "8"}),
    H265: ("libx265", {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"}),
}
COLORS = [(0, 0, 0), (255, 255, 255), (200, 30, 30), (30, 200, 30), (30, 30, 200), (128, 128, 128)]
"""Red, green, blue: frame n is of colour n, its right half of the next."""


def rgba(n, width, height):
    left, right = (bytes([*COLORS[at % len(COLORS)], 255]) for at in (n, n + 1))
    return (left * (width // 2) + right * (width - width // 2)) * height


@functools.cache
def coded(codec, count, width=96, height=64):
    """Access units, one a picture."""
    name, options = ENCODERS[codec]
    encoder = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.framerate = 25
    encoder.bit_rate = 2_000_000
    encoder.options = options
    units = []
    for n in range(count):
        frame = av.VideoFrame.from_bytes(rgba(n, width, height), width, height).reformat(format="yuv420p")
        frame.pts = n
        units += [bytes(packet) for packet in encoder.encode(frame)]
    assert len(units) == count
    return units


def color(picture, x, y):
    at = y * picture.stride + 4 * x
    blue, green, red, spare = picture.data[at : at + 4]
    assert spare == 0
    return red, green, blue


def assert_shows(picture, n):
    assert picture.format is PixelFormat.BGRX32
    assert len(picture.data) >= picture.stride * picture.height
    for x, want in ((picture.width // 4, COLORS[n % 6]), (picture.width * 3 // 4, COLORS[(n + 1) % 6])):
        assert color(picture, x, picture.height // 2) == pytest.approx(want, abs=12)


@pytest.mark.parametrize("codec", ENCODERS)
def test_each_unit_gives_its_picture_at_once(codec):
    decoder = video.Decoder(codec)
    for n, unit in enumerate(coded(codec, 8)):
        picture = decoder.decode(memoryview(bytearray(unit)))
        assert (picture.width, picture.height) == (96, 64)
        assert_shows(picture, n)


@pytest.mark.parametrize("codec", ENCODERS)
def test_late_units_are_decoded_but_not_converted(codec):
    decoder = video.Decoder(codec)
    *late, last = coded(codec, 6)
    assert [decoder.decode(unit, shown=False) for unit in late] == [None] * 5
    assert_shows(decoder.decode(last), 5)


@pytest.mark.parametrize("codec", ENCODERS)
def test_size_may_change(codec):
    decoder = video.Decoder(codec)
    for size in ((96, 64), (130, 34), (64, 64)):
        pictures = [decoder.decode(unit) for unit in coded(codec, 3, *size)]
        assert (pictures[-1].width, pictures[-1].height) == size
        assert_shows(pictures[-1], 2)


@pytest.mark.parametrize("codec", ENCODERS)
def test_size_is_bounded(codec):
    (unit,) = coded(codec, 1)
    assert_shows(video.Decoder(codec, max_pixels=128 * 96).decode(unit), 0)
    with pytest.raises(CodecError):
        video.Decoder(codec, max_pixels=96 * 64 - 1).decode(unit)


@pytest.mark.parametrize("codec", ENCODERS)
def test_goes_on_after_a_damaged_unit(codec):
    decoder = video.Decoder(codec)
    units = coded(codec, 3)
    for garbage in (b"", b"\0", b"garbage" * 9):
        with contextlib.suppress(CodecError):
            decoder.decode(garbage)
    pictures = [decoder.decode(unit) for unit in units]
    assert_shows(pictures[-1], 2)


@pytest.mark.parametrize("codec", ENCODERS)
@settings(max_examples=25)
@given(data=st.data())
def test_damaged_units_are_decoded_or_refused(codec, data):
    decoder = video.Decoder(codec, max_pixels=1 << 16)
    for unit in coded(codec, 3):
        damaged = bytearray(unit)
        for _ in range(data.draw(st.integers(0, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        del damaged[data.draw(st.integers(1, len(damaged))) :]
        try:
            picture = decoder.decode(damaged)
        except CodecError:
            continue
        if picture is not None:
            assert picture.width * picture.height <= 1 << 16
            assert len(picture.data) >= picture.stride * picture.height


@pytest.mark.parametrize("codec", [0, 1, 6])
def test_refused_codecs(codec):
    assert codec not in video.CODECS
    with pytest.raises(CodecError, match=f"unknown codec {codec}"):
        video.Decoder(codec)


def test_missing_package_is_named(monkeypatch):
    assert video.is_available()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CodecError, match=r"pip install 'caraway\[video\]'"):
        video.Decoder(H264)
