"""Pixels with alpha combined with a surface (spec/canvas.md 8, 10, 13; the X Render and PDF definitions of operators).

Words are 0xAARRGGBB, premultiplied. The product of two components is rounded as in spec/canvas.md 8.
"""

import cython
from cython.cimports.caraway.canvas.kernels.rows import (
    ALPHA1,
    BGR24,
    CHUNK,
    Scratch,
    Words,
    expand,
    layout_size,
    narrow,
    repeat,
)
from cython.cimports.caraway.codecs.kernels.shim import load32
from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.libc.math import sqrt
from cython.cimports.libc.stdint import uint8_t, uint32_t

# The factors of source and destination for the operators from clear to xor, and add; then what takes the place of
# OTHER and NOT_OTHER in their disjoint and conjoint variants.
_FACTORS = (
    (NOTHING, NOTHING),
    (ALL, NOTHING),
    (NOTHING, ALL),
    (ALL, NOT_OTHER),
    (NOT_OTHER, ALL),
    (OTHER, NOTHING),
    (NOTHING, OTHER),
    (NOT_OTHER, NOTHING),
    (NOTHING, NOT_OTHER),
    (OTHER, NOT_OTHER),
    (NOT_OTHER, OTHER),
    (NOT_OTHER, NOT_OTHER),
)
_DISJOINT = {OTHER: NOT_OUTSIDE_OTHER, NOT_OTHER: OUTSIDE_OTHER}
_CONJOINT = {OTHER: WITHIN_OTHER, NOT_OTHER: NOT_WITHIN_OTHER}
OPERATORS = dict(enumerate(_FACTORS))
OPERATORS[12] = (ALL, ALL)
OPERATORS[13] = (OUTSIDE_OTHER, ALL)
for _number, (_source, _destination) in enumerate(_FACTORS):
    OPERATORS[16 + _number] = (_DISJOINT.get(_source, _source), _DISJOINT.get(_destination, _destination))
    OPERATORS[32 + _number] = (_CONJOINT.get(_source, _source), _CONJOINT.get(_destination, _destination))
OPERATORS.update(dict.fromkeys(range(MULTIPLY, LUMINOSITY + 1), (NOTHING, ALL)))


def composite(
    data,
    layout: cython.int,
    high: cython.ulong,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    box,
    operator: cython.int,
    source,
    mask,
    kind: cython.int,
):
    """Combine words with a rectangle of a surface.

    layout: of the surface, from rows.pxd. high: bits taken as set in each of its words.
    operator: one of OPERATORS.
    source, mask: (data, stride, width, height, x, y): words, or bytes of a mask of kind COVERAGE, repeated in all
    directions, of which (x, y) lies at the left top of the rectangle.
    """
    left: cython.Py_ssize_t = box[0]
    top: cython.Py_ssize_t = box[1]
    surface: Surface
    surface.columns = box[2] - left
    surface.rows = box[3] - top
    surface.layout = layout
    surface.high = high
    if not 0 <= layout <= ALPHA1 or layout == BGR24 or operator not in OPERATORS or not UNMASKED <= kind <= COMPONENTS:
        raise ValueError("unknown layout, operator or mask")
    if left < 0 or top < 0 or surface.columns <= 0 or surface.rows <= 0:
        raise ValueError("rectangle is empty or not on the surface")
    if left + surface.columns > width or top + surface.rows > height:
        raise ValueError("rectangle is not on the surface")
    source_factor: cython.int
    destination_factor: cython.int
    source_factor, destination_factor = OPERATORS[operator]
    if kind == UNMASKED:
        mask = source
    first: Tile
    second: Tile
    first.stride, first.width, first.height, first.x, first.y = source[1:]
    second.stride, second.width, second.height, second.x, second.y = mask[1:]
    first.size = 4
    second.size = 1 if kind == COVERAGE else 4
    size: cython.Py_ssize_t = layout_size(layout)
    buffers: Py_buffer[3]
    objects = (data, source[0], mask[0])
    held: cython.int = 0
    i: cython.int
    try:
        for i in range(3):
            PyObject_GetBuffer(objects[i], cython.address(buffers[i]), PyBUF_SIMPLE if i else PyBUF_WRITABLE)
            held += 1
        first.data = cython.cast(cython.pointer(uint8_t), buffers[1].buf)
        second.data = cython.cast(cython.pointer(uint8_t), buffers[2].buf)
        if width * height * size > buffers[0].len:
            raise ValueError("surface is larger than its data")
        if not (_holds(cython.address(first), buffers[1].len) and _holds(cython.address(second), buffers[2].len)):
            raise ValueError("source or mask is larger than its data")
        surface.data = cython.cast(cython.pointer(uint8_t), buffers[0].buf) + (top * width + left) * size
        surface.stride = width * size
        with cython.nogil:
            _composite(
                cython.address(surface),
                operator,
                source_factor,
                destination_factor,
                cython.address(first),
                cython.address(second),
                kind,
            )
    finally:
        for i in range(held):
            PyBuffer_Release(cython.address(buffers[i]))


