"""DRAW_STROKE: lines of one pixel's width, solid or styled (spec/canvas.md 11)."""

from array import array
from functools import partial
from itertools import chain

from caraway.canvas.dash import REACH, Dashes, pattern
from caraway.canvas.kernels import stroke as kernel
from caraway.canvas.path import Polyline, polylines
from caraway.canvas.raster import Clip, combine
from caraway.canvas.region import Box, RectLike, bounding_box, clipped, intersect
from caraway.canvas.rop import truth_table
from caraway.canvas.source import Brush, Plane, brush_plane
from caraway.canvas.surface import Surface
from caraway.errors import ProtocolError
from caraway.wire.messages.draw import LineAttributes, LineFlags, Path, Rop

MAX_WORK = 1 << 26
"""Pixels of a stroke, and its points times the rectangles of its region: about a second. Ten thousand lines in a window
under a hundred others need a fiftieth of that."""

_MASK_PIXELS = 8
"""Pixels of a mask that take as long as one of a line."""


def stroke(
    surface: Surface, box: RectLike, clip: Clip, path: Path, attr: LineAttributes, brush: Brush, rop: int
) -> list[Box]:
    """DRAW_STROKE: word = rop(brush, destination) for each pixel of each line; the last of a polyline is left out.

    Raises ProtocolError for more than MAX_WORK, for a path or dashes beyond their limits, and for a tile that cannot be
    drawn on such a surface.
    """
    lines = [points for points in polylines(path) if len(points) > 1]
    styled = bool(attr.flags & LineFlags.STYLED)
    style = pattern(attr) if styled else None
    if not lines or (styled and style is None):
        return []
    within = intersect(surface.bounds, bounding_box([_around(points, REACH if styled else 0) for points in lines]))
    boxes = clipped(box, within, clip) if within else []
    if boxes:
        table, plane = truth_table(rop, Rop.INVERS_BRUSH, Rop.INVERS_DEST), brush_plane(brush, surface)
        if style is None:
            _solid(surface, boxes, lines, plane, table)
        else:
            _styled(surface, boxes, lines, Dashes(style, always_join=_toggles(table)), plane, table)
    return boxes


def _around(points: Polyline, reach: int) -> Box:
    columns, rows = zip(*points, strict=True)
    return Box(min(columns) - reach, min(rows) - reach, max(columns) + reach + 1, max(rows) + reach + 1)


def _solid(surface: Surface, boxes: list[Box], lines: list[Polyline], plane: Plane, table: int) -> None:
    data, size, width, height = surface.data, surface.pixel_bytes, surface.width, surface.height
    rects, tile = array("i", chain.from_iterable(boxes)), plane.at(0, 0)
    work = MAX_WORK
    for points in lines:
        flat = array("i", chain.from_iterable(points))
        work = kernel.lines(data, size, width, height, rects, flat, tile, table, work)
        if work < 0:
            raise ProtocolError(f"stroke of more than {MAX_WORK} pixels and visits of rectangles")


def _styled(
    surface: Surface, boxes: list[Box], lines: list[Polyline], dashes: Dashes, plane: Plane, table: int
) -> None:
    """Each pixel of a polyline is combined once, also where dashes and joins meet."""
    around = bounding_box(boxes)
    work = MAX_WORK
    for points in lines:
        area = intersect(around, _around(points, REACH))
        if area is None:
            continue
        work -= area.width * area.height // _MASK_PIXELS + len(boxes)
        if work < 0:
            raise ProtocolError(f"styled stroke across more than {MAX_WORK * _MASK_PIXELS} pixels")
        mask = bytearray(area.width * area.height)
        for corners in dashes.polygons(points, area):
            kernel.polygons(mask, area.left, area.top, area.width, area.height, corners)
        parts = [part for box in boxes if (part := intersect(box, area))]
        combine(surface, parts, table, plane, stencil=partial(_part_of_mask, memoryview(mask), area))


def _part_of_mask(mask: memoryview, area: Box, part: Box) -> tuple[memoryview, int]:
    return mask[(part.top - area.top) * area.width + part.left - area.left :], area.width


def _toggles(table: int) -> bool:
    """Whether some brush complements the destination, so that drawing twice is not drawing once."""
    return table & 3 == 1 or table >> 4 & 3 == 1
