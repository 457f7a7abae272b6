"""DRAW_TEXT: a background, and glyphs of which each pixel says how much of it is covered (spec/canvas.md 10)."""

from collections.abc import Sequence

from caraway.canvas import raster
from caraway.canvas.blend import OVER, blend
from caraway.canvas.kernels.convert import convert
from caraway.canvas.kernels.text import glyph_coverage
from caraway.canvas.raster import Clip
from caraway.canvas.region import Box, RectLike, bounding_box, clipped, intersect, union
from caraway.canvas.source import OPAQUE, SURFACE_LAYOUT, Brush, Layout, Pattern, Plane, brush_plane, has_alpha
from caraway.canvas.surface import Surface
from caraway.errors import ProtocolError
from caraway.wire.messages.display import SurfaceFormat
from caraway.wire.messages.draw import GlyphA1, GlyphA4, GlyphA8, Rop, String, StringFlags

_DEPTH = {StringFlags.RASTER_A1: 1, StringFlags.RASTER_A4: 4, StringFlags.RASTER_A8: 8}
_DEPTHS = StringFlags.RASTER_A1 | StringFlags.RASTER_A4 | StringFlags.RASTER_A8

Glyph = GlyphA1 | GlyphA4 | GlyphA8


def text(
    surface: Surface,
    box: RectLike,
    clip: Clip,
    string: String,
    back_area: RectLike,
    fore_brush: Brush,
    back_brush: Brush,
) -> list[Box]:
    """DRAW_TEXT: copy the background's brush, then blend the foreground's through the glyphs.

    Raises ProtocolError for a string of no known depth, a glyph whose data have another size, and a tile that cannot be
    drawn on such a surface.
    """
    behind = intersect(box, back_area)
    changed = raster.fill(surface, behind, clip, back_brush, Rop.OP_PUT) if behind else []
    if fore_brush is None or not string.glyphs:
        return changed
    around = _around(string.glyphs)
    within = intersect(surface.bounds, around)
    boxes = clipped(box, within, clip) if within else []
    if not boxes:
        return changed
    area = bounding_box(boxes)
    mask = Plane(area, area.width, _coverage(string, area))
    blend(surface, boxes, OVER, _ink(fore_brush, around, surface), mask)
    return union([*changed, *boxes]) if changed else boxes


def _around(glyphs: Sequence[Glyph]) -> Box:
    """The smallest rectangle around some glyphs."""
    columns = [glyph.render_pos.x + glyph.glyph_origin.x for glyph in glyphs]
    rows = [glyph.render_pos.y + glyph.glyph_origin.y for glyph in glyphs]
    right = max(left + glyph.width for left, glyph in zip(columns, glyphs, strict=True))
    bottom = max(top + glyph.height for top, glyph in zip(rows, glyphs, strict=True))
    return Box(min(columns), min(rows), right, bottom)


def _coverage(string: String, area: Box) -> bytearray:
    """A byte for each pixel of an area; where glyphs overlap, that of the denser one."""
    depth = _DEPTH.get(StringFlags(string.flags & _DEPTHS))
    if depth is None:
        raise ProtocolError(f"string of unknown depth, flags {int(string.flags)}")
    mask = bytearray(area.width * area.height)
    for glyph in string.glyphs:
        width, height = glyph.width, glyph.height
        size = (width * depth + 7) // 8 * height
        if len(glyph.data) != size:
            raise ProtocolError(f"glyph of {width}x{height} pixels needs {size} bytes, got {len(glyph.data)}")
        left = glyph.render_pos.x + glyph.glyph_origin.x - area.left
        top = glyph.render_pos.y + glyph.glyph_origin.y - area.top
        glyph_coverage(mask, area.width, area.height, glyph.data, depth, left, top, width, height)
    return mask


def _ink(brush: int | Pattern, around: Box, surface: Surface) -> Plane:
    """A brush as packed pixels b, g, r, a.

    A pattern is laid from the left top of the string's glyphs, as deployed servers and clients have it.
    """
    if not isinstance(brush, Pattern):
        return Plane(Box(0, 0, 1, 1), 4, _color(brush, surface.format))
    plane = brush_plane(brush, surface)
    width, height = plane.box.width, plane.box.height
    pixels = bytearray(width * height * 4)
    high = OPAQUE if surface.depth == 16 or not has_alpha(brush.tile) else 0
    layout = SURFACE_LAYOUT[surface.format]
    convert(pixels, width * 4, Layout.BGRA, plane.data, plane.stride, layout, high, width, height)
    return Plane(plane.box.moved(around.left, around.top), width * 4, pixels)


def _color(word: int, format: SurfaceFormat) -> bytes:
    """An opaque colour; on surfaces of 16 bits it is taken for a 555 one, as deployed clients do with 565 too."""
    if format in (SurfaceFormat.RGB555, SurfaceFormat.RGB565):
        return bytes([*((word >> shift & 31) * 65535 // 31 >> 8 for shift in (0, 5, 10)), 255])
    return bytes([word & 255, word >> 8 & 255, word >> 16 & 255, 255])
