"""Operations that combine words: fill, copy, opaque, transparent, rop3 and their like (spec/canvas.md 2-7, 9, 12).

Boxes and points are anything with the fields of the messages' rectangles and points. Every operation draws exactly in
its region and gives back the disjoint rectangles that it may have changed. A region is disjoint before anything is
drawn, so that overlapping clip rectangles do not invert a pixel twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from caraway.canvas import source as sources
from caraway.canvas.kernels import raster as kernel
from caraway.canvas.region import Box, PointLike, RectLike, bounding_box, box_of, clipped, intersect
from caraway.canvas.rop import BLACK, OP_PUT, PUT, WHITE, truth_table
from caraway.canvas.source import Brush, Pattern, Plane, Source
from caraway.canvas.surface import Surface
from caraway.codecs.pixels import Buffer
from caraway.errors import ProtocolError
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import Rop, ScaleMode

Clip = Sequence[RectLike] | None

Stencil = Callable[[Box], tuple[Buffer, int]]
"""Gives, for a rectangle, a byte a pixel, 0 where nothing is drawn, and the bytes from a row to the next."""


@dataclass(slots=True)
class Mask:
    """Which pixels of a box are drawn: those whose bit is 1, or 0 with `invers`; none outside the mask's bitmap.

    bitmap: 1 bit a pixel, or a surface of format A1. pos: the bitmap's pixel at the left top of the box.
    """

    bitmap: Source
    pos: PointLike
    invers: bool = False

    def __post_init__(self) -> None:
        """Raises ProtocolError for a bitmap that is not a mask."""
        bitmap = self.bitmap
        if bitmap.format is not SurfaceFormat.A1 if isinstance(bitmap, Surface) else bitmap.format.bits != 1:
            raise ProtocolError(f"mask in format {bitmap.format.name}")


def fill(surface: Surface, box: RectLike, clip: Clip, brush: Brush, rop: int, mask: Mask | None = None) -> list[Box]:
    """DRAW_FILL: word = rop(brush, destination)."""
    table = PUT if rop == OP_PUT else truth_table(rop, Rop.INVERS_BRUSH, Rop.INVERS_DEST)
    if mask is None and not isinstance(brush, Pattern):
        if table == PUT:
            return paint(surface, box, clip, sources.color_word(brush, surface))
        if table in (BLACK, WHITE):
            return paint(surface, box, clip, 0xFFFFFFFF if table == WHITE else 0)
    plane = sources.brush_plane(brush, surface)
    return combine(surface, region(surface, box, clip, mask), table, plane, stencil=_stencil(mask, box))


def paint(surface: Surface, box: RectLike, clip: Clip, word: int) -> list[Box]:
    """Set all pixels to one word."""
    data, size, width, height = surface.data, surface.pixel_bytes, surface.width, surface.height
    if clip is None:
        done = kernel.fill(data, size, width, height, box.left, box.top, box.right, box.bottom, word)
        return [] if done is None else [box_of(done)]
    boxes = clipped(box, surface.bounds, clip)
    for part in boxes:
        kernel.fill(data, size, width, height, *part, word)
    return boxes


def copy(
    surface: Surface,
    box: RectLike,
    clip: Clip,
    source: Source,
    src_area: RectLike,
    rop: int = Rop.OP_PUT,
    scale_mode: int = ScaleMode.INTERPOLATE,
    mask: Mask | None = None,
) -> list[Box]:
    """DRAW_COPY and DRAW_BLEND: word = rop(source, destination); the source is scaled if the sizes differ."""
    table = PUT if rop == OP_PUT else truth_table(rop, Rop.INVERS_SRC, Rop.INVERS_DEST)
    if table == PUT and mask is None and is_same_size(box, src_area) and sources.as_it_is(source, surface):
        return _move(surface, box, clip, source, box.left - src_area.left, box.top - src_area.top)
    boxes, plane = covered(
        surface, region(surface, box, clip, mask), source, src_area, box, scale_mode, opaque=table == PUT
    )
    return combine(surface, boxes, table, plane, stencil=_stencil(mask, box))


def _move(surface: Surface, box: RectLike, clip: Clip, source: Source, x: int, y: int) -> list[Box]:
    """Copy words of the surface's own format from a source, perhaps the surface, whose left top lies at (x, y)."""
    if clip is None:
        boxes: Sequence[RectLike] = [box]
    else:
        boxes = clipped(box, surface.bounds, clip)
        if source is surface and len(boxes) > 1:
            source = surface.copy()
    data, size, width, height = surface.data, surface.pixel_bytes, surface.width, surface.height
    words, stride, columns, rows = source.data, source.stride, source.width, source.height
    drawn = []
    for part in boxes:
        done = kernel.copy(
            data,
            size,
            width,
            height,
            part.left,
            part.top,
            part.right,
            part.bottom,
            words,
            stride,
            columns,
            rows,
            x,
            y,
        )
        if done is not None:
            drawn.append(box_of(done))
    return drawn


