"""Operations that combine words: fill, copy, opaque, blackness, whiteness, invers, copy_bits (spec/canvas.md 2-7).

Boxes and points are anything with the fields of the messages' rectangles and points. Every operation draws exactly in
its region and gives back the disjoint rectangles that it may have changed. A region is disjoint before anything is
drawn, so that overlapping clip rectangles do not invert a pixel twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from caraway.canvas import source as sources
from caraway.canvas.region import Box, PointLike, RectLike, bounding_box, clipped, intersect
from caraway.canvas.rop import BLACK, FUNCTIONS, PUT, WHITE, truth_table
from caraway.canvas.source import Brush, Operand, Plane, Solid, Source
from caraway.canvas.surface import Surface
from caraway.codecs.bitmap import Bitmap
from caraway.errors import ProtocolError
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import Rop, ScaleMode

Clip = Sequence[RectLike] | None


@dataclass(slots=True)
class Mask:
    """Which pixels of a box are drawn: those whose bit is 1, or 0 with `invers`; none outside the mask's bitmap.

    bitmap: 1 bit a pixel, or a surface of format A1. pos: the bitmap's pixel at the left top of the box.
    """

    bitmap: Bitmap | Surface
    pos: PointLike
    invers: bool = False

    def __post_init__(self) -> None:
        """Raises ProtocolError for a bitmap that is not a mask."""
        bitmap = self.bitmap
        if bitmap.format is not SurfaceFormat.A1 if isinstance(bitmap, Surface) else bitmap.format.bits != 1:
            raise ProtocolError(f"mask in format {bitmap.format.name}")


def fill(surface: Surface, box: RectLike, clip: Clip, brush: Brush, rop: int, mask: Mask | None = None) -> list[Box]:
    """DRAW_FILL: word = rop(brush, destination)."""
    function = truth_table(rop, Rop.INVERS_BRUSH, Rop.INVERS_DEST)
    boxes = _region(surface, box, clip, mask)
    return _combine(surface, boxes, function, sources.brush_operand(brush, surface), _placed(mask, box))


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
    function = truth_table(rop, Rop.INVERS_SRC, Rop.INVERS_DEST)
    boxes = _region(surface, box, clip, mask)
    if not boxes:
        return []
    if _same_size(box, src_area):
        dx, dy = box.left - src_area.left, box.top - src_area.top
        extent = Box(dx, dy, dx + source.width, dy + source.height)
        boxes = [part for each in boxes if (part := intersect(each, extent))]
        if not boxes:
            return []
        plane = sources.to_words(source, bounding_box(boxes).moved(-dx, -dy), surface)
        plane.box = plane.box.moved(dx, dy)
    elif src_area.left >= src_area.right or src_area.top >= src_area.bottom:
        return []
    else:
        around = bounding_box(boxes)
        plane = sources.scaled(source, src_area, box, around, scale_mode, surface, opaque=function == PUT)
    return _combine(surface, boxes, function, plane, _placed(mask, box))


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
    function = truth_table(rop, Rop.INVERS_BRUSH, Rop.INVERS_SRC)
    copy(surface, box, clip, source, src_area, Rop.OP_PUT, scale_mode, mask)
    boxes = _region(surface, box, clip, mask)
    return _combine(surface, boxes, function, sources.brush_operand(brush, surface), _placed(mask, box))


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
    from_surface = surface.bounds.moved(dx, dy)
    boxes = [part for each in clipped(box, surface.bounds, clip) if (part := intersect(each, from_surface))]
    if not boxes or (dx == 0 and dy == 0):
        return []
    plane = sources.to_words(surface, bounding_box(boxes).moved(-dx, -dy), surface)
    plane.box = plane.box.moved(dx, dy)
    return _combine(surface, boxes, PUT, plane, None)


def _same_size(one: RectLike, other: RectLike) -> bool:
    return one.right - one.left == other.right - other.left and one.bottom - one.top == other.bottom - other.top


def _region(surface: Surface, box: RectLike, clip: Clip, mask: Mask | None) -> list[Box]:
    boxes = clipped(box, surface.bounds, clip)
    if mask is None:
        return boxes
    left, top = box.left - mask.pos.x, box.top - mask.pos.y
    extent = Box(left, top, left + mask.bitmap.width, top + mask.bitmap.height)
    return [part for each in boxes if (part := intersect(each, extent))]


@dataclass(slots=True)
class _PlacedMask:
    """A mask and where its left top pixel lies on the destination."""

    mask: Mask
    left: int
    top: int

    def rows(self, box: Box) -> Iterator[bytes]:
        """Rows of a byte a pixel, 255 where to draw."""
        bitmap = self.mask.bitmap
        area = box.moved(-self.left, -self.top)
        if isinstance(bitmap, Surface):
            plane = Plane(bitmap.bounds, bitmap.stride, bitmap.view, 1)
            rows: Iterator[bytes] = (bytes(row) for row in plane.rows(area))
        else:
            rows = sources.bit_rows(bitmap, area)
        return (row.translate(_COMPLEMENT) for row in rows) if self.mask.invers else rows


_COMPLEMENT = bytes(255 - byte for byte in range(256))


def _placed(mask: Mask | None, box: RectLike) -> _PlacedMask | None:
    return None if mask is None else _PlacedMask(mask, box.left - mask.pos.x, box.top - mask.pos.y)


def _combine(
    surface: Surface, boxes: list[Box], function: int, operand: Operand, mask: _PlacedMask | None
) -> list[Box]:
    """Draw function(operand, destination) in disjoint boxes that lie within the surface, the mask and the operand."""
    if function in (BLACK, WHITE):
        word = b"\xff" if function == WHITE else b"\0"
        operand, function = Solid(word * surface.pixel_bytes), PUT
    for box in boxes:
        if mask is not None:
            _combine_masked(surface, box, function, operand, mask)
        elif function == PUT:
            _put(surface, box, operand)
        else:
            _combine_rows(surface, box, function, operand)
    return boxes


def _rows(surface: Surface, box: Box) -> Iterator[memoryview]:
    size = box.width * surface.pixel_bytes
    for y in range(box.top, box.bottom):
        start = y * surface.stride + box.left * surface.pixel_bytes
        yield surface.view[start : start + size]


def _put(surface: Surface, box: Box, operand: Operand) -> None:
    if box.width == surface.width and isinstance(operand, Plane):
        block = operand.contiguous(box)
        if block is not None:
            surface.view[box.top * surface.stride : box.bottom * surface.stride] = block
            return
    for target, row in zip(_rows(surface, box), operand.rows(box), strict=True):
        target[:] = row


def _combine_rows(surface: Surface, box: Box, function: int, operand: Operand) -> None:
    apply = FUNCTIONS[function]
    size = box.width * surface.pixel_bytes
    ones = (1 << 8 * size) - 1
    for target, row in zip(_rows(surface, box), operand.rows(box), strict=True):
        result = apply(int.from_bytes(row, "little"), int.from_bytes(target, "little"), ones)
        target[:] = result.to_bytes(size, "little")


def _combine_masked(surface: Surface, box: Box, function: int, operand: Operand, mask: _PlacedMask) -> None:
    apply = FUNCTIONS[function]
    pixel_bytes = surface.pixel_bytes
    size = box.width * pixel_bytes
    ones = (1 << 8 * size) - 1
    wide = bytearray(size)
    for target, row, drawn in zip(_rows(surface, box), operand.rows(box), mask.rows(box), strict=True):
        for component in range(pixel_bytes):
            wide[component::pixel_bytes] = drawn
        old = int.from_bytes(target, "little")
        result = apply(int.from_bytes(row, "little"), old, ones)
        target[:] = (old ^ ((old ^ result) & int.from_bytes(wide, "little"))).to_bytes(size, "little")
