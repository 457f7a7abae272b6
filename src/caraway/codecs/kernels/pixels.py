"""Rows of pixels from one memory layout to another (spec/lz.md 2.2, 8): expansion, truncation, palettes, row order."""

import cython
from cython.cimports.caraway.codecs.kernels.shim import load16, load32, store16, store32
from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytearray import PyByteArray_AsString, PyByteArray_FromStringAndSize
from cython.cimports.cpython.long import PyLong_AsUnsignedLongMask
from cython.cimports.libc.stdint import uint8_t, uint32_t
from cython.cimports.libc.string import memcpy

KINDS = {
    "copy": COPY,
    "bgrx_from_bgr": BGRX_FROM_BGR,
    "bgr_from_bgrx": BGR_FROM_BGRX,
    "bgrx_from_555": BGRX_FROM_555,
    "bgrx_from_565": BGRX_FROM_565,
    "rgb555_from_bgrx": RGB555_FROM_BGRX,
    "rgb565_from_bgrx": RGB565_FROM_BGRX,
}
"""Name of a conversion -> its number for `convert`."""

LARGE = cython.declare(cython.Py_ssize_t, 1 << 14)
"""Bytes of output from which on other threads may run meanwhile."""

Bytes = cython.typedef(cython.pointer(uint8_t))


def convert(
    kind: cython.int,
    source: object,
    stride: cython.Py_ssize_t,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    flip: cython.bint,
    high: cython.int,
) -> bytearray:
    """Rows without padding, the last one first if `flip`.

    width: pixels; bytes for a copy. high: byte 3 of pixels that get 4 bytes.
    Raises ValueError if the source is smaller than its size says.
    """
    view: Py_buffer
    pixel_bytes: cython.Py_ssize_t = 1
    out_bytes: cython.Py_ssize_t = 1
    if kind == BGRX_FROM_BGR:
        pixel_bytes, out_bytes = 3, 4
    elif kind == BGR_FROM_BGRX:
        pixel_bytes, out_bytes = 4, 3
    elif kind in (BGRX_FROM_555, BGRX_FROM_565):
        pixel_bytes, out_bytes = 2, 4
    elif kind != COPY:
        pixel_bytes, out_bytes = 4, 2
    PyObject_GetBuffer(source, cython.address(view), PyBUF_SIMPLE)
    try:
        _check(view.len, stride, width, width * pixel_bytes, height)
        result = PyByteArray_FromStringAndSize(cython.NULL, width * out_bytes * height)
        out = cython.cast(Bytes, PyByteArray_AsString(result))
        start = cython.cast(Bytes, view.buf)
        if flip:
            start += stride * (height - 1)
            stride = -stride
        if not width or not height:
            pass
        elif width * out_bytes * height < LARGE:
            _convert(kind, out, start, stride, width, height, cython.cast(uint32_t, high) << 24)
        else:
            with cython.nogil:
                _convert(kind, out, start, stride, width, height, cython.cast(uint32_t, high) << 24)
    finally:
        PyBuffer_Release(cython.address(view))
    return result