def opaque(
    surface: Surface,
    box: RectLike,
    clip: Clip,
    source: Source,
    src_area: RectLike,
    brush: Brush,
    rop: int,
    scale_mode: int = ScaleMode.INTERPOLATE,
    mask: Mask | None = None,
) -> list[Box]:
    """DRAW_OPAQUE: copy the source, then word = rop(brush, that)."""
    table = truth_table(rop, Rop.INVERS_BRUSH, Rop.INVERS_SRC)
    copy(surface, box, clip, source, src_area, Rop.OP_PUT, scale_mode, mask)
    boxes = region(surface, box, clip, mask)
    return combine(surface, boxes, table, sources.brush_plane(brush, surface), stencil=_stencil(mask, box))


def rop3(
    surface: Surface,
    box: RectLike,
    clip: Clip,
    source: Source,
    src_area: RectLike,
    brush: Brush,
    rop3: int,
    scale_mode: int = ScaleMode.INTERPOLATE,
    mask: Mask | None = None,
) -> list[Box]:
    """DRAW_ROP3: bit = bit 4 * brush + 2 * source + destination of `rop3`, where the source covers the region.

    Servers and clients that are deployed scale its source from a whole number of steps on; so does this.
    """
    boxes = region(surface, box, clip, mask)
    boxes, plane = covered(surface, boxes, source, src_area, box, scale_mode, opaque=False, whole_steps=True)
    tile = sources.brush_plane(brush, surface)
    return combine(surface, boxes, rop3, tile, plane, stencil=_stencil(mask, box))


def transparent(
    surface: Surface, box: RectLike, clip: Clip, source: Source, src_area: RectLike, true_color: int
) -> list[Box]:
    """DRAW_TRANSPARENT: copy the source but for one colour, 0x00RRGGBB; scaled to the nearest pixel.

    A surface that holds only alpha knows no colour, and gets all of the source.
    """
    boxes = region(surface, box, clip)
    if boxes and not is_same_size(box, src_area):
        if src_area.left >= src_area.right or src_area.top >= src_area.bottom:
            return []
        extent = sources.inside(source, src_area, box)
        boxes = [part for each in boxes if (part := intersect(each, extent))]
    boxes, plane = covered(surface, boxes, source, src_area, box, ScaleMode.NEAREST, opaque=True)
    if surface.pixel_bytes == 1:
        return combine(surface, boxes, PUT, plane)
    key, compared = _color_key(true_color, surface.format)
    data, size, width, height = surface.data, surface.pixel_bytes, surface.width, surface.height
    for part in boxes:
        start = (part.top - plane.box.top) * plane.stride + (part.left - plane.box.left) * size
        kernel.keyed(data, size, width, height, part, memoryview(plane.data)[start:], plane.stride, key, compared)
    return boxes


def _color_key(color: int, format: SurfaceFormat) -> tuple[int, int]:
    """A colour 0x00RRGGBB as a word, and the bits of words that it is compared with."""
    red, green, blue = color >> 16 & 255, color >> 8 & 255, color & 255
    if format is SurfaceFormat.RGB555:
        return red >> 3 << 10 | green >> 3 << 5 | blue >> 3, 0xFFFF
    if format is SurfaceFormat.RGB565:
        return red >> 3 << 11 | green >> 2 << 5 | blue >> 3, 0xFFFF
    return color & 0xFFFFFF, 0xFFFFFF


