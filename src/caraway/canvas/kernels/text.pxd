from libc.stdint cimport uint8_t

cdef enum:
    # Pixels from which on other threads may run meanwhile.
    LARGE = 4096

cdef void _glyph(uint8_t *mask, Py_ssize_t stride, const uint8_t *data, Py_ssize_t row_bytes, int depth, Py_ssize_t skip, Py_ssize_t columns, Py_ssize_t rows) noexcept nogil
