"""Drawing operations against a canvas that works pixel by pixel."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.canvas import raster
from caraway.canvas.raster import Mask
from caraway.canvas.region import Box, Point
from caraway.canvas.surface import Surface
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.errors import CodecError, ProtocolError
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import Rop, ScaleMode
from support import plain_canvas as plain
from support.drawing_strategies import (
    COLOR_SURFACES,
    bitmaps,
    boxes,
    brushes,
    check,
    clips,
    inverted_masks,
    points,
    rops,
    surfaces,
)


@given(surfaces(), boxes(), clips, brushes, rops, inverted_masks)
def test_fill(surface, box, clip, brush, rop, mask):
    expected = plain.fill(surface, box, clip, brush, rop, mask)
    check(surface, expected, lambda: raster.fill(surface, box, clip, brush, rop, mask))


@given(surfaces(), boxes(), clips, bitmaps(), points, rops, inverted_masks)
def test_copy_of_the_same_size(surface, box, clip, source, start, rop, mask):
    src_area = Box(start.x, start.y, start.x + box.width, start.y + box.height)
    expected = plain.copy(surface, box, clip, source, src_area, rop, 0, mask)
    check(surface, expected, lambda: raster.copy(surface, box, clip, source, src_area, rop, 0, mask))


def shown(word, format):
    """Scaling leaves x, and the alpha of sources that have none, unspecified."""
    return word & 0xFFFFFF if format in (SurfaceFormat.XRGB32, SurfaceFormat.ARGB32) else word


def shown_words(words, format):
    return {at: shown(word, format) for at, word in words.items()}


@given(surfaces(), boxes(), clips, bitmaps(), boxes(), rops, st.sampled_from(ScaleMode), inverted_masks)
def test_scaled_copy(surface, box, clip, source, src_area, rop, scale_mode, mask):
    if src_area.width == 0 or src_area.height == 0:
        assert raster.copy(surface, box, clip, source, src_area, rop, scale_mode, mask) == []
        return
    expected = plain.copy(surface, box, clip, source, src_area, rop, scale_mode, mask)
    raster.copy(surface, box, clip, source, src_area, rop, scale_mode, mask)
    after = plain.words(surface)
    assert shown_words(after, surface.format) == shown_words(expected, surface.format)


@pytest.mark.parametrize("scale_mode", ScaleMode)
def test_scaled_copy_to_argb(scale_mode):
    surface = Surface(4, 4, SurfaceFormat.ARGB32)
    opaque = Bitmap(2, 2, PixelFormat.BGRX32, 8, bytes([10, 20, 30, 0]) * 4)
    raster.copy(surface, surface.bounds, None, opaque, Box(0, 0, 2, 2), Rop.OP_PUT, scale_mode)
    assert set(surface.data[3::4]) == {255}, "a source without alpha is opaque"
    premultiplied = Bitmap(2, 2, PixelFormat.BGRA32, 8, bytes([10, 20, 30, 40]) * 4)
    expected = plain.copy(surface, surface.bounds, None, premultiplied, Box(0, 0, 2, 2), Rop.OP_PUT, scale_mode)
    raster.copy(surface, surface.bounds, None, premultiplied, Box(0, 0, 2, 2), Rop.OP_PUT, scale_mode)
    assert plain.words(surface) == expected


@pytest.mark.parametrize("scale_mode", ScaleMode)
@pytest.mark.parametrize("side", [2, 4, 8, 16])
def test_scaling_by_whole_factors_samples_between_pixels(side, scale_mode):
    source = Bitmap(8, 8, PixelFormat.BGRX32, 32, os.urandom(256))
    surface = Surface(side, side, SurfaceFormat.XRGB32)
    expected = plain.copy(surface, surface.bounds, None, source, Box(0, 0, 8, 8), Rop.OP_PUT, scale_mode)
    check(surface, expected, lambda: raster.copy(surface, surface.bounds, None, source, Box(0, 0, 8, 8), 8, scale_mode))


@given(surfaces(), boxes(), clips, bitmaps(), points, brushes, rops, inverted_masks)
def test_opaque(surface, box, clip, source, start, brush, rop, mask):
    src_area = Box(start.x, start.y, start.x + box.width, start.y + box.height)
    expected = plain.opaque(surface, box, clip, source, src_area, brush, rop, 0, mask)
    check(surface, expected, lambda: raster.opaque(surface, box, clip, source, src_area, brush, rop, 0, mask))


@given(
    surfaces(),
    boxes(),
    clips,
    bitmaps(),
    boxes(),
    brushes,
    st.integers(0, 255),
    st.sampled_from(ScaleMode),
    inverted_masks,
)
def test_rop3(surface, box, clip, source, src_area, brush, rop3, scale_mode, mask):
    src_area = src_area._replace(
        right=max(src_area.right, src_area.left + 1), bottom=max(src_area.bottom, src_area.top + 1)
    )
    expected = plain.rop3(surface, box, clip, source, src_area, brush, rop3, scale_mode, mask)
    raster.rop3(surface, box, clip, source, src_area, brush, rop3, scale_mode, mask)
    after = plain.words(surface)
    assert shown_words(after, surface.format) == shown_words(expected, surface.format)


@given(surfaces(), boxes(), clips, bitmaps(), points, brushes, st.integers(0, 255), inverted_masks)
def test_rop3_of_the_same_size(surface, box, clip, source, start, brush, rop3, mask):
    src_area = Box(start.x, start.y, start.x + box.width, start.y + box.height)
    expected = plain.rop3(surface, box, clip, source, src_area, brush, rop3, 0, mask)
    check(surface, expected, lambda: raster.rop3(surface, box, clip, source, src_area, brush, rop3, 0, mask))


def test_rop3_and_rop_descriptors_agree():
    source = Bitmap(16, 1, PixelFormat.BGRX32, 64, os.urandom(64))
    one, other = Surface(16, 1, 32), Surface(16, 1, 32)
    raster.copy(one, one.bounds, None, source, one.bounds, Rop.OP_XOR | Rop.INVERS_DEST)
    raster.rop3(other, other.bounds, None, source, other.bounds, None, 0x99)
    assert one.data == other.data


keys = st.sampled_from([0, 0xFFFFFF, 0xFF08, 0x123456])


@st.composite
def with_key(draw, key, format):
    """A picture of few colours, one of which is the key."""
    source = draw(bitmaps([format]))
    size = format.bits // 8
    pixel = {2: plain.join((key & 255, key >> 8 & 255, key >> 16), SurfaceFormat.RGB555), 4: key}[size]
    data = bytearray(source.data)
    for at in range(0, len(data) - size, 3 * size):
        data[at : at + size] = pixel.to_bytes(size, "little")
    source.data = bytes(data)
    return source


@given(surfaces(), boxes(), clips, st.data(), boxes(), points, keys)
def test_transparent(surface, box, clip, data, src_area, start, key):
    source = data.draw(with_key(key, data.draw(st.sampled_from([PixelFormat.BGRX32, PixelFormat.RGB555]))))
    if src_area.width == 0 or src_area.height == 0:
        src_area = Box(start.x, start.y, start.x + box.width, start.y + box.height)
    expected = plain.transparent(surface, box, clip, source, src_area, key)
    raster.transparent(surface, box, clip, source, src_area, key)
    after = plain.words(surface)
    assert shown_words(after, surface.format) == shown_words(expected, surface.format)


def test_transparent_leaves_the_key_out():
    surface = Surface(3, 1, SurfaceFormat.RGB565)
    source = Bitmap(3, 1, PixelFormat.BGRX32, 12, b"\x08\x10\x20\0" + b"\x0f\x13\x27\0" + b"\x10\x10\x20\0")
    raster.transparent(surface, surface.bounds, None, source, surface.bounds, 0x201008)
    assert plain.words(surface) == {(0, 0): 0, (1, 0): 0, (2, 0): 0x2082}


@given(surfaces(), boxes(), clips, inverted_masks)
def test_blackness_whiteness_invers(surface, box, clip, mask):
    ones = plain.all_ones(surface)
    region = set(plain.region(surface, box, clip, mask))
    for operation, function in (
        (raster.invers, lambda word: word ^ ones),
        (raster.blackness, lambda word: 0),
        (raster.whiteness, lambda word: ones),
    ):
        expected = {at: function(word) if at in region else word for at, word in plain.words(surface).items()}
        check(surface, expected, lambda operation=operation: operation(surface, box, clip, mask))


@settings(max_examples=200)
@given(surfaces(), boxes(), clips, points)
def test_copy_bits(surface, box, clip, src_pos):
    expected = plain.copy_bits(surface, box, clip, src_pos)
    check(surface, expected, lambda: raster.copy_bits(surface, box, clip, src_pos))


@pytest.mark.parametrize("dx", [-1, 0, 1])
@pytest.mark.parametrize("dy", [-1, 0, 1])
def test_copy_bits_in_all_directions(dx, dy):
    surface = Surface(9, 7, SurfaceFormat.XRGB32)
    surface.view[:] = os.urandom(len(surface.data))
    for box in (Box(2, 2, 7, 5), Box(0, 2, 9, 5)):
        expected = plain.copy_bits(surface, box, None, Point(box.left + dx, box.top + dy))
        raster.copy_bits(surface, box, None, Point(box.left + dx, box.top + dy))
        assert plain.words(surface) == expected


@given(surfaces(COLOR_SURFACES), boxes(), points)
def test_surface_as_its_own_source(surface, box, start):
    src_area = Box(start.x, start.y, start.x + box.width, start.y + box.height)
    snapshot = surface.copy()
    expected = plain.copy(surface, box, None, snapshot, src_area, Rop.OP_PUT, 0)
    check(surface, expected, lambda: raster.copy(surface, box, None, surface, src_area))


def test_copy_bits_in_place_changes_nothing():
    surface = Surface(3, 3, SurfaceFormat.XRGB32)
    assert raster.copy_bits(surface, surface.bounds, None, Point(0, 0)) == []


def test_surface_of_the_same_depth_is_copied_word_by_word():
    source, surface = Surface(2, 1, SurfaceFormat.ARGB32), Surface(2, 1, SurfaceFormat.XRGB32)
    source.view[:] = bytes(range(8))
    raster.copy(surface, surface.bounds, None, source, source.bounds)
    assert bytes(surface.data) == bytes(range(8))


def test_surface_of_another_depth_is_refused():
    surface = Surface(2, 1, SurfaceFormat.XRGB32)
    with pytest.raises(ProtocolError, match="16 bits"):
        raster.copy(surface, surface.bounds, None, Surface(2, 1, SurfaceFormat.RGB555), surface.bounds)


def test_overlapping_clip_inverts_once():
    surface = Surface(4, 4, SurfaceFormat.XRGB32)
    raster.invers(surface, surface.bounds, [Box(0, 0, 3, 3), Box(1, 1, 4, 4), Box(0, 0, 3, 3)])
    assert surface.data.count(255) == 4 * (9 + 9 - 4)


def test_empty_clip_draws_nothing():
    surface = Surface(4, 4, SurfaceFormat.XRGB32)
    assert raster.whiteness(surface, surface.bounds, []) == []
    assert not any(surface.data)


def test_mask_on_a_surface():
    mask, surface = Surface(3, 1, SurfaceFormat.A1), Surface(4, 1, SurfaceFormat.RGB565)
    raster.fill(mask, Box(1, 0, 2, 1), None, 1, Rop.OP_PUT)
    assert raster.whiteness(surface, surface.bounds, None, Mask(mask, Point(0, 0))) == [Box(0, 0, 3, 1)]
    assert plain.words(surface) == {(0, 0): 0, (1, 0): 0xFFFF, (2, 0): 0, (3, 0): 0}
    raster.whiteness(surface, surface.bounds, None, Mask(mask, Point(0, 0), invers=True))
    assert plain.words(surface) == {(0, 0): 0xFFFF, (1, 0): 0xFFFF, (2, 0): 0xFFFF, (3, 0): 0}


def test_one_bit_surface_takes_one_bit_images():
    surface = Surface(9, 1, SurfaceFormat.A1)
    raster.copy(surface, surface.bounds, None, Bitmap(9, 1, PixelFormat.BIT1_LE, 2, b"\x05\x01"), surface.bounds)
    assert bytes(surface.data) == bytes([255, 0, 255, 0, 0, 0, 0, 0, 255])


def test_what_is_no_picture_is_refused():
    surface = Surface(8, 1, SurfaceFormat.XRGB32)
    with pytest.raises(CodecError, match="no colours"):
        raster.copy(surface, surface.bounds, None, Bitmap(8, 1, PixelFormat.BIT1_LE, 1, b"\x01"), surface.bounds)
    with pytest.raises(ProtocolError, match="mask"):
        Mask(Bitmap(1, 1, PixelFormat.A8, 1, b"\xff"), Point(0, 0))


def test_boxes_far_outside_cost_nothing():
    surface = Surface(8, 8, SurfaceFormat.XRGB32)
    huge = Box(-(1 << 31), -(1 << 31), (1 << 31) - 1, (1 << 31) - 1)
    tiny = Bitmap(1, 1, PixelFormat.BGRX32, 4, b"\1\2\3\4")
    assert raster.whiteness(surface, huge, [huge] * 3) == [surface.bounds]
    for scale_mode in ScaleMode:
        assert raster.copy(surface, huge, None, tiny, tiny_area := Box(0, 0, 1, 1), 8, scale_mode) == [surface.bounds]
        assert raster.copy(surface, surface.bounds, None, tiny, huge, 8, scale_mode) == [surface.bounds]
    assert raster.copy(surface, tiny_area.moved(100, 0), None, tiny, tiny_area) == []
