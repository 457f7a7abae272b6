"""Pixels with alpha over a surface: alpha_blend, and what composite and text are made of (spec/canvas.md 8, 10, 13)."""

import enum

from caraway.canvas import source as sources
from caraway.canvas.kernels import blend as kernel
from caraway.canvas.kernels.sample import sample
from caraway.canvas.raster import Clip, is_same_size, region
from caraway.canvas.region import Box, RectLike, bounding_box, intersect
from caraway.canvas.source import Layout, Plane, Source
from caraway.canvas.surface import Surface
from caraway.wire.messages.draw import AlphaFlags

OVER = 3
"""The operator of alpha blends and text."""
OPERATORS = frozenset(kernel.OPERATORS)


class Weights(enum.IntEnum):
    """How a mask weighs the source; numbered as the kernel does."""

    COVERAGE = 1
    """By its bytes."""
    ALPHA = 2
    """By the alpha of its words b, g, r, a."""
    COMPONENTS = 3
    """Each component by its own in the mask's words."""


def alpha_blend(
    surface: Surface,
    box: RectLike,
    clip: Clip,
    source: Source,
    src_area: RectLike,
    alpha: int = 255,
    alpha_flags: int = 0,
) -> list[Box]:
    """DRAW_ALPHA_BLEND: the source, premultiplied, times `alpha` / 255 over the surface; scaled to the nearest pixel.

    alpha_flags: `AlphaFlags`. Raises CodecError for a bitmap that has no colours.
    """
    if alpha == 0:
        return []
    source_alpha = True if isinstance(source, Surface) and alpha_flags & AlphaFlags.SRC_SURFACE_HAS_ALPHA else None
    boxes = region(surface, box, clip)
    same_size = is_same_size(box, src_area)
    dx, dy = box.left - src_area.left, box.top - src_area.top
    if not boxes:
        return []
    if same_size:
        extent = Box(dx, dy, dx + source.width, dy + source.height)
    elif src_area.left < src_area.right and src_area.top < src_area.bottom:
        extent = sources.inside(source, src_area, box)
    else:
        return []
    boxes = [part for each in boxes if (part := intersect(each, extent))]
    if not boxes:
        return []
    around = bounding_box(boxes)
    if same_size:
        plane = sources.to_bgra(source, around.moved(-dx, -dy), alpha=source_alpha).moved(dx, dy)
    else:
        plane = _nearest(source, src_area, box, around, source_alpha)
    weight = None if alpha == 255 else Plane(Box(0, 0, 1, 1), 1, bytes([alpha]))
    has_alpha = True if alpha_flags & AlphaFlags.DEST_HAS_ALPHA else None
    return blend(surface, boxes, OVER, plane, weight, alpha=has_alpha)


def _nearest(source: Source, src_area: RectLike, box: RectLike, part: Box, alpha: bool | None) -> Plane:
    places, _ = sources.scaling(source, src_area, box, part, bilinear=False)
    layout, high = sources.alpha_layout(source, alpha)
    size = source.width, source.height
    return Plane(
        part,
        part.width * 4,
        sample(part.width, part.height, source.data, source.stride, layout, *size, high, places, False, 0),
    )


def blend(
    surface: Surface,
    boxes: list[Box],
    operator: int,
    source: Plane,
    mask: Plane | None = None,
    weights: Weights = Weights.COVERAGE,
    *,
    alpha: bool | None = None,
) -> list[Box]:
    """Combine a source, words b, g, r, a, premultiplied, with disjoint rectangles of the surface; gives them back.

    operator: one of OPERATORS, numbered as in DRAW_COMPOSITE. mask: bytes, or words b, g, r, a, as `weights` says.
    alpha: whether the surface has any, if that is not for its format to say; without, it is opaque.
    """
    layout, high = sources.alpha_layout(surface, alpha)
    if layout <= Layout.BGRX:
        layout = Layout.BGRX if high else Layout.BGRA
    kind = 0 if mask is None else weights
    data, width, height = surface.data, surface.width, surface.height
    for box in boxes:
        left, top = box.left, box.top
        within = None if mask is None else mask.at(left, top)
        kernel.composite(data, layout, high, width, height, box, operator, source.at(left, top), within, kind)
    return boxes
