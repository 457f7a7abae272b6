"""Alpha blends and composites pixel by pixel, as spec/canvas.md 8 and 13 and the definitions of the operators read."""

from fractions import Fraction
from math import sqrt

from caraway.canvas.surface import Surface
from caraway.codecs.bitmap import PixelFormat
from caraway.wire.messages.display import SurfaceFormat
from support.plain_canvas import (
    is_inside,
    join,
    pixel,
    region,
    sample_point,
    source_word,
    split,
    word,
    words,
)

CLEAR = (0, 0, 0, 0)


def mul(p, q):
    t = p * q + 128
    return ((t >> 8) + t) >> 8


def bgra(source, x, y, *, alpha=None):
    """A pixel as b, g, r, a; alpha: whether its a counts, None as its format says."""
    if isinstance(source, Surface):
        value = word(source, x, y)
        if source.pixel_bytes == 1:
            components, has_alpha = (0, 0, 0, value), True
        else:
            components = (*split(value, source.format), 0)[:4]
            has_alpha = source.format is SurfaceFormat.ARGB32
    else:
        *components, has_alpha = pixel(source, x, y)
    if not (has_alpha if alpha is None else alpha):
        components = (*components[:3], 255)
    return tuple(components)


def stored(components, surface, alpha=None):
    """A surface's word; x is 0."""
    if surface.pixel_bytes == 1:
        return join(components[3:], surface.format)
    if surface.pixel_bytes == 2:
        return join(components[:3], surface.format)
    has_alpha = surface.format is SurfaceFormat.ARGB32 if alpha is None else alpha
    return join(components if has_alpha else (*components[:3], 0), surface.format)


def alpha_blend(surface, box, clip, source, src_area, alpha, alpha_flags):
    after = words(surface)
    if alpha == 0:
        return after
    dest_alpha = True if alpha_flags & 1 else None
    source_alpha = True if alpha_flags & 2 and isinstance(source, Surface) else None
    same = (box.width, box.height) == (src_area.width, src_area.height)
    for x, y in region(surface, box, clip):
        sx, sy = src_area.left + x - box.left, src_area.top + y - box.top
        if not same:
            if not is_inside(source, src_area, box, x, y):
                continue
            sx, sy = ((p - 1) >> 16 for p in sample_point(src_area, box, x, y))
        if not (0 <= sx < source.width and 0 <= sy < source.height):
            continue
        s = [mul(component, alpha) for component in bgra(source, sx, sy, alpha=source_alpha)]
        d = bgra(surface, x, y, alpha=dest_alpha)
        after[x, y] = stored([min(255, s[i] + mul(d[i], 255 - s[3])) for i in range(4)], surface, dest_alpha)
    return after


def wrapped(place, size, repeat):
    if 0 <= place < size:
        return place
    if repeat == 1:
        return place % size
    if repeat == 2:
        return max(0, min(size - 1, place))
    if repeat == 3:
        place %= 2 * size
        return place if place < size else 2 * size - 1 - place
    return None


def sampled(source, i, j, origin, transform, filter, repeat, alpha, surface):
    x, y = origin.x + i, origin.y + j
    u, v = (x << 16) + 32768, (y << 16) + 32768
    if transform is not None:
        t = [value - (1 << 32) if value >> 31 else value for value in (transform.t00, transform.t01, transform.t02)]
        u = t[0] * x + t[1] * y + t[2] + ((t[0] + t[1] + 1) >> 1)
        t = [value - (1 << 32) if value >> 31 else value for value in (transform.t10, transform.t11, transform.t12)]
        v = t[0] * x + t[1] * y + t[2] + ((t[0] + t[1] + 1) >> 1)

    def at(column, row):
        column, row = wrapped(column, source.width, repeat), wrapped(row, source.height, repeat)
        if column is None or row is None:
            return CLEAR
        if isinstance(source, Surface) or surface.depth != 16 or source.format is PixelFormat.A8:
            return bgra(source, column, row, alpha=alpha)
        return *split(source_word(source, column, row, surface), surface.format), 255

    if filter in (0, 3):
        return at((u - 1) >> 16, (v - 1) >> 16)
    u, v = u - 32768, v - 32768
    c, w, r, z = u >> 16, u >> 9 & 127, v >> 16, v >> 9 & 127
    corners = at(c, r), at(c + 1, r), at(c, r + 1), at(c + 1, r + 1)
    return tuple(
        (tl * (128 - w) * (128 - z) + tr * w * (128 - z) + bl * (128 - w) * z + br * w * z) >> 14
        for tl, tr, bl, br in zip(*corners, strict=True)
    )