@cython.cfunc
@cython.inline
def _holds(tile: cython.pointer(Tile), length: cython.Py_ssize_t) -> cython.bint:
    return (
        tile.width > 0
        and tile.height > 0
        and 0 <= tile.x < tile.width
        and 0 <= tile.y < tile.height
        and (tile.stride >= tile.width * tile.size or tile.height == 1)
        and (tile.height - 1) * tile.stride + tile.width * tile.size <= length
    )


def _part(tile, row, column, count, scratch):
    """Part of a row of the rectangle: in the tile itself where it is not wrapped."""
    line: cython.pointer(cython.const[uint8_t]) = tile.data + (tile.y + row) % tile.height * tile.stride
    start: cython.Py_ssize_t = (tile.x + column) % tile.width
    if start + count <= tile.width:
        return line + start * tile.size
    repeat(scratch, count * tile.size, line, tile.width * tile.size, start * tile.size)
    return scratch


def _multiplied(a, b):
    a = a * b + 128
    return ((a >> 8) + a) >> 8


def _weighed(word, weight):
    """All components multiplied by one weight, two at a time."""
    even: uint32_t = (word & 0xFF00FF) * weight + 0x800080
    odd: uint32_t = (word >> 8 & 0xFF00FF) * weight + 0x800080
    even = ((even >> 8 & 0xFF00FF) + even) >> 8 & 0xFF00FF
    odd = ((odd >> 8 & 0xFF00FF) + odd) >> 8 & 0xFF00FF
    return odd << 8 | even


def _weighed_each(word, weights):
    """Each component multiplied by its own weight."""
    return (
        _multiplied(word & 255, weights & 255)
        | _multiplied(word >> 8 & 255, weights >> 8 & 255) << 8
        | _multiplied(word >> 16 & 255, weights >> 16 & 255) << 16
        | _multiplied(word >> 24, weights >> 24) << 24
    )


def _sum(one, other):
    """Components added, at most 255."""
    even: uint32_t = (one & 0xFF00FF) + (other & 0xFF00FF)
    odd: uint32_t = (one >> 8 & 0xFF00FF) + (other >> 8 & 0xFF00FF)
    even |= 0x1000100 - (even >> 8 & 0xFF00FF)
    odd |= 0x1000100 - (odd >> 8 & 0xFF00FF)
    return (odd & 0xFF00FF) << 8 | (even & 0xFF00FF)


def _masked(alphas, word, mask, i, kind):
    """The source within the mask, and its alpha for each component."""
    weight: uint32_t
    if kind == COMPONENTS:
        weight = load32(mask + 4 * i)
        alphas[0] = _weighed(weight, word >> 24)
        return _weighed_each(word, weight)
    if kind != UNMASKED:
        weight = mask[i] if kind == COVERAGE else load32(mask + 4 * i) >> 24
        word = _weighed(word, weight)
    alphas[0] = (word >> 24) * 0x01010101
    return word


