"""Surfaces."""

import pytest

from caraway.canvas.region import Box
from caraway.canvas.surface import MAX_PIXELS, MAX_SIDE, Surface
from caraway.codecs.bitmap import PixelFormat
from caraway.errors import ProtocolError
from caraway.wire.messages.display import SurfaceFormat


@pytest.mark.parametrize(
    ("format", "depth", "pixel_bytes", "pixel_format"),
    [
        (1, 1, 1, PixelFormat.A8),
        (8, 8, 1, PixelFormat.A8),
        (16, 16, 2, PixelFormat.RGB555),
        (80, 16, 2, PixelFormat.RGB565),
        (32, 32, 4, PixelFormat.BGRX32),
        (96, 32, 4, PixelFormat.BGRA32),
    ],
)
def test_formats(format, depth, pixel_bytes, pixel_format):
    surface = Surface(5, 3, format)
    assert surface.format is SurfaceFormat(format)
    assert (surface.depth, surface.pixel_bytes, surface.pixel_format) == (depth, pixel_bytes, pixel_format)
    assert surface.data == bytes(5 * 3 * pixel_bytes)
    assert surface.bounds == Box(0, 0, 5, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        (0, 1, 32),
        (1, 0, 32),
        (-1, 1, 32),
        (MAX_SIDE + 1, 1, 32),
        (1, MAX_SIDE + 1, 32),
        (MAX_SIDE, MAX_PIXELS // MAX_SIDE + 1, 8),
        (1, 1, 24),
        (1, 1, 0),
    ],
)
def test_refused(arguments):
    with pytest.raises(ProtocolError, match="surface of"):
        Surface(*arguments)


def test_copy_is_independent():
    surface = Surface(2, 2, 32)
    other = surface.copy()
    surface.view[:] = b"\1" * 16
    assert not any(other.data)
    assert bytes(surface.copy().data) == b"\1" * 16


@pytest.mark.parametrize(
    ("format", "data", "rgb"),
    [
        (32, b"\1\2\3\xff\4\5\6\0", b"\3\2\1\6\5\4"),
        (96, b"\1\2\3\xff\4\5\6\0", b"\3\2\1\6\5\4"),
        (16, b"\x1f\x00\x00\x7c", b"\0\0\xff\xff\0\0"),
        (80, b"\xe0\x07\x00\xf8", b"\0\xff\0\xff\0\0"),
        (8, b"\x10\x20", b"\x10\x10\x10\x20\x20\x20"),
        (1, b"\xff\x00", b"\xff\xff\xff\0\0\0"),
    ],
)
def test_to_rgb(format, data, rgb):
    surface = Surface(2, 1, format)
    surface.view[:] = data
    assert surface.to_rgb() == rgb
    assert surface.to_rgb(Box(1, 0, 2, 1)) == rgb[3:]


def test_part_to_rgb():
    surface = Surface(4, 3, 32)
    for y in range(3):
        for x in range(4):
            surface.view[16 * y + 4 * x : 16 * y + 4 * x + 4] = bytes([x, y, 7, 0])
    assert surface.to_rgb(Box(1, 1, 3, 3)) == bytes([7, 1, 1, 7, 1, 2, 7, 2, 1, 7, 2, 2])
    assert surface.to_rgb(Box(0, 2, 4, 3)) == bytes([7, 2, 0, 7, 2, 1, 7, 2, 2, 7, 2, 3])