def blackness(surface: Surface, box: RectLike, clip: Clip, mask: Mask | None = None) -> list[Box]:
    """DRAW_BLACKNESS: all bits 0."""
    return fill(surface, box, clip, None, Rop.OP_BLACKNESS, mask)


def whiteness(surface: Surface, box: RectLike, clip: Clip, mask: Mask | None = None) -> list[Box]:
    """DRAW_WHITENESS: all bits 1."""
    return fill(surface, box, clip, None, Rop.OP_WHITENESS, mask)


def invers(surface: Surface, box: RectLike, clip: Clip, mask: Mask | None = None) -> list[Box]:
    """DRAW_INVERS: all bits flipped."""
    return fill(surface, box, clip, None, Rop.OP_INVERS, mask)


def copy_bits(surface: Surface, box: RectLike, clip: Clip, src_pos: PointLike) -> list[Box]:
    """COPY_BITS: move a part of the surface, as if it had been saved first; only from where it lies on the surface."""
    dx, dy = box.left - src_pos.x, box.top - src_pos.y
    return _move(surface, box, clip, surface, dx, dy) if dx or dy else []


def is_same_size(one: RectLike, other: RectLike) -> bool:
    """Whether two rectangles are as wide and as high."""
    return one.right - one.left == other.right - other.left and one.bottom - one.top == other.bottom - other.top


def region(surface: Surface, box: RectLike, clip: Clip, mask: Mask | None = None) -> list[Box]:
    """The disjoint rectangles that lie on the surface and within the box, the clip and the mask's bitmap."""
    boxes = clipped(box, surface.bounds, clip)
    if mask is None:
        return boxes
    left, top = box.left - mask.pos.x, box.top - mask.pos.y
    extent = Box(left, top, left + mask.bitmap.width, top + mask.bitmap.height)
    return [part for each in boxes if (part := intersect(each, extent))]


def covered(
    surface: Surface,
    boxes: list[Box],
    source: Source,
    src_area: RectLike,
    box: RectLike,
    scale_mode: int,
    *,
    opaque: bool,
    whole_steps: bool = False,
) -> tuple[list[Box], Plane]:
    """What of a region a source draws on, and with which words: scaled, if `src_area` and `box` differ in size.

    opaque, whole_steps: see `sources.scaled`.
    """
    if is_same_size(box, src_area):
        dx, dy = box.left - src_area.left, box.top - src_area.top
        extent = Box(dx, dy, dx + source.width, dy + source.height)
        boxes = [part for each in boxes if (part := intersect(each, extent))]
        if boxes:
            return boxes, sources.to_words(source, bounding_box(boxes).moved(-dx, -dy), surface).moved(dx, dy)
    elif boxes and src_area.left < src_area.right and src_area.top < src_area.bottom:
        around = bounding_box(boxes)
        how = {"opaque": opaque, "whole_steps": whole_steps}
        return boxes, sources.scaled(source, src_area, box, around, scale_mode, surface, **how)
    return [], sources.NOTHING


def _stencil(mask: Mask | None, box: RectLike) -> Stencil | None:
    if mask is None:
        return None
    dx, dy = mask.pos.x - box.left, mask.pos.y - box.top
    return lambda part: sources.mask_plane(mask.bitmap, part.moved(dx, dy), invers=mask.invers)


def combine(
    surface: Surface,
    boxes: list[Box],
    table: int,
    a: Plane,
    b: Plane | None = None,
    *,
    stencil: Stencil | None = None,
) -> list[Box]:
    """Draw function(A, B, destination) in disjoint rectangles of the surface (`caraway.canvas.rop`); gives them back.

    Without B the function must not depend on it. stencil: which pixels are drawn; without one, all.
    """
    data, size, width, height = surface.data, surface.pixel_bytes, surface.width, surface.height
    for box in boxes:
        left, top = box.left, box.top
        others = None if b is None else b.at(left, top)
        kernel.combine(data, size, width, height, box, table, a.at(left, top), others, stencil and stencil(box))
    return boxes
