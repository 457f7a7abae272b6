"""Looks at pixels of four bytes: where two pictures differ, how lines can be told apart, how flat or gradual they are.

Pictures are two-dimensional buffers with strides, rows of words: numpy's arrays, also transposed ones. A guest may draw
on them meanwhile: nothing relies on finding a difference twice.
"""

import cython
from cython.cimports.caraway.codecs.kernels.shim import load32
from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytearray import PyByteArray_AsString
from cython.cimports.libc.stdint import uint8_t, uint32_t
from cython.cimports.libc.string import memcmp, memset

STEP = cython.declare(cython.int, 60)
"""Of the component that differs most: a step, as at the edge of a letter."""


def changed(
    before: object,
    after: object,
    left: cython.Py_ssize_t,
    top: cython.Py_ssize_t,
    right: cython.Py_ssize_t,
    bottom: cython.Py_ssize_t,
    band: cython.Py_ssize_t,
    gap: cython.Py_ssize_t,
) -> list[tuple[int, int, int, int]]:
    """Boxes around all pixels of a box that differ: left, top, right, bottom.

    band: rows that a box may have. gap: columns without a difference between two boxes, at least.
    """
    one: Py_buffer
    other: Py_buffer
    if not (0 <= left < right and 0 <= top < bottom and band > 0 and gap > 0):
        raise ValueError("no such box")
    _look_at(before, cython.address(one))
    try:
        _look_at(after, cython.address(other))
    except BaseException:
        PyBuffer_Release(cython.address(one))
        raise
    try:
        _check(cython.address(one), right, bottom)
        _check(cython.address(other), right, bottom)
        return _changed(cython.address(one), cython.address(other), left, top, right, bottom, band, gap)
    finally:
        PyBuffer_Release(cython.address(other))
        PyBuffer_Release(cython.address(one))


def line_sums(
    picture: object,
    strip: cython.Py_ssize_t,
    every: cython.Py_ssize_t,
    step: cython.Py_ssize_t,
    factor: cython.uint,
) -> bytearray:
    """A number for each line of every so many strips of so many columns, 32 bits: a sum over every so many pixels.

    Columns that do not fill a strip are left out. Each pixel is multiplied by one more power of `factor`.
    """
    view: Py_buffer
    if not 0 < step <= strip or every <= 0:
        raise ValueError("no such steps")
    _look_at(picture, cython.address(view))
    try:
        lines: cython.Py_ssize_t = view.shape[0]
        strips: cython.Py_ssize_t = (view.shape[1] // strip + every - 1) // every
        out = bytearray(4 * lines * strips)
        sums: cython.pointer(uint32_t) = cython.cast(cython.pointer(uint32_t), PyByteArray_AsString(out))
        with cython.nogil:
            _line_sums(cython.address(view), sums, lines, strips, strip * every, strip, step, factor)
    finally:
        PyBuffer_Release(cython.address(view))
    return out


def equal_neighbours(picture: object, step: cython.Py_ssize_t) -> tuple[int, int]:
    """How many pixels equal their left neighbour, in every so many rows, and how many have one there."""
    view: Py_buffer
    if step <= 0:
        raise ValueError("no such step")
    _look_at(picture, cython.address(view))
    try:
        _check(cython.address(view), view.shape[1], view.shape[0])
        equal: cython.Py_ssize_t = 0
        rows: cython.Py_ssize_t = 0
        row: cython.Py_ssize_t = 0
        while row < view.shape[0]:
            equal += _equal_neighbours(_row(cython.address(view), row), view.shape[1])
            rows += 1
            row += step
        return equal, rows * max(0, view.shape[1] - 1)
    finally:
        PyBuffer_Release(cython.address(view))


def only_word(picture: object) -> int | None:
    """The word that all pixels are; None if they differ, or are none."""
    view: Py_buffer
    _look_at(picture, cython.address(view))
    try:
        _check(cython.address(view), view.shape[1], view.shape[0])
        if not view.shape[0] or not view.shape[1]:
            return None
        first: cython.pointer(uint8_t) = _row(cython.address(view), 0)
        # A row equals itself moved by a pixel if it has one colour.
        if memcmp(first, first + 4, 4 * (view.shape[1] - 1)):
            return None
        row: cython.Py_ssize_t
        for row in range(1, view.shape[0]):
            if memcmp(first, _row(cython.address(view), row), 4 * view.shape[1]):
                return None
        return load32(first)
    finally:
        PyBuffer_Release(cython.address(view))


def steps(
    pixels: object,
    stride: cython.Py_ssize_t,
    start: cython.Py_ssize_t,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    jump: cython.Py_ssize_t,
) -> tuple[int, int]:
    """How every so many pixels of a picture differ from their neighbours to the right, below, and below right.

    start: byte of the first pixel. A difference counts -1, a step 4, and 2 if there is none, but 0 if there are none at
    all. Gives the sum and for how many pixels. See spec/streams.md 2.4.
    """
    view: Py_buffer
    if width <= 1 or height <= 1 or jump <= 0 or start < 0 or stride < 4 * width:
        raise ValueError("no such picture")
    PyObject_GetBuffer(pixels, cython.address(view), PyBUF_SIMPLE)
    fits: cython.bint = start + (height - 1) * stride + 4 * width <= view.len
    total: cython.Py_ssize_t = 0
    count: cython.Py_ssize_t = 0
    at: cython.Py_ssize_t = width // 2
    pixel: cython.pointer(uint8_t)
    if fits:
        while at < (height - 1) * width:
            # In the last column, the pixel before has neighbours on both sides.
            pixel = cython.cast(cython.pointer(uint8_t), view.buf) + start + at // width * stride
            pixel += 4 * min(at % width, width - 2)
            total += _steps_at(pixel, stride)
            count += 1
            at += jump
    PyBuffer_Release(cython.address(view))
    if not fits:
        raise ValueError("picture is larger than its data")
    return total, count


def _steps_at(pixel, stride):
    right: cython.int = _step(pixel, pixel + 4)
    below: cython.int = _step(pixel, pixel + stride)
    beyond: cython.int = _step(pixel, pixel + stride + 4)
    return 0 if right == 2 and below == 2 and beyond == 2 else right + below + beyond


def _step(one, other):
    """What a pair of pixels counts."""
    largest: cython.int = max(abs(one[0] - other[0]), abs(one[1] - other[1]), abs(one[2] - other[2]))
    return 2 if largest == 0 else 4 if largest >= STEP else -1


def _look_at(picture, view):
    PyObject_GetBuffer(picture, view, PyBUF_STRIDES)
    if view.ndim != 2 or view.itemsize != 4:
        PyBuffer_Release(view)
        raise ValueError("not a picture of words")


def _check(view, right, bottom):
    if view.shape[0] < bottom or view.shape[1] < right:
        raise ValueError("box is not in the picture")
    if view.shape[1] > 1 and view.strides[1] != 4:
        raise ValueError("rows are not in one piece")


def _row(view, row):
    return cython.cast(cython.pointer(uint8_t), view.buf) + row * view.strides[0]


def _changed(one, other, left, top, right, bottom, band, gap):
    found: list = []
    width: cython.Py_ssize_t = right - left
    marks = bytearray(width)
    differs: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), PyByteArray_AsString(marks))
    end: cython.Py_ssize_t
    column: cython.Py_ssize_t
    first: cython.Py_ssize_t
    last: cython.Py_ssize_t
    high: cython.Py_ssize_t
    low: cython.Py_ssize_t
    while top < bottom:
        end = min(top + band, bottom)
        with cython.nogil:
            last = _mark(one, other, left, top, width, end, differs)
        column = 0
        while column <= last:
            while not differs[column]:
                column += 1
            first = column
            end_of_run: cython.Py_ssize_t = column + 1
            while column <= last and column - end_of_run < gap:
                if differs[column]:
                    end_of_run = column + 1
                column += 1
            column = end_of_run
            high, low = top, end
            while high < low - 1 and _same(one, other, left + first, high, end_of_run - first):
                high += 1
            while high < low - 1 and _same(one, other, left + first, low - 1, end_of_run - first):
                low -= 1
            found.append((left + first, high, left + end_of_run, low))
        top = end
    return found


