"""Drawings wider than what kernels work on at a time give the same pixels as the same drawings in narrow pieces."""

import random

import pytest

from caraway.canvas import raster
from caraway.canvas.blend import alpha_blend
from caraway.canvas.composite import composite
from caraway.canvas.raster import Mask
from caraway.canvas.region import Box, Point
from caraway.canvas.source import Pattern
from caraway.canvas.surface import Surface
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import CompositeFlags, Rop, ScaleMode
from caraway.wire.messages.shapes import Transform

WIDTH, HEIGHT = 2500, 9
PIECES = [Box(x, 0, min(x + 700, WIDTH), HEIGHT) for x in range(0, WIDTH, 700)]
BOX = Box(3, 1, WIDTH - 2, HEIGHT)

noise = random.Random(1)
source = Bitmap(WIDTH, HEIGHT, PixelFormat.BGRA32, WIDTH * 4, noise.randbytes(WIDTH * HEIGHT * 4))
rgb555 = Bitmap(WIDTH, HEIGHT, PixelFormat.RGB555, WIDTH * 2, noise.randbytes(WIDTH * HEIGHT * 2))
bits = Bitmap(WIDTH, HEIGHT, PixelFormat.BIT1_BE, 313, noise.randbytes(313 * HEIGHT))
tile = Bitmap(1300, 4, PixelFormat.BGRX32, 5200, noise.randbytes(5200 * 4))
small_tile = Bitmap(3, 2, PixelFormat.BGRX32, 12, noise.randbytes(24))
mask = Mask(bits, Point(1, 0))
pattern, small_pattern = Pattern(tile, Point(-7, 1)), Pattern(small_tile, Point(1, 1))
same = Box(0, 0, BOX.width, BOX.height)
half = Box(10, 2, 1200, 7)
no_transforms = (None, None, Point(0, 0), Point(1, 0))
turned = (Transform(40000, 500, 0, 0xFFFFFF00, 30000, 1 << 16), None, Point(-20, 0), Point(1, 0))

OPERATIONS = {
    "solid": lambda surface, clip: raster.fill(surface, BOX, clip, 0x12345678, Rop.OP_PUT),
    "xor": lambda surface, clip: raster.fill(surface, BOX, clip, 0x12345679, Rop.OP_XOR),
    "pattern": lambda surface, clip: raster.fill(surface, BOX, clip, pattern, Rop.OP_PUT),
    "masked pattern": lambda surface, clip: raster.fill(surface, BOX, clip, small_pattern, Rop.OP_OR, mask),
    "copy": lambda surface, clip: raster.copy(surface, BOX, clip, source, same),
    "copy of 16 bits": lambda surface, clip: raster.copy(surface, BOX, clip, rgb555, same),
    "masked copy": lambda surface, clip: raster.copy(surface, BOX, clip, source, same, Rop.OP_AND, 0, mask),
    "nearest": lambda surface, clip: raster.copy(surface, BOX, clip, source, half, Rop.OP_PUT, ScaleMode.NEAREST),
    "bilinear": lambda surface, clip: raster.copy(surface, BOX, clip, source, half, Rop.OP_PUT, ScaleMode.INTERPOLATE),
    "rop3": lambda surface, clip: raster.rop3(surface, BOX, clip, source, same, pattern, 0x6A),
    "transparent": lambda surface, clip: raster.transparent(surface, BOX, clip, source, same, 0),
    "alpha blend": lambda surface, clip: alpha_blend(surface, BOX, clip, source, same, 200),
    "composite": lambda surface, clip: composite(surface, BOX, clip, 11, source, rgb555, *no_transforms),
    "transformed": lambda surface, clip: composite(surface, BOX, clip, 3 | 1 << 10 | 3 << 14, source, None, *turned),
    "component alpha": lambda surface, clip: composite(
        surface, BOX, clip, 3 | CompositeFlags.COMPONENT_ALPHA, source, source, *turned
    ),
}


@pytest.mark.parametrize("format", SurfaceFormat)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_wide_drawing(format, operation):
    whole = Surface(WIDTH, HEIGHT, format)
    whole.view[:] = random.Random(2).randbytes(len(whole.data))
    if format is SurfaceFormat.A1:
        whole.view[:] = bytes(255 * (byte & 1) for byte in whole.data)
    pieces, before = whole.copy(), bytes(whole.data)
    OPERATIONS[operation](whole, None)
    for piece in PIECES:
        OPERATIONS[operation](pieces, [piece])
    assert whole.data == pieces.data
    assert whole.data != before


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (-1, 0), (0, 1), (0, -1), (700, 2), (-700, -2)])
def test_wide_copy_bits(dx, dy):
    surface = Surface(WIDTH, HEIGHT, SurfaceFormat.RGB565)
    surface.view[:] = random.Random(3).randbytes(len(surface.data))
    snapshot = surface.copy()
    raster.copy_bits(surface, BOX, None, Point(BOX.left + dx, BOX.top + dy))
    expected = snapshot.copy()
    area = Box(BOX.left + dx, BOX.top + dy, BOX.right + dx, BOX.bottom + dy)
    raster.copy(expected, BOX, None, snapshot, area)
    assert surface.data == expected.data
