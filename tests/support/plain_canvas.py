"""The canvas once more, pixel by pixel and as spec/canvas.md reads: what the fast one is held against."""

from caraway.canvas.surface import Surface
from caraway.codecs.bitmap import PixelFormat
from caraway.wire.messages.display import SurfaceFormat

INVERS_SRC, INVERS_BRUSH, INVERS_DEST, OP_PUT, OP_OR, OP_AND, OP_XOR = 1, 2, 4, 8, 16, 32, 64
OP_BLACKNESS, OP_WHITENESS, OP_INVERS, INVERS_RES = 128, 256, 512, 1024


def word(surface, x, y):
    size = surface.pixel_bytes
    at = y * surface.stride + x * size
    return int.from_bytes(surface.data[at : at + size], "little")


def words(surface):
    return {(x, y): word(surface, x, y) for y in range(surface.height) for x in range(surface.width)}


def all_ones(surface):
    return (1 << 8 * surface.pixel_bytes) - 1


def inside(rect, x, y):
    return rect.left <= x < rect.right and rect.top <= y < rect.bottom


def mask_bit(mask, x, y):
    """None outside the mask's bitmap."""
    bitmap = mask.bitmap
    if not (0 <= x < bitmap.width and 0 <= y < bitmap.height):
        return None
    if isinstance(bitmap, Surface):
        return bool(word(bitmap, x, y))
    return bit(bitmap, x, y)


