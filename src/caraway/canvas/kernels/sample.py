"""Pictures sampled at other places than their pixels: scaled, transformed, repeated (spec/canvas.md 5, 13)."""

import cython
from cython.cimports.caraway.canvas.kernels.rows import ALPHA1, expand, layout_size
from cython.cimports.caraway.codecs.kernels.shim import load32, store32
from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.libc.stdint import int64_t, uint8_t, uint32_t, uint64_t


def sample(
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    source,
    stride: cython.Py_ssize_t,
    layout: cython.int,
    source_width: cython.Py_ssize_t,
    source_height: cython.Py_ssize_t,
    high: cython.ulong,
    places,
    bilinear: cython.bint,
    repeat: cython.int,
):
    """Give `width` x `height` words of 4 bytes sampled from a source in a layout of rows.pxd.

    high: bits set in every word of the source; what is outside it, without `repeat`, stays 0.
    places: u, v of the first pixel's centre, then their steps across and down, in 16.16.
    """
    if width <= 0 or height <= 0 or source_width <= 0 or source_height <= 0:
        raise ValueError("empty picture")
    if not (0 <= repeat <= 3 and 0 <= layout <= ALPHA1):
        raise ValueError("unknown repeat or layout")
    out = bytearray(width * height * 4)
    picture: Picture
    at: Places
    at.u, at.v, at.u_across, at.v_across, at.u_down, at.v_down = places
    target: Py_buffer
    pixels: Py_buffer
    PyObject_GetBuffer(source, cython.address(pixels), PyBUF_SIMPLE)
    PyObject_GetBuffer(out, cython.address(target), PyBUF_WRITABLE)
    row: cython.Py_ssize_t = source_width * layout_size(layout)
    fits: cython.bint = (stride >= row or source_height == 1) and (source_height - 1) * stride + row <= pixels.len
    if fits:
        picture.data = cython.cast(cython.pointer(uint8_t), pixels.buf)
        picture.stride = stride
        picture.width = source_width
        picture.height = source_height
        picture.high = high
        picture.repeat = repeat
        picture.layout = layout
        picture.size = layout_size(layout)
        to: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), target.buf)
        with cython.nogil:
            if bilinear:
                _bilinear(to, width, height, cython.address(picture), cython.address(at))
            else:
                _nearest(to, width, height, cython.address(picture), cython.address(at))
    PyBuffer_Release(cython.address(target))
    PyBuffer_Release(cython.address(pixels))
    if not fits:
        raise ValueError("picture is larger than its data")
    return out


def _within(at, size, repeat):
    """A column or row of the picture; -1 outside of one that is not repeated."""
    if 0 <= at < size:
        return at
    if repeat == NONE:
        return -1
    if repeat == PAD:
        return 0 if at < 0 else size - 1
    if repeat == NORMAL:
        at %= size
        return at + size if at < 0 else at
    at %= 2 * size
    if at < 0:
        at += 2 * size
    return at if at < size else 2 * size - 1 - at


def _line(picture, y):
    y = _within(y, picture.height, picture.repeat)
    if y < 0:
        return cython.NULL
    return picture.data + y * picture.stride


def _pixel(picture, line, x):
    word: uint32_t
    x = _within(x, picture.width, picture.repeat)
    if x < 0 or line == cython.NULL:
        return 0
    expand(cython.address(word), line + picture.size * x, picture.layout, picture.high, 1)
    return word


def _nearest(out, width, height, picture, places):
    i: cython.Py_ssize_t
    row: cython.Py_ssize_t
    u: int64_t
    v: int64_t
    x: int64_t
    line: cython.pointer(cython.const[uint8_t])
    for row in range(height):
        u = places.u + row * places.u_down - 1
        v = places.v + row * places.v_down - 1
        line = _line(picture, v >> 16)
        for i in range(width):
            if places.v_across:
                line = _line(picture, v >> 16)
                v += places.v_across
            x = u >> 16
            if 0 <= x < picture.width and picture.size == 4 and line != cython.NULL:
                store32(out + 4 * i, load32(line + 4 * x) | picture.high)
            else:
                store32(out + 4 * i, _pixel(picture, line, x))
            u += places.u_across
        out += 4 * width


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _spread(word: uint64_t) -> uint64_t:
    """Two components with room for 24 more bits each: b and r, or of a word shifted by 8, g and a."""
    return (word & 0xFF) | (word & 0xFF0000) << 16


def _bilinear(out, width, height, picture, places):
    i: cython.Py_ssize_t
    row: cython.Py_ssize_t
    u: int64_t
    v: int64_t
    x: int64_t
    w: uint64_t
    z: uint64_t
    corners: uint32_t[4]
    even: uint64_t
    odd: uint64_t
    upper: cython.pointer(cython.const[uint8_t])
    lower: cython.pointer(cython.const[uint8_t])
    for row in range(height):
        u = places.u + row * places.u_down - 32768
        v = places.v + row * places.v_down - 32768
        upper, lower = _line(picture, v >> 16), _line(picture, (v >> 16) + 1)
        for i in range(width):
            z = v >> 9 & 127
            if places.v_across:
                upper, lower = _line(picture, v >> 16), _line(picture, (v >> 16) + 1)
                v += places.v_across
            w = u >> 9 & 127
            x = u >> 16
            if 0 <= x < picture.width - 1 and picture.size == 4 and upper != cython.NULL and lower != cython.NULL:
                corners[0] = load32(upper + 4 * x) | picture.high
                corners[1] = load32(upper + 4 * x + 4) | picture.high
                corners[2] = load32(lower + 4 * x) | picture.high
                corners[3] = load32(lower + 4 * x + 4) | picture.high
            else:
                corners[0] = _pixel(picture, upper, x)
                corners[1] = _pixel(picture, upper, x + 1)
                corners[2] = _pixel(picture, lower, x)
                corners[3] = _pixel(picture, lower, x + 1)
            even = (_spread(corners[0]) * (128 - w) + _spread(corners[1]) * w) * (128 - z)
            even += (_spread(corners[2]) * (128 - w) + _spread(corners[3]) * w) * z
            odd = (_spread(corners[0] >> 8) * (128 - w) + _spread(corners[1] >> 8) * w) * (128 - z)
            odd += (_spread(corners[2] >> 8) * (128 - w) + _spread(corners[3] >> 8) * w) * z
            even >>= 14
            odd >>= 14
            store32(out + 4 * i, (even & 255) | (even >> 16 & 0xFF0000) | (odd & 255) << 8 | (odd >> 32 & 255) << 24)
            u += places.u_across
        out += 4 * width
