"""Pixels of lines, combined with a surface, and of filled polygons (spec/canvas.md 3, 11).

A surface is its bytes, the bytes of a word, and its width and height; its rows have no padding. A brush is (data,
stride, width, height, x, y): words that repeat themselves, the one at (x, y) at the surface's left top. Bit 4a + d of a
table is the result for the bits a of the brush and d of the surface. Rectangles and points are arrays of 32-bit
integers.
"""

import cython
from cython.cimports.caraway.codecs.kernels.shim import multiply_add
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.libc.math import ceil
from cython.cimports.libc.stdint import int32_t, int64_t, uint8_t, uint32_t
from cython.cimports.libc.string import memset


def lines(
    data,
    size: cython.int,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    boxes,
    points,
    brush: tuple,
    table: cython.int,
    work: cython.longlong,
) -> int:
    """Draw a solid line through points, the last one left out, in disjoint rectangles of the surface.

    points: within 2^28. work: pixels, and pairs of points times rectangles, that may be looked at.
    Gives the work left over, negative if there was too much; the line is then incomplete.
    """
    target: Target
    buffers: Py_buffer[4]
    held: cython.int = 0
    i: cython.Py_ssize_t
    try:
        held = _prepare(cython.address(target), data, size, width, height, brush, table, buffers)
        PyObject_GetBuffer(boxes, cython.address(buffers[2]), PyBUF_SIMPLE)
        held += 1
        PyObject_GetBuffer(points, cython.address(buffers[3]), PyBUF_SIMPLE)
        held += 1
        rectangles = cython.cast(cython.pointer(cython.const[int32_t]), buffers[2].buf)
        corners = cython.cast(cython.pointer(cython.const[int32_t]), buffers[3].buf)
        box_count: cython.Py_ssize_t = buffers[2].len // 16
        count: cython.Py_ssize_t = buffers[3].len // 8
        for i in range(box_count):
            _check_box(rectangles + 4 * i, width, height)
        for i in range(2 * count):
            if not -FARTHEST <= corners[i] <= FARTHEST:
                raise ValueError("point is too far away")
        if count * box_count < LARGE:
            work = _lines(cython.address(target), rectangles, box_count, corners, count, work)
        else:
            with cython.nogil:
                work = _lines(cython.address(target), rectangles, box_count, corners, count, work)
    finally:
        for i in range(held):
            PyBuffer_Release(cython.address(buffers[i]))
    return work