def bit(bitmap, x, y):
    byte = bitmap.data[y * bitmap.stride + x // 8]
    return bool(byte >> (x % 8 if bitmap.format is PixelFormat.BIT1_LE else 7 - x % 8) & 1)


def region(surface, box, clip, mask=None):
    for y in range(surface.height):
        for x in range(surface.width):
            if not inside(box, x, y) or (clip is not None and not any(inside(rect, x, y) for rect in clip)):
                continue
            if mask is not None:
                bit = mask_bit(mask, x - box.left + mask.pos.x, y - box.top + mask.pos.y)
                if bit is None or bit == mask.invers:
                    continue
            yield x, y


def combine(rop, invers_a, invers_b, a, b, ones):
    first = a ^ ones if rop & invers_a else a
    second = b ^ ones if rop & invers_b else b
    if rop & OP_PUT:
        result = first
    elif rop & OP_OR:
        result = first | second
    elif rop & OP_AND:
        result = first & second
    elif rop & OP_XOR:
        result = first ^ second
    elif rop & OP_BLACKNESS:
        return 0
    elif rop & OP_WHITENESS:
        return ones
    elif rop & OP_INVERS:
        return b ^ ones
    else:
        return a
    return result ^ ones if rop & INVERS_RES else result


def components_555(value):
    b, g, r = value & 31, value >> 5 & 31, value >> 10 & 31
    return tuple(v << 3 | v >> 2 for v in (b, g, r))


def components_565(value):
    b, g, r = value & 31, value >> 5 & 63, value >> 11
    return b << 3 | b >> 2, g << 2 | g >> 4, r << 3 | r >> 2


def pixel(bitmap, x, y):
    """b, g, r, a or x, and whether it has alpha."""
    size = bitmap.format.bits // 8
    at = y * bitmap.stride + x * size
    data = bytes(bitmap.data[at : at + size])
    value = int.from_bytes(data, "little")
    match bitmap.format:
        case PixelFormat.BGRA32:
            return *data, True
        case PixelFormat.BGRX32:
            return *data, False
        case PixelFormat.RGB555:
            return *components_555(value), 0, False
        case PixelFormat.RGB555_OPAQUE:
            return *components_555(value), 255, False
        case PixelFormat.RGB565:
            return *components_565(value), 0, False
        case PixelFormat.BGR24:
            return *data, 0, False
        case PixelFormat.A8:
            return 0, 0, 0, value, True
    raise AssertionError(bitmap.format)


def source_word(source, x, y, surface):
    """A source pixel in the surface's format."""
    if isinstance(source, Surface):
        return word(source, x, y)
    if source.format.bits == 1:
        return 255 if bit(source, x, y) else 0
    b, g, r, a, has_alpha = pixel(source, x, y)
    match surface.format:
        case SurfaceFormat.A1:
            return 255 if a > 127 or not has_alpha else 0
        case SurfaceFormat.RGB555:
            if source.format in (PixelFormat.RGB555, PixelFormat.RGB555_OPAQUE):
                return int.from_bytes(source.data[y * source.stride + 2 * x :][:2], "little")
            return (r >> 3) << 10 | (g >> 3) << 5 | b >> 3
        case SurfaceFormat.RGB565:
            if source.format is PixelFormat.RGB565:
                return int.from_bytes(source.data[y * source.stride + 2 * x :][:2], "little")
            return (r >> 3) << 11 | (g >> 2) << 5 | b >> 3
        case SurfaceFormat.A8:
            return a if has_alpha else 255
    return a << 24 | r << 16 | g << 8 | b


ONLY_ALPHA = (SurfaceFormat.A1, SurfaceFormat.A8)


def split(value, format):
    """8-bit components of a word."""
    if format is SurfaceFormat.RGB555:
        return components_555(value)
    if format is SurfaceFormat.RGB565:
        return components_565(value)
    return tuple(value >> shift & 255 for shift in ((0,) if format in ONLY_ALPHA else (0, 8, 16, 24)))


def join(components, format):
    if format is SurfaceFormat.RGB555:
        b, g, r = components
        return (r >> 3) << 10 | (g >> 3) << 5 | b >> 3
    if format is SurfaceFormat.RGB565:
        b, g, r = components
        return (r >> 3) << 11 | (g >> 2) << 5 | b >> 3
    if format is SurfaceFormat.A1:
        return 255 if components[0] > 127 else 0
    return sum(value << 8 * place for place, value in enumerate(components))


def sample_point(src_area, box, x, y):
    """Where a pixel centre of a scaled picture lies, in 16.16."""
    fx = (src_area.right - src_area.left) * 65536 // (box.right - box.left)
    fy = (src_area.bottom - src_area.top) * 65536 // (box.bottom - box.top)
    px = fx * (x - box.left) + ((fx + 1) >> 1) + (src_area.left << 16)
    py = fy * (y - box.top) + ((fy + 1) >> 1) + (src_area.top << 16)
    return px, py


def is_inside(source, src_area, box, x, y):
    px, py = sample_point(src_area, box, x, y)
    return 0 <= (px - 1) >> 16 < source.width and 0 <= (py - 1) >> 16 < source.height


def scaled_word(source, src_area, box, x, y, nearest, surface):
    format = surface.format
    px, py = sample_point(src_area, box, x, y)

    def sample(column, row):
        if 0 <= column < source.width and 0 <= row < source.height:
            return source_word(source, column, row, surface)
        return 0

    if nearest:
        found = sample((px - 1) >> 16, (py - 1) >> 16)
        return found & 0x7FFF if format is SurfaceFormat.RGB555 else found
    qx, qy = px - 32768, py - 32768
    c, w, r, v = qx >> 16, qx >> 9 & 127, qy >> 16, qy >> 9 & 127
    corners = [split(sample(c + i, r + j), format) for j in (0, 1) for i in (0, 1)]
    mixed = [
        (tl * (128 - w) * (128 - v) + tr * w * (128 - v) + bl * (128 - w) * v + br * w * v) >> 14
        for tl, tr, bl, br in zip(*corners, strict=True)
    ]
    return join(mixed, format)


def brush_word(brush, x, y, surface):
    if brush is None or isinstance(brush, int):
        if surface.format is SurfaceFormat.A1:
            return 255 * ((brush or 0) & 1)
        return (brush or 0) & all_ones(surface)
    tile = brush.tile
    return source_word(tile, (x - brush.pos.x) % tile.width, (y - brush.pos.y) % tile.height, surface)


def fill(surface, box, clip, brush, rop, mask=None):
    after = words(surface)
    for x, y in region(surface, box, clip, mask):
        a = brush_word(brush, x, y, surface)
        after[x, y] = combine(rop, INVERS_BRUSH, INVERS_DEST, a, after[x, y], all_ones(surface))
    return after


def copied(surface, box, clip, source, src_area, scale_mode, mask, *, only_inside=False):
    """Source words for the pixels of the region that the source covers; a scaled one covers all, or what is inside."""
    same = (box.right - box.left, box.bottom - box.top) == (
        src_area.right - src_area.left,
        src_area.bottom - src_area.top,
    )
    for x, y in region(surface, box, clip, mask):
        if not same:
            if only_inside and not is_inside(source, src_area, box, x, y):
                continue
            yield x, y, scaled_word(source, src_area, box, x, y, scale_mode == 1, surface)
            continue
        sx, sy = src_area.left + x - box.left, src_area.top + y - box.top
        if 0 <= sx < source.width and 0 <= sy < source.height:
            yield x, y, source_word(source, sx, sy, surface)


def copy(surface, box, clip, source, src_area, rop, scale_mode, mask=None):
    before = words(surface)
    after = dict(before)
    for x, y, a in copied(surface, box, clip, source, src_area, scale_mode, mask):
        after[x, y] = combine(rop, INVERS_SRC, INVERS_DEST, a, before[x, y], all_ones(surface))
    return after


def opaque(surface, box, clip, source, src_area, brush, rop, scale_mode, mask=None):
    after = words(surface)
    for x, y, a in copied(surface, box, clip, source, src_area, scale_mode, mask):
        after[x, y] = a
    for x, y in region(surface, box, clip, mask):
        a = brush_word(brush, x, y, surface)
        after[x, y] = combine(rop, INVERS_BRUSH, INVERS_SRC, a, after[x, y], all_ones(surface))
    return after


def rop3(surface, box, clip, source, src_area, brush, rop3, scale_mode, mask=None):
    after = words(surface)
    for x, y, s in copied(surface, box, clip, source, src_area, scale_mode, mask):
        p, d = brush_word(brush, x, y, surface), after[x, y]
        bits = range(8 * surface.pixel_bytes)
        after[x, y] = sum((rop3 >> (4 * (p >> i & 1) + 2 * (s >> i & 1) + (d >> i & 1)) & 1) << i for i in bits)
    return after


def transparent(surface, box, clip, source, src_area, true_color):
    after = words(surface)
    r, g, b = true_color >> 16 & 255, true_color >> 8 & 255, true_color & 255
    for x, y, a in copied(surface, box, clip, source, src_area, 1, None, only_inside=True):
        match surface.format:
            case SurfaceFormat.XRGB32 | SurfaceFormat.ARGB32:
                is_key = a & 0xFFFFFF == true_color & 0xFFFFFF
            case SurfaceFormat.RGB555 | SurfaceFormat.RGB565:
                is_key = a == join((b, g, r), surface.format)
            case _:
                is_key = False
        if not is_key:
            after[x, y] = a
    return after


def copy_bits(surface, box, clip, src_pos):
    before = words(surface)
    after = dict(before)
    for x, y in region(surface, box, clip):
        old = before.get((src_pos.x + x - box.left, src_pos.y + y - box.top))
        if old is not None:
            after[x, y] = old
    return after