def _share(part, whole):
    """A part of a whole, of 255, at most 255; 255 if there is no whole."""
    return 255 if part >= whole else (part * 255 + whole // 2) // whole


def _factor(kind, own, other):
    if kind == OUTSIDE_OTHER:
        return _share(255 - other, own)
    if kind == NOT_OUTSIDE_OTHER:
        return 255 - _share(255 - other, own)
    if kind == WITHIN_OTHER:
        return _share(other, own)
    return 255 - _share(other, own)


def _factors(kind, own, other):
    """The factor of each component of one side, from both sides' alphas for each component."""
    if kind == NOTHING:
        return 0
    if kind == ALL:
        return 0xFFFFFFFF
    if kind == OTHER:
        return other
    if kind == NOT_OTHER:
        return ~other
    return (
        _factor(kind, own & 255, other & 255)
        | _factor(kind, own >> 8 & 255, other >> 8 & 255) << 8
        | _factor(kind, own >> 16 & 255, other >> 16 & 255) << 16
        | _factor(kind, own >> 24, other >> 24) << 24
    )


def _over(d, source, mask, kind, count):
    i: cython.Py_ssize_t
    alphas: uint32_t = 0
    word: uint32_t
    if kind == UNMASKED:
        for i in range(count):
            word = load32(source + 4 * i)
            d[i] = _sum(word, _weighed(d[i], 255 - (word >> 24)))
    elif kind == COVERAGE:
        for i in range(count):
            word = _weighed(load32(source + 4 * i), mask[i])
            d[i] = _sum(word, _weighed(d[i], 255 - (word >> 24)))
    elif kind == ALPHA:
        for i in range(count):
            word = _weighed(load32(source + 4 * i), load32(mask + 4 * i) >> 24)
            d[i] = _sum(word, _weighed(d[i], 255 - (word >> 24)))
    else:
        for i in range(count):
            word = _masked(cython.address(alphas), load32(source + 4 * i), mask, i, kind)
            d[i] = _sum(word, _weighed_each(d[i], ~alphas))


def _operate(d, source, mask, kind, source_factor, destination_factor, count):
    i: cython.Py_ssize_t
    alphas: uint32_t = 0
    under: uint32_t
    word: uint32_t
    for i in range(count):
        word = _masked(cython.address(alphas), load32(source + 4 * i), mask, i, kind)
        under = (d[i] >> 24) * 0x01010101
        d[i] = _sum(
            _weighed_each(word, _factors(source_factor, alphas, under)),
            _weighed_each(d[i], _factors(destination_factor, under, alphas)),
        )


def _multiply(d, source, mask, kind, count):
    """Each of the three products rounded by itself, as deployed servers and clients do."""
    i: cython.Py_ssize_t
    alphas: uint32_t = 0
    word: uint32_t
    apart: uint32_t
    for i in range(count):
        word = _masked(cython.address(alphas), load32(source + 4 * i), mask, i, kind)
        apart = _sum(_weighed(word, 255 - (d[i] >> 24)), _weighed_each(d[i], ~alphas))
        d[i] = _sum(apart, _weighed_each(d[i], word))


def _blended(mode, d, da, s, sa):
    """The mixed part of one component: sa * da * mode(d / da, s / sa), all within 0 to 1."""
    if mode == SCREEN:
        return s * da + d * sa - s * d
    if mode == OVERLAY:
        return 2 * s * d if 2 * d < da else sa * da - 2 * (da - d) * (sa - s)
    if mode == DARKEN:
        return min(s * da, d * sa)
    if mode == LIGHTEN:
        return max(s * da, d * sa)
    if mode == COLOR_DODGE:
        if d <= 0:
            return 0
        return sa * da if d * sa >= (sa - s) * da else sa * sa * d / (sa - s)
    if mode == COLOR_BURN:
        if d >= da:
            return sa * da
        return 0 if sa * (da - d) >= s * da else sa * (da - sa * (da - d) / s)
    if mode == HARD_LIGHT:
        return 2 * s * d if 2 * s < sa else sa * da - 2 * (da - d) * (sa - s)
    if mode == SOFT_LIGHT:
        if da <= 0:
            return d * sa
        if 2 * s < sa:
            return d * sa - d * (da - d) * (sa - 2 * s) / da
        if 4 * d <= da:
            return d * sa + (2 * s - sa) * d * ((16 * d / da - 12) * d / da + 3)
        return d * sa + (sqrt(d * da) - d) * (2 * s - sa)
    if mode == DIFFERENCE:
        return abs(s * da - d * sa)
    return s * da + d * sa - 2 * s * d


def _luminosity(color):
    return 0.11 * color[0] + 0.59 * color[1] + 0.3 * color[2]


def _saturation(color):
    return max(color[0], max(color[1], color[2])) - min(color[0], min(color[1], color[2]))


def _set_luminosity(color, alpha, luminosity):
    """Move a colour to a luminosity, then towards grey until its components lie between 0 and alpha."""
    i: cython.int
    lowest: cython.double
    highest: cython.double
    offset: cython.double = luminosity - _luminosity(color)
    for i in range(3):
        color[i] += offset
    lowest = min(color[0], min(color[1], color[2]))
    highest = max(color[0], max(color[1], color[2]))
    if lowest < 0:
        for i in range(3):
            color[i] = luminosity + (color[i] - luminosity) * luminosity / (luminosity - lowest)
    if highest > alpha and highest > luminosity:
        for i in range(3):
            color[i] = luminosity + (color[i] - luminosity) * (alpha - luminosity) / (highest - luminosity)


def _set_saturation(color, saturation):
    i: cython.int
    lowest: cython.double = min(color[0], min(color[1], color[2]))
    span: cython.double = max(color[0], max(color[1], color[2])) - lowest
    for i in range(3):
        color[i] = (color[i] - lowest) * saturation / span if span > 0 else 0


def _recolored(result, mode, d, da, s, sa):
    """The mixed part of a colour in the modes that work on all its components."""
    i: cython.int
    if mode in (HUE, COLOR):
        for i in range(3):
            result[i] = s[i] * da
    else:
        for i in range(3):
            result[i] = d[i] * sa
    if mode == HUE:
        _set_saturation(result, _saturation(d) * sa)
    elif mode == SATURATION:
        _set_saturation(result, _saturation(s) * da)
    _set_luminosity(result, sa * da, _luminosity(s) * da if mode == LUMINOSITY else _luminosity(d) * sa)


def _rounded(value):
    value = value * 255 + 0.5
    return 0 if value < 0 else 255 if value > 255 else cython.cast(uint32_t, value)


def _blend(d, source, mask, kind, mode, count):
    i: cython.Py_ssize_t
    place: cython.int
    alphas: uint32_t = 0
    word: uint32_t
    result: uint32_t
    da: cython.double
    sa: cython.double
    over: cython.double[3]
    under: cython.double[3]
    mixed: cython.double[3]
    for i in range(count):
        word = _masked(cython.address(alphas), load32(source + 4 * i), mask, i, kind)
        da = (d[i] >> 24) / 255.0
        for place in range(3):
            over[place] = (word >> 8 * place & 255) / 255.0
            under[place] = (d[i] >> 8 * place & 255) / 255.0
            mixed[place] = 0
        if mode >= HUE:
            _recolored(mixed, mode, under, da, over, (word >> 24) / 255.0)
        sa = (alphas >> 24) / 255.0
        result = _rounded(sa + da - sa * da) << 24
        for place in range(3):
            sa = (alphas >> 8 * place & 255) / 255.0
            if mode < HUE:
                mixed[place] = _blended(mode, under[place], da, over[place], sa)
            result |= _rounded((1 - sa) * under[place] + (1 - da) * over[place] + mixed[place]) << 8 * place
        d[i] = result


def _composite(surface, operator, source_factor, destination_factor, source, mask, kind):
    under: Words
    words: Scratch
    weights: Scratch
    row: cython.Py_ssize_t
    column: cython.Py_ssize_t
    count: cython.Py_ssize_t
    size: cython.Py_ssize_t = layout_size(surface.layout)
    at: cython.pointer(uint8_t)
    above: cython.pointer(cython.const[uint8_t])
    within: cython.pointer(cython.const[uint8_t])
    for row in range(surface.rows):
        column = 0
        while column < surface.columns:
            count = min(CHUNK, surface.columns - column)
            at = surface.data + row * surface.stride + column * size
            expand(under, at, surface.layout, surface.high, count)
            above = _part(source, row, column, count, words)
            within = above if kind == UNMASKED else _part(mask, row, column, count, weights)
            if operator == OVER:
                _over(under, above, within, kind, count)
            elif operator == MULTIPLY:
                _multiply(under, above, within, kind, count)
            elif operator > MULTIPLY:
                _blend(under, above, within, kind, operator, count)
            else:
                _operate(under, above, within, kind, source_factor, destination_factor, count)
            narrow(at, surface.layout, under, count)
            column += count
