"""Runs of the simplest drawings, from a connection's bytes to a surface's pixels in one pass.

Guests send them by the hundred thousand: DRAW_FILL with one colour and DRAW_COPY of a small LZ picture, put as they
are, without a mask (spec/messages.md 2.3, 2.4). What is not exactly so, in layout or content, is left to the message
classes, errors too: what is drawn here is what they would have drawn.
"""

import cython
from cython.cimports.caraway.codecs.kernels.shim import load16, load32, load32_big_endian, store32
from cython.cimports.cpython.buffer import (
    Py_buffer,
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cython.cimports.libc.stdint import int32_t
from cython.cimports.libc.string import memcpy


def paint(
    received: object,
    start: int,
    end: int,
    limit: int,
    pixels: object,
    id: int,
    width: int,
    height: int,
    scratch: object,
) -> tuple[int, int, list[tuple[int, int, int, int]]]:
    """Carry out the drawings at the front of a buffer of messages with mini headers.

    received, start, end: where the messages are, and how much of it is there. limit: of messages.
    pixels: of surface `id`, 4 bytes each, rows of `width`. Drawings on others are left.
    scratch: memory of 4 bytes a pixel; a larger picture is left.
    Gives where the first message begins that was left, how many were carried out, and what they changed: some
    rectangles (left, top, right, bottom), within the surface, that cover it.
    """
    source: Py_buffer
    target: Py_buffer
    spare: Py_buffer
    canvas: Canvas
    at: cython.Py_ssize_t = start
    stop: cython.Py_ssize_t = end
    most: cython.Py_ssize_t = limit
    done: cython.Py_ssize_t = 0
    size: cython.Py_ssize_t
    kind: cython.int
    message: cython.p_const_uchar
    PyObject_GetBuffer(received, cython.address(source), PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(pixels, cython.address(target), PyBUF_WRITABLE)
        try:
            PyObject_GetBuffer(scratch, cython.address(spare), PyBUF_WRITABLE)
            try:
                canvas.pixels = cython.cast(cython.p_uchar, target.buf)
                canvas.scratch, canvas.room = cython.cast(cython.p_uchar, spare.buf), spare.len // 4
                canvas.id, canvas.width, canvas.height, canvas.work, canvas.count = id, width, height, 0, 0
                if stop > source.len or target.len < canvas.width * canvas.height * 4:
                    raise ValueError("buffers are shorter than they should be")
                while done < most and canvas.work < MAX_PIXELS and stop - at >= HEADER:
                    message = cython.cast(cython.p_const_uchar, source.buf) + at
                    kind, size = load16(message), load32(message + 2)
                    if stop - at - HEADER < size:
                        break
                    if kind == DRAW_FILL:
                        if not fill(cython.address(canvas), message + HEADER, size):
                            break
                    elif kind != DRAW_COPY or not copy(cython.address(canvas), message + HEADER, size):
                        break
                    at += HEADER + size
                    done += 1
            finally:
                PyBuffer_Release(cython.address(spare))
        finally:
            PyBuffer_Release(cython.address(target))
    finally:
        PyBuffer_Release(cython.address(source))
    return at, done, [(box.left, box.top, box.right, box.bottom) for box in canvas.boxes[: canvas.count]]


def fill(canvas, body, size):
    """DRAW_FILL; whether it was so simple that it has been carried out."""
    clip: cython.Py_ssize_t = clip_size(body, size)
    rest: cython.p_const_uchar = body + BASE + clip
    if clip < 0 or size != BASE + clip + FILL or load32(body) != canvas.id:
        return False
    if rest[0] != SOLID or load16(rest + 5) != OP_PUT or has_mask(rest + 7):
        return False
    color: cython.uint = load32(rest + 1)
    box: Box = common(rect(body + 4), bounds(canvas))
    number: cython.Py_ssize_t
    if not spend(canvas, box, body + BASE + 4, clip):
        return False
    if clip == 0:
        fill_box(canvas, box, color)
    else:
        for number in range((clip - 4) // RECT):
            fill_box(canvas, common(box, rect(body + BASE + 4 + number * RECT)), color)
    return True


def copy(canvas, body, size):
    """DRAW_COPY; whether it was so simple that it has been carried out."""
    clip: cython.Py_ssize_t = clip_size(body, size)
    rest: cython.p_const_uchar = body + BASE + clip
    image: cython.p_const_uchar = rest + COPY
    if clip < 0 or size < BASE + clip + COPY + IMAGE + LZ_HEADER or load32(body) != canvas.id:
        return False
    if load32(rest) != BASE + clip + COPY or load16(rest + 20) != OP_PUT or has_mask(rest + 23):
        return False
    box: Box = rect(body + 4)
    area: Box = rect(rest + 4)
    if box.right - box.left != area.right - area.left or box.bottom - box.top != area.bottom - area.top:
        return False
    width: cython.longlong = load32(image + 10)
    height: cython.longlong = load32(image + 14)
    if not decode(canvas, image, body + size - image, width, height):
        return False
    place: Box
    place.left, place.top = box.left - area.left, box.top - area.top
    place.right, place.bottom = place.left + width, place.top + height
    # a picture that is stored bottom up is read so: its first row is its last
    step: cython.longlong = width if image[IMAGE + LZ_HEADER - 1] else -width
    first: cython.p_const_uchar = canvas.scratch if step > 0 else canvas.scratch + (height - 1) * width * 4
    box = common(common(box, bounds(canvas)), place)
    number: cython.Py_ssize_t
    if not spend(canvas, box, body + BASE + 4, clip):
        return False
    canvas.work += width * height
    if clip == 0:
        copy_box(canvas, box, first, step, place)
    else:
        for number in range((clip - 4) // RECT):
            copy_box(canvas, common(box, rect(body + BASE + 4 + number * RECT)), first, step, place)
    return True


def decode(canvas, image, size, width, height):
    """Decode a picture of RGB32 in LZ into the scratch memory, in coded order; whether it is one, and sound."""
    payload: cython.p_const_uchar = image + IMAGE
    if image[8] != LZ_RGB or image[9] != 0 or load32(image + 18) != size - IMAGE:
        return False
    if load32_big_endian(payload) != MAGIC or load32_big_endian(payload + 4) != VERSION:
        return False
    if load32_big_endian(payload + 8) != RGB32 or load32_big_endian(payload + 24) > 1:
        return False
    if load32_big_endian(payload + 12) != width or load32_big_endian(payload + 16) != height:
        return False
    if width == 0 or height == 0 or width > canvas.room or height > canvas.room // width:
        return False
    if load32_big_endian(payload + 20) != width * 4:
        return False
    size -= IMAGE + LZ_HEADER
    return read_colours(payload + LZ_HEADER, size, canvas.scratch, width * height) == size


def copy_box(canvas, box, rows, step, place):
    """A part of a picture whose left top pixel lies at `place`. rows: its first row; step: pixels to the next."""
    if is_empty(box):
        return
    y: cython.longlong
    source: cython.p_const_uchar = rows + (box.left - place.left) * 4
    for y in range(box.top, box.bottom):
        memcpy(
            canvas.pixels + (y * canvas.width + box.left) * 4,
            source + (y - place.top) * step * 4,
            (box.right - box.left) * 4,
        )
    damaged(canvas, box)


def spend(canvas, box, rects, clip):
    """Count the pixels of a drawing, as often as its clip names them; whether one may draw so many here."""
    number: cython.Py_ssize_t
    part: Box
    pixels: cython.longlong = 0
    if clip == 0:
        pixels = area(box)
    for number in range((clip - 4) // RECT if clip else 0):
        part = common(box, rect(rects + number * RECT))
        pixels += area(part)
    if pixels > MAX_PIXELS:
        return False
    canvas.work += pixels
    return True


def area(box):
    """Pixels of a rectangle within the surface."""
    return 0 if is_empty(box) else (box.right - box.left) * (box.bottom - box.top)


def bounds(canvas):
    """All of the surface."""
    box: Box
    box.left, box.top, box.right, box.bottom = 0, 0, canvas.width, canvas.height
    return box


def fill_box(canvas, box, color):
    """One colour in all of a box within the surface."""
    if is_empty(box):
        return
    x: cython.longlong
    y: cython.longlong
    width: cython.longlong = box.right - box.left
    row: cython.p_uchar
    for y in range(box.top, box.bottom):
        row = canvas.pixels + (y * canvas.width + box.left) * 4
        for x in range(width):
            store32(row + 4 * x, color)
    damaged(canvas, box)


def clip_size(body, size):
    """Bytes of the clip's rectangles with their number, 0 without a clip; -1 if it is not a clip of a usual size."""
    count: cython.Py_ssize_t
    if size < BASE:
        return -1
    if body[20] == NO_CLIP:
        return 0
    if body[20] != CLIP_RECTS or size < BASE + 4:
        return -1
    count = load32(body + BASE)
    return 4 + count * RECT if count <= MAX_CLIP and size >= BASE + 4 + count * RECT else -1


def has_mask(mask):
    """Whether a QMask has a bitmap."""
    return load32(mask + 9) != 0


def rect(at):
    """A rectangle of the wire: top, left, bottom, right."""
    box: Box
    box.top = cython.cast(int32_t, load32(at))
    box.left = cython.cast(int32_t, load32(at + 4))
    box.bottom = cython.cast(int32_t, load32(at + 8))
    box.right = cython.cast(int32_t, load32(at + 12))
    return box


def common(one, other):
    """What two rectangles share; it may be empty."""
    box: Box
    box.left = one.left if one.left > other.left else other.left
    box.top = one.top if one.top > other.top else other.top
    box.right = one.right if one.right < other.right else other.right
    box.bottom = one.bottom if one.bottom < other.bottom else other.bottom
    return box


def is_empty(box):
    return box.left >= box.right or box.top >= box.bottom


def within(inner, outer):
    return (
        inner.left >= outer.left
        and inner.top >= outer.top
        and inner.right <= outer.right
        and inner.bottom <= outer.bottom
    )


def damaged(canvas, box):
    """Take note of a change; the last of many rectangles grows to hold it."""
    number: cython.int
    last: cython.pointer[Box]
    for number in range(canvas.count):
        if within(box, canvas.boxes[number]):
            return
    if canvas.count < MAX_BOXES:
        canvas.boxes[canvas.count] = box
        canvas.count += 1
        return
    last = cython.address(canvas.boxes[MAX_BOXES - 1])
    last.left = box.left if box.left < last.left else last.left
    last.top = box.top if box.top < last.top else last.top
    last.right = box.right if box.right > last.right else last.right
    last.bottom = box.bottom if box.bottom > last.bottom else last.bottom
