from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    # The table of functions whose result is A.
    PUT = 0xF0

# Words that repeat themselves; (x, y) is the one at the left top of the rectangle.
cdef struct Tile:
    const uint8_t *data
    Py_ssize_t stride
    Py_ssize_t width
    Py_ssize_t height
    Py_ssize_t x
    Py_ssize_t y

cdef void _fill(uint8_t *at, Py_ssize_t stride, Py_ssize_t size, Py_ssize_t columns, Py_ssize_t rows, uint32_t word) noexcept nogil
cdef void _move(uint8_t *to, Py_ssize_t stride, const uint8_t *source, Py_ssize_t source_stride, Py_ssize_t count, Py_ssize_t rows) noexcept nogil
cdef const uint8_t *_words(const Tile *tile, Py_ssize_t size, Py_ssize_t row, Py_ssize_t column, Py_ssize_t count, uint8_t *scratch) noexcept nogil
cdef void _widen(uint8_t *out, const uint8_t *drawn, Py_ssize_t size, Py_ssize_t count) noexcept nogil
cdef void _apply(uint8_t *target, const uint8_t *a, const uint8_t *b, int table, const uint8_t *drawn, Py_ssize_t count) noexcept nogil
cdef void _combine(uint8_t *at, Py_ssize_t stride, Py_ssize_t size, Py_ssize_t columns, Py_ssize_t rows, int table, const Tile *a, const Tile *b, const uint8_t *mask, Py_ssize_t mask_stride) noexcept nogil
cdef void _keyed(uint8_t *at, Py_ssize_t stride, const uint8_t *source, Py_ssize_t source_stride, Py_ssize_t size, Py_ssize_t columns, Py_ssize_t rows, uint32_t key, uint32_t compared) noexcept nogil
