"""Rectangles of words on a surface: fill, copy, any function of three operands (spec/canvas.md 3 to 9, 12).

A surface is its bytes, the bytes of a word, and its width and height; its rows have no padding. Rectangles and sizes
are checked against the buffers here. Other threads may run while a large rectangle is drawn.
"""

import cython
from cython.cimports.caraway.canvas.kernels.rows import CHUNK, LARGE, Scratch, repeat
from cython.cimports.caraway.codecs.kernels.shim import load16, load32, store16, store32
from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.libc.stdint import uint8_t, uint32_t
from cython.cimports.libc.string import memmove, memset


def fill(
    data,
    size: cython.Py_ssize_t,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    left: cython.Py_ssize_t,
    top: cython.Py_ssize_t,
    right: cython.Py_ssize_t,
    bottom: cython.Py_ssize_t,
    word: cython.ulong,
):
    """Set a rectangle to one word. Gives the part of the rectangle that is on the surface, None if there is none."""
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, width), min(bottom, height)
    if left >= right or top >= bottom:
        return None
    surface: Py_buffer
    PyObject_GetBuffer(data, cython.address(surface), PyBUF_WRITABLE)
    fits: cython.bint = width * height * size <= surface.len
    if fits:
        at: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), surface.buf) + (top * width + left) * size
        if (right - left) * (bottom - top) * size >= LARGE:
            with cython.nogil:
                _fill(at, width * size, size, right - left, bottom - top, word)
        else:
            _fill(at, width * size, size, right - left, bottom - top, word)
    PyBuffer_Release(cython.address(surface))
    if not fits:
        raise ValueError("surface is larger than its data")
    return left, top, right, bottom


def copy(
    data,
    size: cython.Py_ssize_t,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    left: cython.Py_ssize_t,
    top: cython.Py_ssize_t,
    right: cython.Py_ssize_t,
    bottom: cython.Py_ssize_t,
    source,
    stride: cython.Py_ssize_t,
    source_width: cython.Py_ssize_t,
    source_height: cython.Py_ssize_t,
    x: cython.Py_ssize_t,
    y: cython.Py_ssize_t,
):
    """Copy words of a source that lies with its left top at (x, y) to a rectangle.

    The source may be the surface's own data. Gives the part of the rectangle that is on the surface and on the source.
    """
    left, top = max(left, max(x, 0)), max(top, max(y, 0))
    right, bottom = min(right, min(width, x + source_width)), min(bottom, min(height, y + source_height))
    if left >= right or top >= bottom:
        return None
    surface: Py_buffer
    words: Py_buffer
    PyObject_GetBuffer(data, cython.address(surface), PyBUF_WRITABLE)
    try:
        PyObject_GetBuffer(source, cython.address(words), PyBUF_SIMPLE)
    except BaseException:
        PyBuffer_Release(cython.address(surface))
        raise
    row: cython.Py_ssize_t = (right - left) * size
    fits: cython.bint = (
        width * height * size <= surface.len
        and source_width * size <= stride
        and (bottom - 1 - y) * stride + (right - x) * size <= words.len
    )
    if fits:
        to: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), surface.buf) + (top * width + left) * size
        start: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), words.buf)
        start += (top - y) * stride + (left - x) * size
        if row * (bottom - top) >= LARGE:
            with cython.nogil:
                _move(to, width * size, start, stride, row, bottom - top)
        else:
            _move(to, width * size, start, stride, row, bottom - top)
    PyBuffer_Release(cython.address(words))
    PyBuffer_Release(cython.address(surface))
    if not fits:
        raise ValueError("surface or source is larger than its data")
    return left, top, right, bottom