def composite(surface, box, clip, flags, source, mask, src_transform, mask_transform, src_origin, mask_origin):
    after = words(surface)
    dest_alpha = False if flags >> 24 & 1 else None
    source_alpha, mask_alpha = (False if flags >> at & 1 else None for at in (22, 23))
    alpha_only = isinstance(mask, Surface) and mask.pixel_bytes == 1
    component_alpha = flags >> 18 & 1 and not alpha_only and getattr(mask, "format", None) is not PixelFormat.A8
    for x, y in region(surface, box, clip):
        place = (x - box.left, y - box.top)
        s = sampled(source, *place, src_origin, src_transform, flags >> 8 & 7, flags >> 14 & 3, source_alpha, surface)
        m = (255,) * 4
        if mask is not None:
            m = sampled(
                mask, *place, mask_origin, mask_transform, flags >> 11 & 7, flags >> 16 & 3, mask_alpha, surface
            )
            if not component_alpha:
                m = (m[3],) * 4
        sa = [mul(s[3], weight) for weight in m]
        s = [mul(component, weight) for component, weight in zip(s, m, strict=True)]
        d = bgra(surface, x, y, alpha=dest_alpha)
        after[x, y] = stored(combined(flags & 255, s, sa, d, d[3]), surface, dest_alpha)
    return after


def share(part, whole):
    return 255 if part >= whole else (255 * part + whole // 2) // whole


def factors(op, sa, da):
    """Of source and destination, of 255, for one component."""
    family, op = ("plain", op) if op < 16 else ("disjoint", op - 16) if op < 32 else ("conjoint", op - 32)
    if family == "plain":
        in_source, out_source, in_dest, out_dest = da, 255 - da, sa, 255 - sa
    elif family == "disjoint":
        out_source, out_dest = share(255 - da, sa), share(255 - sa, da)
        in_source, in_dest = 255 - out_source, 255 - out_dest
    else:
        in_source, in_dest = share(da, sa), share(sa, da)
        out_source, out_dest = 255 - in_source, 255 - in_dest
    if family == "plain" and op == 13:
        return ((255 * (255 - da) + sa // 2) // sa if sa > 255 - da else 255), 255
    return (
        (0, 0),
        (255, 0),
        (0, 255),
        (255, out_dest),
        (out_source, 255),
        (in_source, 0),
        (0, in_dest),
        (out_source, 0),
        (0, out_dest),
        (in_source, out_dest),
        (out_source, in_dest),
        (out_source, out_dest),
        (255, 255),
    )[op]


def combined(op, s, sa, d, da):
    if op >= 48:
        return mixed(op, s, sa, d, da)
    out = []
    for i in range(4):
        fs, fd = factors(op, sa[i], da)
        out.append(min(255, mul(s[i], fs) + mul(d[i], fd)))
    return out


SEPARABLE = {
    48: lambda b, s: b * s,
    49: lambda b, s: b + s - b * s,
    50: lambda b, s: SEPARABLE[55](s, b),
    51: min,
    52: max,
    53: lambda b, s: 0 if b == 0 else 1 if s >= 1 else min(1, b / (1 - s)),
    54: lambda b, s: 1 if b >= 1 else 0 if s <= 0 else 1 - min(1, (1 - b) / s),
    55: lambda b, s: b * 2 * s if 2 * s <= 1 else b + (2 * s - 1) - b * (2 * s - 1),
    56: lambda b, s: b - (1 - 2 * s) * b * (1 - b) if 2 * s <= 1 else b + (2 * s - 1) * (soft(b) - b),
    57: lambda b, s: abs(b - s),
    58: lambda b, s: b + s - 2 * b * s,
}


def soft(b):
    return ((16 * b - 12) * b + 4) * b if 4 * b <= 1 else Fraction(sqrt(b))


def lum(c):
    return (11 * c[0] + 59 * c[1] + 30 * c[2]) / 100


def sat(c):
    return max(c) - min(c)


def set_lum(c, lightness):
    c = [v + lightness - lum(c) for v in c]
    low, high = min(c), max(c)
    if low < 0:
        c = [lightness + (v - lightness) * lightness / (lightness - low) for v in c]
    if high > 1:
        c = [lightness + (v - lightness) * (1 - lightness) / (high - lightness) for v in c]
    return c


def set_sat(c, saturation):
    return [(v - min(c)) * saturation / sat(c) if sat(c) else Fraction(0) for v in c]


COLORS = {
    59: lambda b, s: set_lum(set_sat(s, sat(b)), lum(b)),
    60: lambda b, s: set_lum(set_sat(b, sat(s)), lum(b)),
    61: lambda b, s: set_lum(s, lum(b)),
    62: lambda b, s: set_lum(b, lum(s)),
}


def mixed(op, s, sa, d, da):
    """A blend mode of PDF on colours that are not premultiplied: (1 - sa) d + (1 - da) s + sa da B(d / da, s / sa)."""
    s, sa, d, da = [Fraction(v, 255) for v in s], [Fraction(v, 255) for v in sa], [Fraction(v, 255) for v in d], da
    da = Fraction(da, 255)
    over = [s[i] / sa[i] if sa[i] else Fraction(0) for i in range(3)]
    under = [d[i] / da if da else Fraction(0) for i in range(3)]
    results = COLORS[op](under, over) if op >= 59 else [SEPARABLE[op](under[i], over[i]) for i in range(3)]
    out = [(1 - sa[i]) * d[i] + (1 - da) * s[i] + sa[i] * da * results[i] for i in range(3)]
    out.append(sa[3] + da - sa[3] * da)
    return [int(max(0, min(1, value)) * 255 + Fraction(1, 2)) for value in out]