def look_up(
    source: object,
    stride: cython.Py_ssize_t,
    width: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
    flip: cython.bint,
    bits: cython.int,
    low_first: cython.bint,
    palette: object,
    word_bytes: cython.Py_ssize_t,
) -> bytearray:
    """Rows of the colours that indices of 1, 4 or 8 bits stand for, without padding, the last one first if `flip`.

    low_first: the lowest bits of a byte are its leftmost pixel. palette: words, of which pixels are the low
    `word_bytes` bytes (2, or 4: x = 0). 4-bit indices count modulo its size; others without an entry are 0.
    Raises ValueError if the source is smaller than its size says.
    """
    view: Py_buffer
    words: uint32_t[256]
    known: cython.Py_ssize_t = min(len(palette), 256)
    mask: uint32_t = 0xFFFFFF if word_bytes == 4 else 0xFFFF
    index: cython.Py_ssize_t
    for index in range(256):
        words[index] = 0
        if index < known:
            words[index] = cython.cast(uint32_t, PyLong_AsUnsignedLongMask(palette[index])) & mask
        elif bits == 4 and known > 0:
            words[index] = words[index - known]
    PyObject_GetBuffer(source, cython.address(view), PyBUF_SIMPLE)
    try:
        _check(view.len, stride, width, (width * bits + 7) // 8, height)
        result = PyByteArray_FromStringAndSize(cython.NULL, width * word_bytes * height)
        out = cython.cast(Bytes, PyByteArray_AsString(result))
        start = cython.cast(Bytes, view.buf)
        if flip:
            start += stride * (height - 1)
            stride = -stride
        if width * word_bytes * height < LARGE:
            _look_up(bits, low_first, out, start, stride, width, height, words, word_bytes)
        else:
            with cython.nogil:
                _look_up(bits, low_first, out, start, stride, width, height, words, word_bytes)
    finally:
        PyBuffer_Release(cython.address(view))
    return result


def set_high_bytes(data: object, value: cython.int) -> None:
    """Set byte 3 of each 4-byte pixel, in place."""
    view: Py_buffer
    PyObject_GetBuffer(data, cython.address(view), PyBUF_WRITABLE)
    start = cython.cast(Bytes, view.buf)
    if view.len < LARGE:
        _set_high(start, view.len // 4, cython.cast(uint8_t, value))
    else:
        with cython.nogil:
            _set_high(start, view.len // 4, cython.cast(uint8_t, value))
    PyBuffer_Release(cython.address(view))


@cython.cfunc
def _check(
    size: cython.Py_ssize_t,
    stride: cython.Py_ssize_t,
    width: cython.Py_ssize_t,
    row_bytes: cython.Py_ssize_t,
    height: cython.Py_ssize_t,
) -> cython.int:
    """Sides and strides are below 2^31, so that no product overflows. The last row may lack its padding."""
    limit: cython.Py_ssize_t = 0x7FFFFFFF
    if not (0 <= width <= limit and 0 <= height <= limit and row_bytes <= stride <= limit):
        raise ValueError(f"rows of {row_bytes} bytes, {stride} apart")
    if height and stride * (height - 1) + row_bytes > size:
        raise ValueError(f"{height} rows of {row_bytes} bytes, {stride} apart, in {size} bytes")
    return 0


def _convert(kind, out, source, stride, width, height, high):
    row_bytes: cython.Py_ssize_t = width
    if kind == BGR_FROM_BGRX:
        row_bytes = 3 * width
    elif kind in (RGB555_FROM_BGRX, RGB565_FROM_BGRX):
        row_bytes = 2 * width
    elif kind != COPY:
        row_bytes = 4 * width
    for _row in range(height):
        _convert_row(kind, out, source, width, high)
        out += row_bytes
        source += stride


def _convert_row(kind, out, source, width, high):
    at: cython.Py_ssize_t
    word: uint32_t
    if kind == COPY:
        memcpy(out, source, width)
    elif kind == BGRX_FROM_BGR:
        for at in range(width - 1):
            store32(out + 4 * at, (load32(source + 3 * at) & 0xFFFFFF) | high)
        for at in range(width - 1, width):
            word = source[3 * at] | source[3 * at + 1] << 8 | source[3 * at + 2] << 16
            store32(out + 4 * at, word | high)
    elif kind == BGR_FROM_BGRX:
        for at in range(width - 1):
            store32(out + 3 * at, load32(source + 4 * at))
        memcpy(out + 3 * (width - 1), source + 4 * (width - 1), 3)
    elif kind == BGRX_FROM_555:
        for at in range(width):
            word = load16(source + 2 * at)
            word = (word & 0x1F) << 3 | (word & 0x3E0) << 6 | (word & 0x7C00) << 9
            store32(out + 4 * at, word | (word >> 5 & 0x70707) | high)
    elif kind == BGRX_FROM_565:
        for at in range(width):
            word = load16(source + 2 * at)
            word = (word & 0x1F) << 3 | (word & 0x7E0) << 5 | (word & 0xF800) << 8
            store32(out + 4 * at, word | (word >> 5 & 0x70007) | (word >> 6 & 0x300) | high)
    elif kind == RGB555_FROM_BGRX:
        for at in range(width):
            word = load32(source + 4 * at)
            store16(out + 2 * at, (word >> 3 & 0x1F) | (word >> 6 & 0x3E0) | (word >> 9 & 0x7C00))
    else:
        for at in range(width):
            word = load32(source + 4 * at)
            store16(out + 2 * at, (word >> 3 & 0x1F) | (word >> 5 & 0x7E0) | (word >> 8 & 0xF800))


def _look_up(bits, low_first, out, source, stride, width, height, words, word_bytes):
    for _row in range(height):
        _look_up_row(bits, low_first, out, source, width, words, word_bytes)
        out += width * word_bytes
        source += stride


def _look_up_row(bits, low_first, out, source, width, words, word_bytes):
    at: cython.Py_ssize_t
    shift: cython.int
    first: cython.int = 0 if low_first else 8 - bits
    step: cython.int = bits if low_first else -bits
    mask: cython.int = (1 << bits) - 1
    places: cython.Py_ssize_t = 7 if bits == 1 else 1
    if bits == 8 and word_bytes == 4:
        for at in range(width):
            store32(out + 4 * at, words[source[at]])
    elif bits == 8:
        for at in range(width):
            store16(out + 2 * at, words[source[at]])
    else:
        shift = first
        for at in range(width):
            if word_bytes == 4:
                store32(out + 4 * at, words[source[0] >> shift & mask])
            else:
                store16(out + 2 * at, words[source[0] >> shift & mask])
            if at & places == places:
                source += 1
                shift = first
            else:
                shift += step


def _set_high(data, pixels, value):
    at: cython.Py_ssize_t
    for at in range(pixels):
        data[4 * at + 3] = value
