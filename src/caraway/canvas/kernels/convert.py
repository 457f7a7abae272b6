"""Pixels from one layout of rows.pxd to another, and masks of bits to bytes (spec/canvas.md 1, 2, 5)."""

import cython
from cython.cimports.caraway.canvas.kernels.rows import (
    ALPHA1,
    BGR24,
    CHUNK,
    LARGE,
    Words,
    expand,
    layout_size,
    narrow,
)
from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.libc.stdint import uint8_t


def convert(
    out,
    out_stride: cython.Py_ssize_t,
    out_layout: cython.int,
    source,
    stride: cython.Py_ssize_t,
    layout: cython.int,
    high: cython.ulong,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
):
    """Rows of pixels in another layout; components are expanded to 8 bits (the bits `high` are set), then truncated."""
    if width <= 0 or height <= 0:
        return
    if not (0 <= layout <= ALPHA1 and 0 <= out_layout <= ALPHA1 and out_layout != BGR24):
        raise ValueError("unknown layout")
    target: Py_buffer
    pixels: Py_buffer
    PyObject_GetBuffer(out, cython.address(target), PyBUF_WRITABLE)
    try:
        PyObject_GetBuffer(source, cython.address(pixels), PyBUF_SIMPLE)
    except BaseException:
        PyBuffer_Release(cython.address(target))
        raise
    row: cython.Py_ssize_t = width * layout_size(layout)
    out_row: cython.Py_ssize_t = width * layout_size(out_layout)
    fits: cython.bint = (
        (stride >= row or height == 1)
        and (out_stride >= out_row or height == 1)
        and (height - 1) * stride + row <= pixels.len
        and (height - 1) * out_stride + out_row <= target.len
    )
    if fits:
        to: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), target.buf)
        start: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), pixels.buf)
        if width * height >= LARGE:
            with cython.nogil:
                _convert(to, out_stride, out_layout, start, stride, layout, high, width, height)
        else:
            _convert(to, out_stride, out_layout, start, stride, layout, high, width, height)
    PyBuffer_Release(cython.address(pixels))
    PyBuffer_Release(cython.address(target))
    if not fits:
        raise ValueError("picture is larger than its data")


def bits(
    source,
    stride: cython.Py_ssize_t,
    left: cython.Py_ssize_t,
    top: cython.Py_ssize_t,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    low_first: cython.bint,
    invers: cython.bint,
):
    """A byte, 0 or 255, for each bit of a rectangle; `low_first`: bit 0 of a byte is its leftmost pixel."""
    if left < 0 or top < 0 or width <= 0 or height <= 0:
        raise ValueError("rectangle is empty or not in the picture")
    out = bytearray(width * height)
    target: Py_buffer
    packed: Py_buffer
    PyObject_GetBuffer(source, cython.address(packed), PyBUF_SIMPLE)
    PyObject_GetBuffer(out, cython.address(target), PyBUF_WRITABLE)
    fits: cython.bint = stride >= (left + width + 7) // 8 and (top + height) * stride <= packed.len
    if fits:
        start: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), packed.buf) + top * stride
        to: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), target.buf)
        with cython.nogil:
            _bits(to, start, stride, left, width, height, low_first, 255 if invers else 0)
    PyBuffer_Release(cython.address(target))
    PyBuffer_Release(cython.address(packed))
    if not fits:
        raise ValueError("picture is larger than its data")
    return out


def _convert(out, out_stride, out_layout, source, stride, layout, high, width, height):
    words: Words
    size: cython.Py_ssize_t = layout_size(layout)
    out_size: cython.Py_ssize_t = layout_size(out_layout)
    _row: cython.Py_ssize_t
    column: cython.Py_ssize_t
    count: cython.Py_ssize_t
    for _row in range(height):
        column = 0
        while column < width:
            count = min(CHUNK, width - column)
            expand(words, source + column * size, layout, high, count)
            narrow(out + column * out_size, out_layout, words, count)
            column += count
        source += stride
        out += out_stride


def _bits(out, source, stride, first, width, height, low_first, flip):
    i: cython.Py_ssize_t
    _row: cython.Py_ssize_t
    bit: cython.int
    for _row in range(height):
        for i in range(width):
            bit = (first + i) & 7
            bit = source[(first + i) >> 3] >> (bit if low_first else 7 - bit) & 1
            out[i] = (255 if bit else 0) ^ flip
        source += stride
        out += width
