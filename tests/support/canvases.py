"""Made-up surfaces, regions and brushes to draw with, and what every drawing must keep to."""

from hypothesis import strategies as st

from caraway.canvas.region import Box, Point
from caraway.canvas.source import Pattern
from caraway.canvas.surface import Surface
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import Rop
from support import plain_canvas as plain

SURFACES = [
    SurfaceFormat.XRGB32,
    SurfaceFormat.ARGB32,
    SurfaceFormat.RGB555,
    SurfaceFormat.RGB565,
    SurfaceFormat.A8,
]
SOURCES = [
    PixelFormat.BGRX32,
    PixelFormat.BGRA32,
    PixelFormat.RGB555,
    PixelFormat.RGB555_OPAQUE,
    PixelFormat.A8,
]

coordinates = st.integers(-6, 30)
sizes = st.integers(1, 24)
noise = st.randoms(use_true_random=False)


@st.composite
def boxes(draw):
    left, top = draw(coordinates), draw(coordinates)
    return Box(left, top, left + draw(st.integers(0, 30)), top + draw(st.integers(0, 30)))


@st.composite
def surfaces(draw):
    surface = Surface(draw(sizes), draw(sizes), draw(st.sampled_from(SURFACES)))
    surface.view[:] = draw(noise).randbytes(len(surface.data))
    return surface


@st.composite
def bitmaps(draw):
    width, height, format = draw(sizes), draw(sizes), draw(st.sampled_from(SOURCES))
    stride = format.row_bytes(width) + draw(st.integers(0, 5))
    return Bitmap(width, height, format, stride, draw(noise).randbytes(stride * height))


points = st.builds(Point, coordinates, coordinates)
clips = st.none() | st.lists(boxes(), max_size=5)
brushes = st.none() | st.integers(0, (1 << 32) - 1) | st.builds(Pattern, bitmaps(), points)
rops = st.builds(
    lambda operation, inversions: operation | inversions,
    st.sampled_from([0, *Rop.__members__.values()]),
    st.sets(st.sampled_from([1, 2, 4, 1024])).map(sum),
)


def check(surface, expected, draw, bits=-1):
    """Draw: the words are the expected ones, and no word changes outside the damage, which is disjoint.

    bits: those of a word that count.
    """
    expected = {place: word & bits for place, word in expected.items()}
    before = {place: word & bits for place, word in plain.words(surface).items()}
    damage = draw()
    assert {place: word & bits for place, word in plain.words(surface).items()} == expected
    covered = [(x, y) for box in damage for y in range(box.top, box.bottom) for x in range(box.left, box.right)]
    assert len(covered) == len(set(covered)), "damage overlaps"
    assert {place for place in expected if expected[place] != before[place]} <= set(covered)