def polygons(
    mask,
    left: cython.Py_ssize_t,
    top: cython.Py_ssize_t,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    corners,
) -> None:
    """Set the bytes of a mask to 255 where a pixel lies in one of some convex polygons of four corners each.

    left, top, width, height: what the mask covers, a byte for each pixel. corners: doubles x and y, within 2^28.
    A left or top edge belongs to the polygon, a right or bottom edge does not.
    """
    target: Py_buffer
    source: Py_buffer
    i: cython.Py_ssize_t
    PyObject_GetBuffer(mask, cython.address(target), PyBUF_WRITABLE)
    try:
        if width * height > target.len:
            raise ValueError("mask is larger than its data")
        PyObject_GetBuffer(corners, cython.address(source), PyBUF_SIMPLE)
        try:
            numbers = cython.cast(cython.pointer(cython.const[cython.double]), source.buf)
            for i in range(source.len // 8):
                if not -FARTHEST <= numbers[i] <= FARTHEST:
                    raise ValueError("corner is too far away")
            pixels = cython.cast(cython.pointer(uint8_t), target.buf)
            for i in range(source.len // 64):
                _polygon(pixels, left, top, width, height, numbers + 8 * i)
        finally:
            PyBuffer_Release(cython.address(source))
    finally:
        PyBuffer_Release(cython.address(target))


def _prepare(target, data, size, width, height, brush, table, buffers):
    """Check a surface and a brush. Gives the number of buffers held: 2."""
    i: cython.int
    word: uint32_t
    target.tile_stride, target.tile_width, target.tile_height, target.tile_x, target.tile_y = brush[1:]
    PyObject_GetBuffer(data, buffers, PyBUF_WRITABLE)
    try:
        PyObject_GetBuffer(brush[0], buffers + 1, PyBUF_SIMPLE)
    except BaseException:
        PyBuffer_Release(buffers)
        raise
    target.data = cython.cast(cython.pointer(uint8_t), buffers[0].buf)
    target.stride = width * size
    target.size = size
    target.tile = cython.cast(cython.pointer(uint8_t), buffers[1].buf)
    fits: cython.bint = (
        size in (1, 2, 4)
        and width > 0
        and height > 0
        and target.stride * height <= buffers[0].len
        and target.tile_width > 0
        and target.tile_height > 0
        and 0 <= target.tile_x < target.tile_width
        and 0 <= target.tile_y < target.tile_height
        and target.tile_width * size <= target.tile_stride
        and (target.tile_height - 1) * target.tile_stride + target.tile_width * size <= buffers[1].len
    )
    if not fits:
        PyBuffer_Release(buffers + 1)
        PyBuffer_Release(buffers)
        raise ValueError("surface or brush is larger than its data")
    for i in range(4):
        target.results[i] = 0xFFFFFFFF if table >> (i & 1) + 2 * (i & 2) & 1 else 0
    word = _load(target.tile, size)
    target.flip = (word & target.results[2]) | (~word & target.results[0])
    target.keep = target.flip ^ ((word & target.results[3]) | (~word & target.results[1]))
    return 2


@cython.cfunc
@cython.exceptval(-1)
def _check_box(
    box: cython.pointer(cython.const[int32_t]), width: cython.Py_ssize_t, height: cython.Py_ssize_t
) -> cython.int:
    if not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
        raise ValueError("rectangle is not on the surface")
    return 0


def _run(target, left, right, y):
    """Combine a part of a row."""
    size: cython.int = target.size
    at: cython.pointer(uint8_t) = target.data + y * target.stride + left * size
    end: cython.pointer(uint8_t) = at + (right - left) * size
    keep: uint32_t = target.keep
    flip: uint32_t = target.flip
    word: uint32_t
    column: cython.Py_ssize_t
    row: cython.pointer(cython.const[uint8_t])
    if target.tile_width == 1 and target.tile_height == 1:
        while at < end:
            _store(at, (_load(at, size) & keep) ^ flip, size)
            at += size
        return
    row = target.tile + (y + target.tile_y) % target.tile_height * target.tile_stride
    column = (left + target.tile_x) % target.tile_width
    while at < end:
        word = _load(row + column * size, size)
        flip = (word & target.results[2]) | (~word & target.results[0])
        keep = flip ^ ((word & target.results[3]) | (~word & target.results[1]))
        _store(at, (_load(at, size) & keep) ^ flip, size)
        at += size
        column += 1
        if column == target.tile_width:
            column = 0


def _reach(major, minor, bias, rows):
    """The first step along the longer side at which a line has gone that far, more than 0, along the shorter one."""
    if rows <= 0:
        return 0
    if minor == 0:
        return major
    return (2 * major * rows - major + bias + 2 * minor - 1) // (2 * minor)


def _line(target, x1, y1, x2, y2):
    """Draw what lies in the target's rectangle. Gives the number of pixels.

    After k steps along the longer side the line has gone (2 * minor * k + major - bias) / (2 * major) along the
    shorter one, rounded down: from there on it is walked.
    """
    dx: int64_t = x2 - x1
    dy: int64_t = y2 - y1
    adx: int64_t = dx if dx >= 0 else -dx
    ady: int64_t = dy if dy >= 0 else -dy
    steep: cython.bint = adx <= ady
    major: int64_t = ady if steep else adx
    minor: int64_t = adx if steep else ady
    start: int64_t = y1 if steep else x1
    across: int64_t = x1 if steep else y1
    forward: cython.bint = (dy if steep else dx) >= 0
    down: cython.bint = (dx if steep else dy) >= 0
    low: int64_t = target.top if steep else target.left
    high: int64_t = target.bottom if steep else target.right
    nearest: int64_t = target.left if steep else target.top
    farthest: int64_t = target.right if steep else target.bottom
    bias: int64_t = 0 if forward else 1
    first: int64_t = max(0, low - start if forward else start - high + 1)
    last: int64_t = min(major, high - start if forward else start - low + 1)
    if (farthest <= across) if down else (nearest > across):
        return 0
    first = max(first, _reach(major, minor, bias, nearest - across if down else across - farthest + 1))
    last = min(last, _reach(major, minor, bias, farthest - across if down else across - nearest + 1))
    if first >= last:
        return 0
    gone: int64_t = (2 * minor * first + major - bias) // (2 * major)
    error: int64_t = 2 * minor * (first + 1) - major - bias - 2 * major * gone
    across += gone if down else -gone
    k: int64_t = first
    begun: int64_t = first
    while k < last:
        if steep:
            _run(target, across, across + 1, start + k if forward else start - k)
        k += 1
        if error >= 0 or k == last:
            if not steep:
                if forward:
                    _run(target, start + begun, start + k, across)
                else:
                    _run(target, start - k + 1, start - begun + 1, across)
            begun = k
        if error >= 0:
            across += 1 if down else -1
            error -= 2 * major
        error += 2 * minor
    return last - first


def _lines(target, boxes, box_count, points, count, work):
    box: cython.Py_ssize_t
    i: cython.Py_ssize_t
    for box in range(box_count):
        target.left, target.top, target.right, target.bottom = (
            boxes[4 * box],
            boxes[4 * box + 1],
            boxes[4 * box + 2],
            boxes[4 * box + 3],
        )
        for i in range(0, 2 * (count - 1), 2):
            work -= 1 + _line(target, points[i], points[i + 1], points[i + 2], points[i + 3])
            if work < 0:
                return work
    return work


def _polygon(mask, left, top, width, height, corners):
    lowest: cython.double = corners[1]
    highest: cython.double = corners[1]
    y: int64_t
    i: cython.int
    j: cython.int
    for i in range(1, 4):
        lowest = min(lowest, corners[2 * i + 1])
        highest = max(highest, corners[2 * i + 1])
    first: int64_t = max(cython.cast(int64_t, ceil(lowest)), top)
    last: int64_t = min(cython.cast(int64_t, ceil(highest)), top + height)
    for y in range(first, last):
        from_x: cython.double = FARTHEST
        to_x: cython.double = -FARTHEST
        for i in range(4):
            j = (i + 1) % 4
            upper: cython.int = i if corners[2 * i + 1] <= corners[2 * j + 1] else j
            lower: cython.int = i + j - upper
            if corners[2 * upper + 1] <= y < corners[2 * lower + 1]:
                run: cython.double = corners[2 * lower] - corners[2 * upper]
                rise: cython.double = corners[2 * lower + 1] - corners[2 * upper + 1]
                x: cython.double = multiply_add(y - corners[2 * upper + 1], run / rise, corners[2 * upper])
                from_x = min(from_x, x)
                to_x = max(to_x, x)
        begin: int64_t = max(cython.cast(int64_t, ceil(from_x)) - left, 0)
        end: int64_t = min(cython.cast(int64_t, ceil(to_x)) - left, width)
        if begin < end:
            memset(mask + (y - top) * width + begin, 255, end - begin)
