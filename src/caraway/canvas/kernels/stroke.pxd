from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from caraway.codecs.kernels.shim cimport load16, load32, store16, store32

cdef enum:
    # Coordinates of points: products of two of them, doubled, fit in 64 bits.
    FARTHEST = 0x10000000
    # Points times rectangles from which on other threads may run meanwhile: each can take thousands of pixels.
    LARGE = 64

# A rectangle of a surface, and the words of a brush to combine with it by the results for bits 00, 01, 10 and 11.
# keep and flip are of a brush of one word: the result is (word & keep) ^ flip.
cdef struct Target:
    uint8_t *data
    Py_ssize_t stride
    int size
    Py_ssize_t left
    Py_ssize_t top
    Py_ssize_t right
    Py_ssize_t bottom
    const uint8_t *tile
    Py_ssize_t tile_stride
    Py_ssize_t tile_width
    Py_ssize_t tile_height
    Py_ssize_t tile_x
    Py_ssize_t tile_y
    uint32_t results[4]
    uint32_t keep
    uint32_t flip

cdef int _prepare(Target *target, object data, int size, Py_ssize_t width, Py_ssize_t height, object brush, int table, Py_buffer *buffers) except -1
cdef void _run(const Target *target, Py_ssize_t left, Py_ssize_t right, Py_ssize_t y) noexcept nogil
cdef int64_t _reach(int64_t major, int64_t minor, int64_t bias, int64_t rows) noexcept nogil
cdef int64_t _line(const Target *target, int64_t x1, int64_t y1, int64_t x2, int64_t y2) noexcept nogil
cdef int64_t _lines(Target *target, const int32_t *boxes, Py_ssize_t box_count, const int32_t *points, Py_ssize_t count, int64_t work) noexcept nogil
cdef void _polygon(uint8_t *mask, Py_ssize_t left, Py_ssize_t top, Py_ssize_t width, Py_ssize_t height, const double *corners) noexcept nogil


cdef inline uint32_t _load(const uint8_t *at, int size) noexcept nogil:
    if size == 4:
        return load32(at)
    return load16(at) if size == 2 else at[0]


cdef inline void _store(uint8_t *at, uint32_t word, int size) noexcept nogil:
    if size == 4:
        store32(at, word)
    elif size == 2:
        store16(at, word)
    else:
        at[0] = word & 255