def combine(
    data,
    size: cython.Py_ssize_t,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    box,
    table: cython.int,
    a,
    b,
    mask,
):
    """Draw function(A, B, destination) in a rectangle of the surface.

    table: bit 4a + 2b + d is the function's result for the bits a, b and d.
    a, b: (data, stride, width, height, x, y): words that repeat themselves in all directions, of which word (x, y) is
    drawn at the left top of the rectangle; without b the function must not depend on it.
    mask: (data, stride): a byte for each pixel of the rectangle, 0 where nothing is drawn.
    """
    left: cython.Py_ssize_t = box[0]
    top: cython.Py_ssize_t = box[1]
    columns: cython.Py_ssize_t = box[2] - left
    rows: cython.Py_ssize_t = box[3] - top
    if left < 0 or top < 0 or columns <= 0 or rows <= 0 or left + columns > width or top + rows > height:
        raise ValueError("rectangle is not on the surface")
    if b is None:
        b = a
    mask_data, mask_stride = (data, 0) if mask is None else mask
    first: Tile
    second: Tile
    first.stride, first.width, first.height, first.x, first.y = a[1:]
    second.stride, second.width, second.height, second.x, second.y = b[1:]
    drawn_stride: cython.Py_ssize_t = mask_stride
    buffers: Py_buffer[4]
    objects = (data, a[0], b[0], mask_data)
    held: cython.int = 0
    i: cython.int
    try:
        for i in range(4):
            PyObject_GetBuffer(objects[i], cython.address(buffers[i]), PyBUF_SIMPLE if i else PyBUF_WRITABLE)
            held += 1
        first.data = cython.cast(cython.pointer(uint8_t), buffers[1].buf)
        second.data = cython.cast(cython.pointer(uint8_t), buffers[2].buf)
        if width * height * size > buffers[0].len:
            raise ValueError("surface is larger than its data")
        if not (
            _holds(cython.address(first), size, buffers[1].len) and _holds(cython.address(second), size, buffers[2].len)
        ):
            raise ValueError("operand is larger than its data")
        if mask is not None and (drawn_stride < columns or (rows - 1) * drawn_stride + columns > buffers[3].len):
            raise ValueError("mask is smaller than the rectangle")
        at: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), buffers[0].buf) + (top * width + left) * size
        drawn: cython.pointer(uint8_t) = cython.NULL
        if mask is not None:
            drawn = cython.cast(cython.pointer(uint8_t), buffers[3].buf)
        if columns * rows * size >= LARGE:
            with cython.nogil:
                _combine(
                    at,
                    width * size,
                    size,
                    columns,
                    rows,
                    table,
                    cython.address(first),
                    cython.address(second),
                    drawn,
                    drawn_stride,
                )
        else:
            _combine(
                at,
                width * size,
                size,
                columns,
                rows,
                table,
                cython.address(first),
                cython.address(second),
                drawn,
                drawn_stride,
            )
    finally:
        for i in range(held):
            PyBuffer_Release(cython.address(buffers[i]))


def keyed(
    data,
    size: cython.Py_ssize_t,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    box,
    source,
    stride: cython.Py_ssize_t,
    key: cython.ulong,
    compared: cython.ulong,
):
    """Copy words of 2 or 4 bytes to a rectangle, but for those that equal `key` in the bits `compared`."""
    left: cython.Py_ssize_t = box[0]
    top: cython.Py_ssize_t = box[1]
    columns: cython.Py_ssize_t = box[2] - left
    rows: cython.Py_ssize_t = box[3] - top
    if left < 0 or top < 0 or columns <= 0 or rows <= 0 or left + columns > width or top + rows > height:
        raise ValueError("rectangle is not on the surface")
    surface: Py_buffer
    words: Py_buffer
    PyObject_GetBuffer(data, cython.address(surface), PyBUF_WRITABLE)
    try:
        PyObject_GetBuffer(source, cython.address(words), PyBUF_SIMPLE)
    except BaseException:
        PyBuffer_Release(cython.address(surface))
        raise
    fits: cython.bint = (
        width * height * size <= surface.len
        and columns * size <= stride
        and (rows - 1) * stride + columns * size <= words.len
    )
    if fits:
        at: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), surface.buf) + (top * width + left) * size
        start: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), words.buf)
        with cython.nogil:
            _keyed(at, width * size, start, stride, size, columns, rows, key, compared)
    PyBuffer_Release(cython.address(words))
    PyBuffer_Release(cython.address(surface))
    if not fits:
        raise ValueError("surface or source is larger than its data")


def _fill(at, stride, size, columns, rows, word):
    i: cython.Py_ssize_t
    _row: cython.Py_ssize_t
    for _row in range(rows):
        if size == 4:
            for i in range(columns):
                store32(at + 4 * i, word)
        elif size == 2:
            for i in range(columns):
                store16(at + 2 * i, word)
        else:
            memset(at, word, columns)
        at += stride


def _move(to, stride, source, source_stride, count, rows):
    _row: cython.Py_ssize_t
    if count == stride and count == source_stride:
        memmove(to, source, count * rows)
        return
    if to > source:
        to += (rows - 1) * stride
        source += (rows - 1) * source_stride
        stride, source_stride = -stride, -source_stride
    for _row in range(rows):
        memmove(to, source, count)
        to += stride
        source += source_stride


