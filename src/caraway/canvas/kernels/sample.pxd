from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    # Repeats, numbered as in DRAW_COMPOSITE.
    NONE = 0
    NORMAL = 1
    PAD = 2

# A picture in a layout, of words 0xAARRGGBB once `high` is added to each.
cdef struct Picture:
    const uint8_t *data
    Py_ssize_t stride
    int64_t width
    int64_t height
    uint32_t high
    int layout
    Py_ssize_t size
    int repeat

# Where to sample, in 16.16: the first pixel's place, and how far it is from a pixel to the next, across and down.
cdef struct Places:
    int64_t u
    int64_t v
    int64_t u_across
    int64_t v_across
    int64_t u_down
    int64_t v_down

cdef int64_t _within(int64_t at, int64_t size, int repeat) noexcept nogil
cdef const uint8_t *_line(const Picture *picture, int64_t y) noexcept nogil
cdef uint32_t _pixel(const Picture *picture, const uint8_t *line, int64_t x) noexcept nogil
cdef void _nearest(uint8_t *out, Py_ssize_t width, Py_ssize_t height, const Picture *picture, const Places *places) noexcept nogil
cdef void _bilinear(uint8_t *out, Py_ssize_t width, Py_ssize_t height, const Picture *picture, const Places *places) noexcept nogil
