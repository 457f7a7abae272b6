"""How much of each pixel glyphs cover (spec/canvas.md 10)."""

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.libc.stdint import uint8_t


def glyph_coverage(
    mask,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    data,
    depth: cython.int,
    x: cython.longlong,
    y: cython.longlong,
    columns: cython.Py_ssize_t,
    rows: cython.Py_ssize_t,
) -> None:
    """Raise the coverage of a mask, a byte for each pixel, to that of a glyph.

    data: rows, the bottom one first, of 1, 4 or 8 bits a pixel, padded to bytes. x, y: the place in the mask of the
    glyph's left top pixel, which may lie outside. columns, rows: the glyph's size.
    """
    target: Py_buffer
    source: Py_buffer
    row_bytes: cython.Py_ssize_t = (columns * depth + 7) // 8
    left: cython.Py_ssize_t = max(x, 0)
    top: cython.Py_ssize_t = max(y, 0)
    right: cython.Py_ssize_t = min(x + columns, width)
    bottom: cython.Py_ssize_t = min(y + rows, height)
    PyObject_GetBuffer(mask, cython.address(target), PyBUF_WRITABLE)
    try:
        PyObject_GetBuffer(data, cython.address(source), PyBUF_SIMPLE)
        fits: cython.bint = width * height <= target.len and row_bytes * rows <= source.len
        if fits and left < right and top < bottom:
            at = cython.cast(cython.pointer(uint8_t), target.buf) + top * width + left
            row = cython.cast(cython.pointer(uint8_t), source.buf) + (rows - 1 - (top - y)) * row_bytes
            if (right - left) * (bottom - top) < LARGE:
                _glyph(at, width, row, row_bytes, depth, left - x, right - left, bottom - top)
            else:
                with cython.nogil:
                    _glyph(at, width, row, row_bytes, depth, left - x, right - left, bottom - top)
        PyBuffer_Release(cython.address(source))
    finally:
        PyBuffer_Release(cython.address(target))
    if not fits:
        raise ValueError("mask or glyph is larger than its data")


def _glyph(mask, stride, data, row_bytes, depth, skip, columns, rows):
    """skip: columns of the glyph to leave out at the left."""
    i: cython.Py_ssize_t
    column: cython.Py_ssize_t
    value: cython.int
    _row: cython.Py_ssize_t
    for _row in range(rows):
        for i in range(columns):
            column = skip + i
            if depth == 1:
                value = 255 if data[column >> 3] >> (7 - (column & 7)) & 1 else 0
            elif depth == 4:
                value = data[column >> 1] << 4 & 240 if column & 1 else data[column >> 1] & 240
            else:
                value = data[column]
            if value > mask[i]:
                mask[i] = value
        mask += stride
        data -= row_bytes
