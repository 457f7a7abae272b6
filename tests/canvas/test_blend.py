"""Alpha blends and composites against a canvas that works pixel by pixel."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caraway.canvas import raster
from caraway.canvas.blend import OPERATORS, OVER, alpha_blend, blend
from caraway.canvas.composite import composite
from caraway.canvas.kernels import blend as kernel
from caraway.canvas.region import Box, Point
from caraway.canvas.source import Plane
from caraway.canvas.surface import Surface
from caraway.codecs.bitmap import Bitmap, PixelFormat
from caraway.errors import CodecError, ProtocolError
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import AlphaFlags, CompositeFlags
from caraway.wire.messages.shapes import Transform
from support import plain_blend as plain
from support.drawing_strategies import bitmaps, boxes, check, clips, points, surfaces
from support.plain_canvas import word, words

FACTOR_OPERATORS = sorted(OPERATORS - set(range(48, 63)))
sources = bitmaps() | surfaces()
origins = st.builds(Point, st.integers(-9, 9), st.integers(-9, 9))
steps = st.sampled_from([0, 1, 20000, 32768, 65536, 90000, 1 << 18])
signed_steps = st.builds(lambda step, sign: step * sign & 0xFFFFFFFF, steps, st.sampled_from([1, -1]))
offsets = st.integers(-9 << 16, 9 << 16).map(lambda value: value & 0xFFFFFFFF)
transforms = st.none() | st.builds(Transform, signed_steps, signed_steps, offsets, signed_steps, signed_steps, offsets)


def unused(words, surface):
    """X of xRGB and bit 15 of 555 are not specified where pixels with alpha are drawn."""
    bits = {SurfaceFormat.XRGB32: 0xFFFFFF, SurfaceFormat.RGB555: 0x7FFF}.get(surface.format, 0xFFFFFFFF)
    return {at: value & bits for at, value in words.items()}


@given(
    surfaces(), boxes(), clips, sources, boxes(), points, st.sampled_from([0, 1, 77, 128, 254, 255]), st.integers(0, 3)
)
def test_alpha_blend(surface, box, clip, source, src_area, start, alpha, flags):
    if src_area.width == 0 or src_area.height == 0:
        src_area = Box(start.x, start.y, start.x + box.width, start.y + box.height)
    expected = plain.alpha_blend(surface, box, clip, source, src_area, alpha, flags)
    before = surface.copy()
    alpha_blend(surface, box, clip, source, src_area, alpha, flags)
    if surface.format is SurfaceFormat.XRGB32 and flags & AlphaFlags.DEST_HAS_ALPHA:
        assert words(surface) == expected
        return
    assert unused(words(surface), surface) == unused(expected, surface)
    check(before, words(surface), lambda: alpha_blend(before, box, clip, source, src_area, alpha, flags))


def test_alpha_blend_of_an_xrgb_surface():
    source, surface = Surface(1, 1, 32), Surface(1, 1, 32)
    source.view[:] = b"\x10\x20\x30\x80"
    surface.view[:] = b"\xff\xff\xff\0"
    alpha_blend(surface, surface.bounds, None, source, source.bounds)
    assert surface.data[:3] == b"\x10\x20\x30", "opaque: what lies in x is no alpha"
    surface.view[:] = b"\xff\xff\xff\0"
    alpha_blend(surface, surface.bounds, None, source, source.bounds, 255, AlphaFlags.SRC_SURFACE_HAS_ALPHA)
    assert surface.data[:3] == b"\x8f\x9f\xaf"


def test_surface_blended_with_itself():
    surface = Surface(4, 1, 96)
    surface.view[:] = bytes([8, 8, 8, 8]) + bytes(12)
    alpha_blend(surface, Box(1, 0, 4, 1), None, surface, Box(0, 0, 3, 1))
    assert surface.data == bytes([8] * 8) + bytes(8)


@st.composite
def composites(draw, operators):
    return (
        draw(st.sampled_from(operators))
        | draw(st.integers(0, 4)) << 8
        | draw(st.integers(0, 4)) << 11
        | draw(st.integers(0, 3)) << 14
        | draw(st.integers(0, 3)) << 16
        | draw(st.sampled_from([0, CompositeFlags.COMPONENT_ALPHA]))
        | draw(
            st.sampled_from([0, CompositeFlags.SOURCE_OPAQUE, CompositeFlags.MASK_OPAQUE, CompositeFlags.DEST_OPAQUE])
        )
    )


@given(
    surfaces(),
    boxes(),
    clips,
    composites(FACTOR_OPERATORS),
    sources,
    st.none() | sources,
    transforms,
    transforms,
    origins,
    origins,
)
def test_composite(surface, box, clip, flags, source, mask, src_transform, mask_transform, src_origin, mask_origin):
    arguments = (flags, source, mask, src_transform, mask_transform, src_origin, mask_origin)
    expected = plain.composite(surface, box, clip, *arguments)
    composite(surface, box, clip, *arguments)
    assert unused(words(surface), surface) == unused(expected, surface)


def premultiplied(side, random):
    out = bytearray()
    for _ in range(side * side):
        alpha = random.choice([0, 255, random.randrange(256)])
        out += bytes([random.randint(0, alpha) for _ in range(3)] + [alpha])
    return bytes(out)


@pytest.mark.parametrize(
    ("operator", "component_alpha"),
    [*((operator, 0) for operator in range(48, 63)), *((operator, 1 << 18) for operator in range(48, 59))],
)
@settings(max_examples=5)
@given(random=st.randoms(use_true_random=False))
def test_blend_modes(operator, component_alpha, random):
    surface = Surface(8, 8, 96)
    surface.view[:] = premultiplied(8, random)
    source = Bitmap(8, 8, PixelFormat.BGRA32, 32, premultiplied(8, random))
    mask = Bitmap(8, 8, PixelFormat.BGRA32, 32, random.randbytes(256))
    arguments = (operator | component_alpha, source, mask, None, None, Point(0, 0), Point(0, 0))
    expected = plain.composite(surface, surface.bounds, None, *arguments)
    composite(surface, surface.bounds, None, *arguments)
    for at, value in words(surface).items():
        difference = [abs((value >> shift & 255) - (expected[at] >> shift & 255)) for shift in (0, 8, 16, 24)]
        assert max(difference) <= 1, (at, hex(value), hex(expected[at]))


def test_composite_of_the_surface_with_itself():
    surface = Surface(4, 1, 96)
    surface.view[:] = bytes(range(1, 17))
    composite(surface, Box(1, 0, 4, 1), None, 1, surface, None, None, None, Point(0, 0), Point(0, 0))
    assert surface.data == bytes([1, 2, 3, 4, *range(1, 13)])


def test_refused():
    surface, source = Surface(2, 2, 32), Bitmap(2, 2, PixelFormat.BGRA32, 8, bytes(16))
    rest = (source, None, None, None, Point(0, 0), Point(0, 0))
    for operator in (14, 15, 28, 44, 63, 255):
        with pytest.raises(ProtocolError, match="operator"):
            composite(surface, surface.bounds, None, operator, *rest)
    with pytest.raises(ProtocolError, match="filter"):
        composite(surface, surface.bounds, None, OVER | 5 << 8, *rest)
    mask = Bitmap(2, 2, PixelFormat.BIT1_LE, 1, bytes(2))
    with pytest.raises(CodecError, match="no colours"):
        composite(surface, surface.bounds, None, OVER, mask, *rest[1:])
    with pytest.raises(CodecError, match="no colours"):
        alpha_blend(surface, surface.bounds, None, mask, surface.bounds)


I32 = st.sampled_from([-(1 << 31), -1, 0, 1, (1 << 31) - 1])
U32 = st.sampled_from([0, 1, 1 << 31, (1 << 32) - 1])
far_boxes = st.builds(Box, I32, I32, I32, I32)


@given(
    surfaces(),
    far_boxes,
    st.none() | st.lists(far_boxes, max_size=3),
    st.integers(0, (1 << 32) - 1),
    sources,
    far_boxes,
    st.builds(Transform, U32, U32, U32, U32, U32, U32),
    st.builds(Point, st.sampled_from([-32768, 32767]), st.sampled_from([-32768, 32767])),
)
def test_any_coordinates_are_drawn_or_refused(surface, box, clip, flags, source, src_area, transform, origin):
    for draw in (
        lambda: composite(surface, box, clip, flags, source, source, transform, transform, origin, origin),
        lambda: composite(surface, box, clip, flags & 0x3F00 | OVER, source, None, transform, None, origin, origin),
        lambda: alpha_blend(surface, box, clip, source, src_area, 100, flags & 3),
        lambda: raster.transparent(surface, box, clip, source, src_area, flags),
        lambda: raster.rop3(surface, box, clip, source, src_area, flags, flags & 255),
    ):
        try:
            boxes = draw()
        except (ProtocolError, CodecError):
            continue
        assert all(0 <= part.left < part.right <= surface.width for part in boxes)


def test_coverage_and_patterns():
    """What text is made of: a brush that repeats itself, through a coverage."""
    surface = Surface(5, 2, SurfaceFormat.XRGB32)
    surface.view[:] = os.urandom(40)
    before = surface.copy()
    tile = Plane(Box(1, 1, 3, 2), 8, bytes([10, 20, 30, 255, 1, 2, 3, 40]))
    coverage = Plane(Box(0, 0, 5, 2), 5, bytes([0, 255, 100, 7, 254] * 2))
    assert blend(surface, [Box(1, 0, 5, 2)], OVER, tile, coverage) == [Box(1, 0, 5, 2)]
    for y in range(2):
        for x in range(5):
            m = 0 if x == 0 else coverage.data[x]
            s = [plain.mul(value, m) for value in tile.data[(x - 1) % 2 * 4 :][:4]]
            old = [word(before, x, y) >> shift & 255 for shift in (0, 8, 16)]
            new = [word(surface, x, y) >> shift & 255 for shift in (0, 8, 16)]
            assert new == [min(255, s[i] + plain.mul(old[i], 255 - s[3])) for i in range(3)]


def test_kernel_refuses_what_does_not_fit():
    words = (bytes(16), 8, 2, 2, 0, 0)
    good = (bytearray(16), 0, 0, 2, 2, (0, 0, 2, 2), OVER, words, None, 0)
    kernel.composite(*good)
    for place, wrong in (
        (0, bytearray(15)),
        (1, 5),
        (1, 7),
        (5, (0, 0, 3, 2)),
        (5, (-1, 0, 2, 2)),
        (5, (1, 1, 1, 2)),
        (6, 14),
        (7, (bytes(15), 8, 2, 2, 0, 0)),
        (7, (bytes(16), 7, 2, 2, 0, 0)),
        (7, (bytes(16), 8, 2, 2, 2, 0)),
        (7, (bytes(16), 8, 2, 2, 0, -1)),
        (9, 4),
    ):
        arguments = list(good)
        arguments[place] = wrong
        with pytest.raises(ValueError, match=r"surface|larger|unknown"):
            kernel.composite(*arguments)
