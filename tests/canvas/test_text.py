"""Text against a canvas that blends pixel by pixel."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.canvas.region import Box
from caraway.canvas.source import Pattern
from caraway.canvas.surface import Surface
from caraway.canvas.text import text
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.errors import ProtocolError
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import GlyphA1, GlyphA4, GlyphA8, String, StringFlags
from caraway.wire.messages.shapes import Point
from support import plain_canvas as plain
from support import plain_text
from support.drawing_strategies import bitmaps, boxes, brushes, check, clips, points, surfaces

GLYPHS = {
    StringFlags.RASTER_A1: (GlyphA1, 1),
    StringFlags.RASTER_A4: (GlyphA4, 4),
    StringFlags.RASTER_A8: (GlyphA8, 8),
}
NOWHERE = Box(0, 0, 0, 0)
SHOWN = {SurfaceFormat.XRGB32: 0xFFFFFF, SurfaceFormat.RGB555: 0x7FFF}
"""Bits of a word that blending does not leave unspecified."""


@st.composite
def strings(draw):
    flag = draw(st.sampled_from([*GLYPHS]))
    kind, depth = GLYPHS[flag]
    random = draw(st.randoms(use_true_random=False))
    glyphs = []
    for _ in range(draw(st.integers(0, 4))):
        width, height = draw(st.integers(0, 14)), draw(st.integers(0, 10))
        places = [Point(draw(st.integers(-5, 10)), draw(st.integers(-5, 10))) for _ in range(2)]
        glyphs.append(kind(*places, width, height, random.randbytes((width * depth + 7) // 8 * height)))
    return String(flag | draw(st.sampled_from([StringFlags(0), StringFlags.RASTER_TOP_DOWN])), glyphs)


def one(flag, width, height, data, x=0, y=0):
    """A string of one glyph at a place."""
    return String(flag, [GLYPHS[flag][0](Point(x, y), Point(0, 0), width, height, bytes(data))])


@settings(max_examples=200)
@given(surfaces(), boxes(), clips, strings(), boxes() | st.just(NOWHERE), brushes, brushes)
def test_text(surface, box, clip, string, back_area, fore_brush, back_brush):
    expected = plain_text.text(surface, box, clip, string, back_area, fore_brush, back_brush)
    draw = partial(text, surface, box, clip, string, back_area, fore_brush, back_brush)
    check(surface, expected, draw, SHOWN.get(surface.format, -1))


@given(surfaces(), strings(), bitmaps(), points)
def test_surface_as_a_pattern(surface, string, bitmap, pos):
    tile = Surface(bitmap.width, bitmap.height, surface.format)
    tile.view[:] = (bytes(bitmap.data) * 4)[: len(tile.data)]
    if tile.format is SurfaceFormat.A1:
        tile.view[:] = bytes(255 * (byte & 1) for byte in tile.data)
    brush = Pattern(tile, pos)
    expected = plain_text.text(surface, surface.bounds, None, string, NOWHERE, brush, None)
    draw = partial(text, surface, surface.bounds, None, string, NOWHERE, brush, None)
    check(surface, expected, draw, SHOWN.get(surface.format, -1))


def test_the_bottom_row_comes_first_whatever_the_flags_say():
    for top_down in (StringFlags(0), StringFlags.RASTER_TOP_DOWN):
        surface = Surface(8, 2, SurfaceFormat.A8)
        string = one(StringFlags.RASTER_A1, 8, 2, [0x80, 0x0F])
        string.flags |= top_down
        assert text(surface, surface.bounds, None, string, NOWHERE, 0, 0) == [Box(0, 0, 8, 2)]
        assert [bool(byte) for byte in surface.data] == [False] * 4 + [True] * 5 + [False] * 7


def test_four_bits_never_cover_fully():
    surface = Surface(3, 1, SurfaceFormat.A8)
    text(surface, surface.bounds, None, one(StringFlags.RASTER_A4, 3, 1, [0x1F, 0x80]), NOWHERE, 0, 0)
    assert list(surface.data) == [16, 240, 128]


def test_overlapping_glyphs_cover_as_the_denser_of_them():
    surface = Surface(2, 1, SurfaceFormat.A8)
    string = one(StringFlags.RASTER_A8, 2, 1, [40, 200])
    string.glyphs += one(StringFlags.RASTER_A8, 2, 1, [90, 100]).glyphs
    text(surface, surface.bounds, None, string, NOWHERE, 0, 0)
    assert list(surface.data) == [90, 200]


def test_full_coverage_is_the_colour_and_none_keeps_what_was():
    surface = Surface(2, 1, SurfaceFormat.ARGB32)
    surface.view[:] = bytes([1, 2, 3, 4] * 2)
    text(surface, surface.bounds, None, one(StringFlags.RASTER_A1, 2, 1, [0x80]), NOWHERE, 0x112233, 0)
    assert bytes(surface.data) == bytes([0x33, 0x22, 0x11, 255, 1, 2, 3, 4])


def test_background_without_foreground():
    surface = Surface(4, 4, SurfaceFormat.RGB565)
    string = one(StringFlags.RASTER_A1, 4, 4, [255] * 4)
    assert text(surface, Box(1, 1, 9, 9), None, string, Box(0, 0, 3, 2), None, 0xABCD) == [Box(1, 1, 3, 2)]
    assert {at for at, word in plain.words(surface).items() if word == 0xABCD} == {(1, 1), (2, 1)}


def test_a_surface_of_one_bit_takes_what_covers_half_of_a_pixel():
    surface = Surface(3, 1, SurfaceFormat.A1)
    text(surface, surface.bounds, None, one(StringFlags.RASTER_A8, 3, 1, [127, 128, 255]), NOWHERE, 0, 0)
    assert bytes(surface.data) == bytes([0, 255, 255])


def test_glyphs_far_away_cost_nothing():
    surface = Surface(4, 4, SurfaceFormat.XRGB32)
    edge = (1 << 31) - 1
    string = one(StringFlags.RASTER_A1, 8, 1, [255], 0, 3)
    string.glyphs += [GlyphA1(Point(x, y), Point(x, y), 8, 1, b"\xff") for x, y in ((-edge, -edge), (edge, edge))]
    assert text(surface, surface.bounds, None, string, NOWHERE, 1, 0) == [surface.bounds]
    assert [word for (_, y), word in plain.words(surface).items() if word and y == 3] == [1] * 4


class TestHostileStrings:
    @pytest.mark.parametrize("size", [0, 5, 7, 12])
    def test_glyph_of_another_size(self, size):
        surface = Surface(8, 8, SurfaceFormat.XRGB32)
        with pytest.raises(ProtocolError, match=f"glyph of 9x3 pixels needs 6 bytes, got {size}"):
            text(surface, surface.bounds, None, one(StringFlags.RASTER_A1, 9, 3, bytes(size)), NOWHERE, 1, 0)

    @pytest.mark.parametrize("flags", [0, 3, 7, 8])
    def test_string_of_no_known_depth(self, flags):
        surface = Surface(8, 8, SurfaceFormat.XRGB32)
        string = one(StringFlags.RASTER_A1, 8, 1, [1])
        string.flags = StringFlags(flags)
        with pytest.raises(ProtocolError, match="unknown depth"):
            text(surface, surface.bounds, None, string, NOWHERE, 1, 0)

    def test_tile_without_colours(self):
        surface = Surface(8, 8, SurfaceFormat.XRGB32)
        tile = Pattern(Bitmap(8, 1, PixelFormat.BIT1_LE, 1, b"\1"), Point(0, 0))
        with pytest.raises(ProtocolError, match="no colours"):
            text(surface, surface.bounds, None, one(StringFlags.RASTER_A1, 8, 1, [1]), NOWHERE, tile, 0)