@cython.cfunc
@cython.inline
def _holds(tile: cython.pointer(Tile), size: cython.Py_ssize_t, length: cython.Py_ssize_t) -> cython.bint:
    return (
        tile.width > 0
        and tile.height > 0
        and 0 <= tile.x < tile.width
        and 0 <= tile.y < tile.height
        and (tile.stride >= tile.width * size or tile.height == 1)
        and (tile.height - 1) * tile.stride + tile.width * size <= length
    )


def _words(tile, size, row, column, count, scratch):
    """Part of a row of the rectangle: in the tile itself where it is not wrapped."""
    line: cython.pointer(cython.const[uint8_t]) = tile.data + (tile.y + row) % tile.height * tile.stride
    start: cython.Py_ssize_t = (tile.x + column) % tile.width
    if start + count <= tile.width:
        return line + start * size
    repeat(scratch, count * size, line, tile.width * size, start * size)
    return scratch


def _widen(out, drawn, size, count):
    """All ones for each word that is drawn."""
    i: cython.Py_ssize_t
    if size == 4:
        for i in range(count):
            store32(out + 4 * i, 0xFFFFFFFF if drawn[i] else 0)
    elif size == 2:
        for i in range(count):
            store16(out + 2 * i, 0xFFFF if drawn[i] else 0)
    else:
        for i in range(count):
            out[i] = 255 if drawn[i] else 0


def _apply(target, a, b, table, drawn, count):
    i: cython.Py_ssize_t
    d: uint8_t
    m0: uint8_t = 255 if table & 1 else 0
    m1: uint8_t = 255 if table & 2 else 0
    m2: uint8_t = 255 if table & 4 else 0
    m3: uint8_t = 255 if table & 8 else 0
    m4: uint8_t = 255 if table & 16 else 0
    m5: uint8_t = 255 if table & 32 else 0
    m6: uint8_t = 255 if table & 64 else 0
    m7: uint8_t = 255 if table & 128 else 0
    if drawn == cython.NULL:
        for i in range(count):
            d = target[i]
            target[i] = (a[i] & ((b[i] & (d & m7 | ~d & m6)) | (~b[i] & (d & m5 | ~d & m4)))) | (
                ~a[i] & ((b[i] & (d & m3 | ~d & m2)) | (~b[i] & (d & m1 | ~d & m0)))
            )
    else:
        for i in range(count):
            d = target[i]
            target[i] = (d & ~drawn[i]) | (
                drawn[i]
                & (
                    (a[i] & ((b[i] & (d & m7 | ~d & m6)) | (~b[i] & (d & m5 | ~d & m4))))
                    | (~a[i] & ((b[i] & (d & m3 | ~d & m2)) | (~b[i] & (d & m1 | ~d & m0))))
                )
            )


def _combine(at, stride, size, columns, rows, table, a, b, mask, mask_stride):
    scratch_a: Scratch
    scratch_b: Scratch
    drawn: Scratch
    row: cython.Py_ssize_t
    column: cython.Py_ssize_t
    count: cython.Py_ssize_t
    words: cython.pointer(cython.const[uint8_t])
    others: cython.pointer(cython.const[uint8_t])
    wide: cython.pointer(uint8_t) = cython.NULL
    only_a: cython.bint = a.data == b.data and a.x == b.x and a.y == b.y
    for row in range(rows):
        column = 0
        while column < columns:
            count = min(CHUNK, columns - column)
            words = _words(a, size, row, column, count, scratch_a)
            if table == PUT and mask == cython.NULL:
                memmove(at + column * size, words, count * size)
            else:
                others = words if only_a else _words(b, size, row, column, count, scratch_b)
                if mask != cython.NULL:
                    _widen(drawn, mask + row * mask_stride + column, size, count)
                    wide = drawn
                _apply(at + column * size, words, others, table, wide, count * size)
            column += count
        at += stride


def _keyed(at, stride, source, source_stride, size, columns, rows, key, compared):
    i: cython.Py_ssize_t
    _row: cython.Py_ssize_t
    word: uint32_t
    for _row in range(rows):
        if size == 4:
            for i in range(columns):
                word = load32(source + 4 * i)
                store32(at + 4 * i, word if (word ^ key) & compared else load32(at + 4 * i))
        else:
            for i in range(columns):
                word = load16(source + 2 * i)
                store16(at + 2 * i, word if (word ^ key) & compared else load16(at + 2 * i))
        at += stride
        source += source_stride
