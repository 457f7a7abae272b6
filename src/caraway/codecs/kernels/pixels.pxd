from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    COPY
    BGRX_FROM_BGR
    BGR_FROM_BGRX
    BGRX_FROM_555
    BGRX_FROM_565
    RGB555_FROM_BGRX
    RGB565_FROM_BGRX

cdef void _convert(int kind, uint8_t *out, const uint8_t *source, Py_ssize_t stride, Py_ssize_t width, Py_ssize_t height, uint32_t high) noexcept nogil
cdef void _convert_row(int kind, uint8_t *out, const uint8_t *source, Py_ssize_t width, uint32_t high) noexcept nogil
cdef void _look_up(int bits, bint low_first, uint8_t *out, const uint8_t *source, Py_ssize_t stride, Py_ssize_t width, Py_ssize_t height, const uint32_t *words, Py_ssize_t word_bytes) noexcept nogil
cdef void _look_up_row(int bits, bint low_first, uint8_t *out, const uint8_t *source, Py_ssize_t width, const uint32_t *words, Py_ssize_t word_bytes) noexcept nogil
cdef void _set_high(uint8_t *data, Py_ssize_t pixels, uint8_t value) noexcept nogil
