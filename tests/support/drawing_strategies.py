"""Strategies for drawings of all kinds on small surfaces of all formats, and what to check of each."""

from hypothesis import strategies as st

from caraway.canvas.raster import Mask
from caraway.canvas.region import Box, Point
from caraway.canvas.source import Pattern
from caraway.canvas.surface import Surface
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import Rop
from support import plain_canvas as plain

COLOR_SURFACES = [SurfaceFormat.XRGB32, SurfaceFormat.ARGB32, SurfaceFormat.RGB555, SurfaceFormat.RGB565]
SURFACES = [*COLOR_SURFACES, SurfaceFormat.A8, SurfaceFormat.A1]
SOURCES = [
    PixelFormat.BGRX32,
    PixelFormat.BGRA32,
    PixelFormat.RGB555,
    PixelFormat.RGB555_OPAQUE,
    PixelFormat.RGB565,
    PixelFormat.BGR24,
    PixelFormat.A8,
]
OPERATIONS = (0, *Rop.__members__.values())

coordinates = st.integers(-6, 18)
sizes = st.integers(1, 12)


@st.composite
def boxes(draw):
    left, top = draw(coordinates), draw(coordinates)
    return Box(left, top, left + draw(st.integers(0, 16)), top + draw(st.integers(0, 16)))


@st.composite
def surfaces(draw, formats=SURFACES):
    surface = Surface(draw(sizes), draw(sizes), draw(st.sampled_from(formats)))
    surface.view[:] = draw(st.randoms(use_true_random=False)).randbytes(len(surface.data))
    if surface.format is SurfaceFormat.A1:
        surface.view[:] = bytes(255 * (byte & 1) for byte in surface.data)
    return surface


@st.composite
def bitmaps(draw, formats=SOURCES):
    width, height, format = draw(sizes), draw(sizes), draw(st.sampled_from(formats))
    stride = format.row_bytes(width) + draw(st.integers(0, 5))
    data = draw(st.randoms(use_true_random=False)).randbytes(stride * height)
    return Bitmap(width, height, format, stride, data)


points = st.builds(Point, coordinates, coordinates)
clips = st.none() | st.lists(boxes(), max_size=5)
masks = st.none() | st.builds(
    Mask, bitmaps([PixelFormat.BIT1_LE, PixelFormat.BIT1_BE]), st.builds(Point, st.integers(-4, 4), st.integers(-4, 4))
)
inverted_masks = st.builds(lambda mask, invers: mask and Mask(mask.bitmap, mask.pos, invers), masks, st.booleans())
rops = st.builds(
    lambda operation, inversions: operation | inversions,
    st.sampled_from(OPERATIONS),
    st.sets(st.sampled_from([1, 2, 4, 1024])).map(sum),
)
brushes = st.none() | st.integers(0, (1 << 32) - 1) | st.builds(Pattern, bitmaps(), points)


def check(surface, expected, damage, bits=-1):
    """Draw: the words are the expected ones, as far as `bits` says, and none changes outside the disjoint damage."""
    expected = {place: word & bits for place, word in expected.items()}
    before = {place: word & bits for place, word in plain.words(surface).items()}
    changed = damage()
    assert {place: word & bits for place, word in plain.words(surface).items()} == expected
    covered = [(x, y) for box in changed for y in range(box.top, box.bottom) for x in range(box.left, box.right)]
    assert len(covered) == len(set(covered)), "damage overlaps"
    assert {place for place in expected if expected[place] != before[place]} <= set(covered)
