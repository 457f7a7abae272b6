"""Text once more, pixel by pixel and as spec/canvas.md 10 reads: what the fast one is held against."""

from caraway.canvas.region import Point
from caraway.canvas.source import Pattern
from caraway.canvas.surface import Surface
from caraway.codecs.bitmap import PixelFormat
from caraway.wire.messages.display import SurfaceFormat
from support import plain_canvas
from support.plain_blend import mul

A1, A4, A8 = 1, 2, 4


def corner(glyph):
    return glyph.render_pos.x + glyph.glyph_origin.x, glyph.render_pos.y + glyph.glyph_origin.y


def glyph_coverage(glyph, depth):
    """(x, y, coverage) of each pixel."""
    left, top = corner(glyph)
    row_size = (glyph.width * depth + 7) // 8
    for number in range(glyph.height):
        row = glyph.data[number * row_size :][:row_size]
        for column in range(glyph.width):
            byte = row[column * depth // 8]
            if depth == 1:
                value = 255 if byte >> (7 - column % 8) & 1 else 0
            elif depth == 4:
                value = (byte & 15) << 4 if column % 2 else byte & 240
            else:
                value = byte
            yield left + column, top + glyph.height - 1 - number, value


def coverage(string):
    depth = {A1: 1, A4: 4, A8: 8}[string.flags & 7]
    found = {}
    for glyph in string.glyphs:
        for x, y, value in glyph_coverage(glyph, depth):
            found[x, y] = max(found.get((x, y), 0), value)
    return found


def has_alpha(tile):
    if isinstance(tile, Surface):
        return tile.format in (*plain_canvas.ONLY_ALPHA, SurfaceFormat.ARGB32)
    return tile.format in (PixelFormat.BGRA32, PixelFormat.A8)


def brush_components(brush, x, y, surface):
    """b, g, r, a of a brush."""
    format = surface.format
    if isinstance(brush, Pattern):
        word = plain_canvas.brush_word(brush, x, y, surface)
        opaque = not has_alpha(brush.tile)
    else:
        word, opaque = brush, True
        if format in (SurfaceFormat.RGB555, SurfaceFormat.RGB565):
            return *((word >> shift & 31) * 65535 // 31 >> 8 for shift in (0, 5, 10)), 255
    match format:
        case SurfaceFormat.A8 | SurfaceFormat.A1:
            return 0, 0, 0, 255 if opaque else word
        case SurfaceFormat.RGB555 | SurfaceFormat.RGB565:
            return *plain_canvas.split(word, format), 255
    b, g, r, a = plain_canvas.split(word, format)
    return b, g, r, 255 if opaque else a


def text(surface, box, clip, string, back_area, fore_brush, back_brush):
    """Words of the surface afterwards."""
    after = plain_canvas.words(surface)
    region = list(plain_canvas.region(surface, box, clip))
    for x, y in region:
        if plain_canvas.inside(back_area, x, y):
            after[x, y] = plain_canvas.brush_word(back_brush, x, y, surface)
    if fore_brush is None:
        return after
    covered = coverage(string)
    if isinstance(fore_brush, Pattern) and covered:
        left, top = (min(corner(glyph)[axis] for glyph in string.glyphs) for axis in (0, 1))
        fore_brush = Pattern(fore_brush.tile, Point(left + fore_brush.pos.x, top + fore_brush.pos.y))
    for x, y in region:
        m = covered.get((x, y), 0)
        if m:
            after[x, y] = blended(after[x, y], brush_components(fore_brush, x, y, surface), m, surface.format)
    return after


def blended(word, components, m, format):
    if format in plain_canvas.ONLY_ALPHA:
        s = mul(components[3], m)
        alpha = min(255, s + mul(word, 255 - s))
        return alpha if format is SurfaceFormat.A8 else 255 * (alpha > 127)
    source = [mul(component, m) for component in components]
    old = plain_canvas.split(word, format)
    return plain_canvas.join([min(255, s + mul(d, 255 - source[3])) for s, d in zip(source, old, strict=False)], format)