def _mark(one, other, left, top, width, bottom, differs):
    """Mark the columns that differ in some rows. Gives the last one, -1 if none does."""
    row: cython.Py_ssize_t
    last: cython.Py_ssize_t = -1
    for row in range(top, bottom):
        if _same(one, other, left, row, width):
            continue
        if last < 0:
            memset(differs, 0, width)
            last = 0
        _compare(_row(one, row) + 4 * left, _row(other, row) + 4 * left, width, differs)
    if last == 0:
        last = width - 1
        while last >= 0 and not differs[last]:
            last -= 1
    return last


def _compare(one, other, width, differs):
    column: cython.Py_ssize_t
    for column in range(width):
        differs[column] |= load32(one + 4 * column) != load32(other + 4 * column)


def _same(one, other, left, row, width):
    return not memcmp(_row(one, row) + 4 * left, _row(other, row) + 4 * left, 4 * width)


def _line_sums(view, sums, lines, strips, apart, strip, step, factor):
    line: cython.Py_ssize_t
    number: cython.Py_ssize_t
    at: cython.Py_ssize_t
    power: uint32_t
    total: uint32_t
    pixel: cython.pointer(uint8_t)
    start: cython.pointer(uint8_t) = cython.cast(cython.pointer(uint8_t), view.buf)
    across: cython.Py_ssize_t = view.strides[1]
    down: cython.Py_ssize_t = view.strides[0]
    if down < across:
        # Lines lie beside each other: all of them for one sample, then the next.
        for number in range(strips):
            power = factor
            at = step // 2
            while at < strip:
                pixel = start + (number * apart + at) * across
                for line in range(lines):
                    sums[line * strips + number] += load32(pixel + line * down) * power
                power *= factor
                at += step
        return
    for line in range(lines):
        for number in range(strips):
            pixel = start + line * down + number * apart * across
            power = factor
            total = 0
            at = step // 2
            while at < strip:
                total += load32(pixel + at * across) * power
                power *= factor
                at += step
            sums[line * strips + number] = total


def _equal_neighbours(row, width):
    column: cython.Py_ssize_t
    count: cython.Py_ssize_t = 0
    for column in range(1, width):
        count += load32(row + 4 * column) == load32(row + 4 * column - 4)
    return count
