"""DRAW_COMPOSITE: images transformed, masked and combined by an operator (spec/canvas.md 13)."""

from caraway.canvas import source as sources
from caraway.canvas.blend import OPERATORS, Weights, blend
from caraway.canvas.kernels.sample import sample
from caraway.canvas.raster import Clip, region
from caraway.canvas.region import Box, PointLike, RectLike, bounding_box
from caraway.canvas.source import Layout, Places, Plane, Source
from caraway.canvas.surface import Surface
from caraway.codecs.bitmap import Bitmap
from caraway.errors import ProtocolError
from caraway.wire.messages.draw import CompositeFlags
from caraway.wire.messages.shapes import Transform

_BILINEAR = (1, 2, 4)
"""Filters good, best, bilinear; the others, fast and nearest, take the nearest pixel."""
_FILTERS = range(5)


def composite(
    surface: Surface,
    box: RectLike,
    clip: Clip,
    flags: int,
    source: Source,
    mask: Source | None,
    src_transform: Transform | None,
    mask_transform: Transform | None,
    src_origin: PointLike,
    mask_origin: PointLike,
) -> list[Box]:
    """DRAW_COMPOSITE: operator(source in mask, destination).

    flags: operator, filters, repeats and `CompositeFlags`, as in the message. A source or mask may be the surface.
    Raises ProtocolError for an unknown operator or filter, CodecError for a bitmap that has no colours.
    """
    operator = flags & 255
    if operator not in OPERATORS:
        raise ProtocolError(f"composite with unknown operator {operator}")
    boxes = region(surface, box, clip)
    if not boxes:
        return []
    around = bounding_box(boxes)
    part = around.moved(-box.left, -box.top)
    alpha = False if flags & CompositeFlags.SOURCE_OPAQUE else None
    source = _prepared(source, surface)
    words = _sampled(source, part, src_origin, src_transform, flags >> 8 & 7, flags >> 14 & 3, alpha)
    within, weights = None, Weights.ALPHA
    if mask is not None:
        mask = _prepared(mask, surface)
        alpha = False if flags & CompositeFlags.MASK_OPAQUE else None
        within = Plane(
            around,
            around.width * 4,
            _sampled(mask, part, mask_origin, mask_transform, flags >> 11 & 7, flags >> 16 & 3, alpha),
        )
        has_colors = sources.alpha_layout(mask)[0] not in (Layout.ALPHA8, Layout.ALPHA1)
        if flags & CompositeFlags.COMPONENT_ALPHA and has_colors:
            weights = Weights.COMPONENTS
    alpha = False if flags & CompositeFlags.DEST_OPAQUE else None
    return blend(surface, boxes, operator, Plane(around, around.width * 4, words), within, weights, alpha=alpha)


def _prepared(source: Source, surface: Surface) -> Source:
    """An image of colours as 16-bit surfaces take it: truncated, and without alpha."""
    if isinstance(source, Surface) or surface.depth != 16 or sources.as_it_is(source, surface):
        return source
    if sources.alpha_layout(source)[0] is Layout.ALPHA8:
        return source
    words = sources.to_words(source, Box(0, 0, source.width, source.height), surface)
    return Bitmap(source.width, source.height, surface.pixel_format, words.stride, words.data)


def _sampled(
    source: Source,
    part: Box,
    origin: PointLike,
    transform: Transform | None,
    filter: int,
    repeat: int,
    alpha: bool | None,
) -> bytearray:
    """Words b, g, r, a of the source at a part of the box."""
    if filter not in _FILTERS:
        raise ProtocolError(f"composite with unknown filter {filter}")
    places = _places(part.left + origin.x, part.top + origin.y, transform)
    layout, high = sources.alpha_layout(source, alpha)
    bilinear = transform is not None and filter in _BILINEAR
    size = source.width, source.height
    out: bytearray = sample(
        part.width, part.height, source.data, source.stride, layout, *size, high, places, bilinear, repeat
    )
    return out


def _places(x: int, y: int, transform: Transform | None) -> Places:
    """Where the pixel centre of (x, y), and those after it, lie in the source."""
    if transform is None:
        return (x << 16) + 32768, (y << 16) + 32768, 65536, 0, 0, 65536
    t00, t01, t02, t10, t11, t12 = (
        _signed(value)
        for value in (transform.t00, transform.t01, transform.t02, transform.t10, transform.t11, transform.t12)
    )
    u = t00 * x + t01 * y + t02 + ((t00 + t01 + 1) >> 1)
    v = t10 * x + t11 * y + t12 + ((t10 + t11 + 1) >> 1)
    return u, v, t00, t10, t01, t11


def _signed(value: int) -> int:
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
