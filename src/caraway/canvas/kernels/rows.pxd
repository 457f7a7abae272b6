# Parts of rows of pixels: layouts, repetition, masks. Inlined into the kernels that need them.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from caraway.codecs.kernels.shim cimport load16, load32, store16, store32

cdef enum:
    # Pixels of a row that are worked on at a time, so that they fit in scratch memory on the stack.
    CHUNK = 1024  # as many as a Scratch holds
    # Bytes of a drawing from which on other threads may run meanwhile.
    LARGE = 16384

    # Layouts of pixels; caraway.canvas.source names them.
    BGRA = 0
    BGRX = 1
    RGB555 = 2
    RGB565 = 3
    ALPHA8 = 4
    BGR24 = 5
    ALPHA1 = 6  # a byte, 0 or 255

ctypedef uint8_t[4096] Scratch
ctypedef uint32_t[1024] Words


cdef inline Py_ssize_t layout_size(int layout) noexcept nogil:
    if layout <= BGRX:
        return 4
    if layout == ALPHA8 or layout == ALPHA1:
        return 1
    return 3 if layout == BGR24 else 2


cdef inline void expand(uint32_t *out, const uint8_t *row, int layout, uint32_t high, Py_ssize_t count) noexcept nogil:
    """Pixels as words 0xAARRGGBB; `high` is added to each. The x of BGRX stays."""
    cdef Py_ssize_t i
    cdef uint32_t word, r, g, b
    if layout <= BGRX:
        for i in range(count):
            out[i] = load32(row + 4 * i) | high
    elif layout == RGB555:
        for i in range(count):
            word = load16(row + 2 * i)
            b = word & 31
            g = word >> 5 & 31
            r = word >> 10 & 31
            out[i] = high | (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | b << 3 | b >> 2
    elif layout == RGB565:
        for i in range(count):
            word = load16(row + 2 * i)
            b = word & 31
            g = word >> 5 & 63
            r = word >> 11
            out[i] = high | (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | b << 3 | b >> 2
    elif layout == BGR24:
        for i in range(count):
            word = row[3 * i + 2]
            out[i] = high | word << 16 | load16(row + 3 * i)
    else:
        for i in range(count):
            word = row[i]
            out[i] = word << 24 | high


cdef inline void narrow(uint8_t *out, int layout, const uint32_t *words, Py_ssize_t count) noexcept nogil:
    """Words 0xAARRGGBB as pixels of a layout but BGR24, components truncated; BGRX gets x = 0."""
    cdef Py_ssize_t i
    cdef uint32_t word
    if layout == BGRA:
        for i in range(count):
            store32(out + 4 * i, words[i])
    elif layout == BGRX:
        for i in range(count):
            store32(out + 4 * i, words[i] & 0xFFFFFF)
    elif layout == RGB555:
        for i in range(count):
            word = words[i]
            store16(out + 2 * i, (word >> 9 & 0x7C00) | (word >> 6 & 0x3E0) | (word >> 3 & 31))
    elif layout == RGB565:
        for i in range(count):
            word = words[i]
            store16(out + 2 * i, (word >> 8 & 0xF800) | (word >> 5 & 0x7E0) | (word >> 3 & 31))
    elif layout == ALPHA8:
        for i in range(count):
            out[i] = words[i] >> 24
    else:
        for i in range(count):
            out[i] = 255 if words[i] >> 31 else 0


cdef inline void repeat(
    uint8_t *out, Py_ssize_t count, const uint8_t *row, Py_ssize_t period, Py_ssize_t start
) noexcept nogil:
    """`count` bytes of a row of `period` bytes that repeats itself, from its byte `start` on."""
    cdef Py_ssize_t first, done, piece
    first = min(count, period - start)
    memcpy(out, row + start, first)
    done = first + min(count - first, period)
    memcpy(out + first, row, done - first)
    while done < count:
        piece = min(done - first, count - done)
        memcpy(out + done, out + first, piece)
        done += piece
