from libc.stdint cimport uint8_t, uint32_t

cdef void _convert(uint8_t *out, Py_ssize_t out_stride, int out_layout, const uint8_t *source, Py_ssize_t stride, int layout, uint32_t high, Py_ssize_t width, Py_ssize_t height) noexcept nogil
cdef void _bits(uint8_t *out, const uint8_t *source, Py_ssize_t stride, Py_ssize_t first, Py_ssize_t width, Py_ssize_t height, bint low_first, int flip) noexcept nogil
